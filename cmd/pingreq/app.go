package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

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

// environment is everything that a command needs from outside.
type environment struct {
	env            []string
	stdout, stderr io.Writer
	log            *promslog.Config
}

// subcommand is one of the program's commands. Its run stops when ctx is done and prints to the
// environment.
type subcommand struct {
	name string // in the form of kingpin: "config check"
	run  func(ctx context.Context, e environment) error
}

// usageError is a fault of the command line. The program exits with exitUsage.
type usageError struct{ error }

// Unwrap returns the fault itself.
func (e usageError) Unwrap() error { return e.error }

// hintedError is an error with a hint about what to do.
type hintedError struct{ problem, hint string }

// Error implements error.
func (e hintedError) Error() string { return e.problem + ": " + e.hint }

// exitError ends the program with a code. Its text, if any, was printed before.
type exitError int

// Error implements error.
func (e exitError) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// run is the whole program. If its output could not be written, it fails, whatever the command
// found: who reads half a result must not take it for a whole one.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	code := runCommand(ctx, args, env, out, stderr)
	if out.err == nil {
		return code
	}
	if !out.told {
		fmt.Fprintf(stderr, "pingreq: the output could not be written: %s\n", out.err)
	}
	return exitFailure
}

// output is standard output. It keeps its first error.
type output struct {
	io.Writer
	err  error
	told bool // a command has printed the error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// helpWriter is an output for kingpin, which panics if it cannot write.
type helpWriter struct{ *output }

// Write implements io.Writer.
func (h helpWriter) Write(p []byte) (int, error) {
	_, _ = h.output.Write(p)
	return len(p), nil
}

func runCommand(ctx context.Context, args, env []string, stdout *output, stderr io.Writer) int {
	app := kingpin.New("pingreq", "Watches MQTT connections with synthetic clients and reports why they fail.\n\n"+
		"Completion: source <(pingreq --completion-script-bash), or -zsh. Man page: pingreq --help-man.")
	app.HelpFlag.Short('h')
	app.UsageWriter(helpWriter{stdout})
	app.ErrorWriter(stderr)
	ended, exit := false, exitOK
	end := func(code int) {
		ended, exit = true, code
		app.UsageWriter(io.Discard) // kingpin would add the help, because there is no command
	}
	app.Terminate(end)
	versionFlag(app, stdout, end)
	logs := &promslog.Config{Writer: stderr}
	promslogflag.AddFlags(app, logs)

	runs := map[string]func(context.Context, environment) error{}
	catalog := probe.Catalog()
	all := []subcommand{serveCommand(app, catalog), probeCommand(app, catalog), demoCommand(app, catalog), dashboardsCommand(app, catalog), alertsCommand(app, catalog), versionCommand(app)}
	for _, c := range append(all, configCommands(app, catalog)...) {
		runs[c.name] = c.run
	}
	name, err := app.Parse(args)
	if ended { // --help, --version and similar flags have printed their text
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "pingreq: %s\nTry `pingreq --help`.\n", err)
		return exitUsage
	}
	err = runs[name](ctx, environment{env: env, stdout: stdout, stderr: stderr, log: logs})
	var bad config.Errors
	var usage usageError
	var hinted hintedError
	var code exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &bad):
		fmt.Fprintln(stderr, bad.Message())
		return exitUsage
	case errors.As(err, &hinted):
		fmt.Fprintln(stderr, config.Message(fmt.Sprintf("pingreq %s: %s", name, hinted.problem), hinted.hint))
	default:
		stdout.told = stdout.err != nil && strings.Contains(err.Error(), stdout.err.Error())
		fmt.Fprintf(stderr, "pingreq %s: %s\n", name, err)
	}
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}
