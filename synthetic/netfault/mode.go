package netfault

import (
	"errors"
	"fmt"
)

// Mode is how a socket is made to look like a vanished client.
type Mode string

// The modes; see the package's description.
const (
	Silent Mode = "silent" // the socket is unchanged
	Deaf   Mode = "deaf"   // nothing that the peer sends comes in
	Mute   Mode = "mute"   // nothing that we send arrives
)

// ErrIneffective means that a fault is not in effect, or is not proven to be: what we send still
// arrives.
var ErrIneffective = errors.New("the fault has no effect")

// Supported returns nil if this process can use a mode. Otherwise it returns an error that says
// what is missing and what to do. The error matches [errors.ErrUnsupported] if the operating system
// lacks it, and [os.ErrPermission] if a privilege is missing. Whether Mute works also depends on
// the path: see [Fault.Verify].
func Supported(m Mode) error {
	switch m {
	case Silent:
		return nil
	case Deaf, Mute:
		if err := supported(m); err != nil {
			return cannot(m, err)
		}
		return nil
	}
	return unknown(m)
}

func unknown(m Mode) error {
	return fmt.Errorf("unknown half-open mode %q: use %s, %s or %s", m, Deaf, Mute, Silent)
}

func cannot(m Mode, err error) error { return fmt.Errorf("mode %s: %w", m, err) }
