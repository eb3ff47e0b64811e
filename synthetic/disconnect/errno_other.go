//go:build !windows

package disconnect

import "syscall"

var winsock map[syscall.Errno]errnoClass // empty on this system
