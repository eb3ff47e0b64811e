package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Flags are the control bits of a TCP segment (RFC 9293, 3.1).
type Flags uint8

// The control bits of a TCP segment.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

func (f Flags) String() string {
	var names []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK"} {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// Segment is a TCP segment as it was on the wire. A retransmission is a segment of its own.
type Segment struct {
	// Time is when the kernel handed the segment to the interface or got it from there.
	Time     time.Time
	Src, Dst netip.AddrPort
	Flags    Flags
	Seq, Ack uint32
	Payload  []byte
}

func (s Segment) String() string {
	return fmt.Sprintf("%s %v > %v [%v] seq %d ack %d % x", s.Time.Format("15:04:05.000000"),
		s.Src, s.Dst, s.Flags, s.Seq, s.Ack, s.Payload[:min(len(s.Payload), 32)])
}

// CaptureOptions set what to capture.
type CaptureOptions struct {
	// Interface is the interface to listen on, such as lo.
	Interface string
	// Port is the TCP port that segments come from or go to; 0: every port.
	Port int
	// Namespace is the network namespace of the interface; nil: the current one.
	Namespace *Namespace
}

// Capture is a packet capture.
type Capture struct {
	t    testing.TB
	stop func() (drops uint32, err error)

	mu       sync.Mutex
	segments []Segment
	stopped  bool
}

// StartCapture captures TCP segments from the moment it returns until the test ends. It needs
// CAP_NET_RAW, which root has. Without it the test is skipped, or fails if components are required.
// The loopback interface shows each packet twice; the capture has every segment once.
func StartCapture(t testing.TB, o CaptureOptions) *Capture {
	t.Helper()
	c := &Capture{t: t}
	c.open(o)
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			all := c.Segments()
			t.Logf("the last of %d captured segments:", len(all))
			for _, s := range all[max(0, len(all)-40):] {
				t.Log(s)
			}
		}
	})
	return c
}

// Segments returns the segments captured so far, in order.
func (c *Capture) Segments() []Segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.segments)
}

// WaitFor returns the first captured segment that matches, past or future. If none comes, the test
// fails; the failure calls the segment what.
func (c *Capture) WaitFor(what string, match func(Segment) bool) Segment {
	c.t.Helper()
	deadline := time.Now().Add(readyTimeout)
	for {
		all := c.Segments()
		if i := slices.IndexFunc(all, match); i >= 0 {
			return all[i]
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("not on the wire within %v: %s", readyTimeout, what)
		}
		time.Sleep(pollInterval)
	}
}

// Stop ends the capture. It contains all segments that were on the wire before. A capture that lost
// packets proves nothing, and fails the test.
func (c *Capture) Stop() {
	c.t.Helper()
	c.mu.Lock()
	stopped := c.stopped
	c.stopped = true
	c.mu.Unlock()
	if stopped {
		return
	}
	drops, err := c.stop()
	if err != nil {
		c.t.Errorf("packet capture: %v", err)
	}
	if drops > 0 {
		c.t.Errorf("the packet capture lost %d packets", drops)
	}
}
