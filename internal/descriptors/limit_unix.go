//go:build unix

package descriptors

import (
	"math"

	"golang.org/x/sys/unix"
)

// limit returns the limit that applies to this process. When a Go program starts, the runtime
// raises the soft limit to the hard one.
func limit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0
	}
	return int(r.Cur)
}
