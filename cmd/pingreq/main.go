// Command pingreq watches MQTT connections. The README explains it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/version"
)

func main() {
	if version.Version == "" { // the linker sets it in releases
		version.Version = "devel"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
