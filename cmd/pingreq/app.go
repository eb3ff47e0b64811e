package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // of the command line or the configuration
)

// environment is what a command gets from the outside.
type environment struct {
	env            []string
	stdout, stderr io.Writer
	log            *promslog.Config
}

// subcommand is one of the program's commands; run obeys ctx and prints to the environment.
type subcommand struct {
	name string // as kingpin gives it: "config check"
	run  func(ctx context.Context, e environment) error
}

// usageError is a fault of the command line: exit 2.
type usageError struct{ error }

// exitError ends the program with a code; its text, if any, was printed already.
type exitError int

// Error implements error.
func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// run is the whole program.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	app := kingpin.New("pingreq", "Watches MQTT connections with synthetic clients and says why they fail.")
	app.HelpFlag.Short('h')
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	exit := -1
	app.Terminate(func(code int) { exit = code })
	logs := &promslog.Config{Writer: stderr}
	promslogflag.AddFlags(app, logs)

	runs := map[string]func(context.Context, environment) error{}
	catalog := probe.Catalog()
	all := []subcommand{serveCommand(app, catalog), probeCommand(app, catalog), demoCommand(app, catalog), dashboardsCommand(app), alertsCommand(app), versionCommand(app)}
	for _, c := range append(all, configCommands(app, catalog)...) {
		runs[c.name] = c.run
	}
	name, err := app.Parse(args)
	if exit >= 0 { // --help and the like have printed what was asked for
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "pingreq: %s\nTry `pingreq --help`.\n", err)
		return exitUsage
	}
	err = runs[name](ctx, environment{env: env, stdout: stdout, stderr: stderr, log: logs})
	var bad config.Errors
	var usage usageError
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, bad.Error())
		return exitUsage
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "pingreq %s: %s\n", name, err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "pingreq %s: %s\n", name, err)
	return exitFailure
}
