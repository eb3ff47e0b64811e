// Command generate writes the dashboards' JSON into the current directory.
package main

import (
	"fmt"
	"os"

	"github.com/pingreq/pingreq/dashboards/internal/build"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	files, err := build.JSON()
	if err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
