//go:build !linux

package lab

import (
	"errors"
	"os"
	"testing"
)

var errNoNamespaces = errors.New("network namespaces exist on Linux only")

// RequireNetAdmin skips or fails the test: namespaces exist on Linux only.
func RequireNetAdmin(t testing.TB) {
	t.Helper()
	unavailable(t, "%v", errNoNamespaces)
}

func createNamespace() (*os.File, error) { return nil, errNoNamespaces }

// currentNamespace returns something that NewNamespace can close before RequireNetAdmin ends the
// test.
func currentNamespace() (*os.File, error) { return os.Open(os.DevNull) }

func (n *Namespace) inside(func()) error { return errNoNamespaces }
