//go:build !linux

package netfault

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// platform says what is missing. The functions below are never called.
func platform() error {
	return fmt.Errorf("socket faults and TCP_INFO exist only on Linux, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func supported(Mode) error { return platform() }

func tcpFamily(int) (family, error) { return other, platform() }

func duplicate(int) (*os.File, error) { return nil, platform() }

func factsOf(int) (Facts, error) { return Facts{}, platform() }

func settling() []step { return nil }

func faulting(Mode, family) []step { return nil }
