// Command generate writes the rules and the example of Alertmanager with their defaults into the
// current directory.
package main

import (
	"log"
	"os"
	"path/filepath"

	"github.com/pingreq/pingreq/alerts"
	"github.com/pingreq/pingreq/internal/monitoring"
)

func main() {
	files, err := alerts.Render(monitoring.Default(), 1)
	if err != nil {
		log.Fatal(err)
	}
	for path, text := range files {
		if err := os.WriteFile(filepath.FromSlash(path), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
