//go:build !unix

package main

import (
	"os"
	"syscall"
)

// outputSignals come when a reader of our output has ended.
func outputSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE} }
