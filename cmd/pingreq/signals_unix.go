//go:build unix

package main

import (
	"os"
	"syscall"
)

// outputSignals come when a reader of our output has ended, and when a file reaches the limit of its
// size.
func outputSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ} }
