//go:build unix

package files

import "golang.org/x/sys/unix"

// nonblock makes open and read return at once. A terminal must not become that of the process.
const nonblock = unix.O_NONBLOCK | unix.O_NOCTTY
