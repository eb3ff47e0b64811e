//go:build !linux

package netfault

import (
	"errors"
	"testing"
)

// On other systems, only mode silent works.
func TestOtherSystem(t *testing.T) {
	t.Parallel()
	says(t, Supported(Deaf), errors.ErrUnsupported, "mode deaf: socket faults and TCP_INFO exist only on Linux")
	ours, _ := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	_, err := Apply(ours, Mute)
	says(t, err, errors.ErrUnsupported, "mode mute: ")
	_, err = ReadFacts(ours)
	says(t, err, errors.ErrUnsupported, "Linux only")
}
