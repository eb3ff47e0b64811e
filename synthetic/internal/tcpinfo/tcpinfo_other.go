//go:build !linux

package tcpinfo

import (
	"errors"
	"fmt"
)

// Read reads nothing: TCP_INFO is Linux's.
func Read(int) (Info, error) {
	return Info{}, fmt.Errorf("TCP_INFO exists on Linux only: %w", errors.ErrUnsupported)
}
