package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

// versionCommand prints the version.
func versionCommand(app *kingpin.Application) subcommand {
	c := app.Command("version", "Print the version.")
	return subcommand{c.FullCommand(), func(_ context.Context, e environment) error {
		_, err := fmt.Fprintln(e.stdout, version.Print("pingreq"))
		return err
	}}
}
