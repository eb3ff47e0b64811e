package netfault

import (
	"errors"
	"fmt"
)

// Mode is how a socket is made to look like a vanished client.
type Mode string

// The modes; see the package's description.
const (
	Silent Mode = "silent" // no fault at the socket
	Deaf   Mode = "deaf"   // nothing comes in
	Mute   Mode = "mute"   // nothing of ours arrives
)

// ErrIneffective says that a fault is not in effect, or cannot be shown to be: the peer hears us.
var ErrIneffective = errors.New("the fault has no effect")

// Supported tells whether this process can use a mode: nil, or an error that says what is missing and what to do. It
// matches [errors.ErrUnsupported] where the operating system lacks it, and [os.ErrPermission] where a privilege does.
// Whether Mute works depends on the path as well: see [Fault.Verify].
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
	return fmt.Errorf("no such half-open mode: %q; there are %s, %s and %s", m, Deaf, Mute, Silent)
}

func cannot(m Mode, err error) error { return fmt.Errorf("mode %s: %w", m, err) }
