// Command pingreq watches MQTT connections. The README explains it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopLimit is how long the program may take to stop after a signal. Everything has shorter limits of
// its own, so this one is the last resort.
const stopLimit = 4600 * time.Millisecond

// lastWords is how long the program waits at its end for a reader of standard error.
const lastWords = 200 * time.Millisecond

func main() {
	setVersion()
	// Output that cannot be written must not end us: the write returns an error instead.
	signal.Ignore(outputSignals()...)
	stderr := newPatientWriter(os.Stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second signal ends the program at once
		time.AfterFunc(stopLimit, func() {
			fmt.Fprintln(stderr, "pingreq: some parts did not stop in time and were cut off: please report this with the log")
			stderr.Close(lastWords)
			os.Exit(1)
		})
	})
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, stderr)
	stop()
	stderr.Close(lastWords)
	os.Exit(code)
}
