package lab

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func isPing(s Segment) bool { return bytes.Equal(s.Payload, []byte{byte(PINGREQ) << 4, 0}) }

// A capture has every segment of a session once, in order, on the loopback interface and over IPv4
// and IPv6.
func TestCapture(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoOptions{})
	for family, u := range map[string]string{"IPv4": m.URL, "IPv6": m.URL6} {
		t.Run(family, func(t *testing.T) {
			if u == "" {
				RequireIPv6(t)
			}
			capture := StartCapture(t, CaptureOptions{Interface: "lo", Port: m.Port})
			before := time.Now()
			c := mustConnect(t, u, nil, v5, credentials{})
			ping := capture.WaitFor("a PINGREQ", isPing)
			c.Close()
			capture.WaitFor("the broker's FIN", func(s Segment) bool { return s.Src.Port() == uint16(m.Port) && s.Flags&FIN != 0 })
			capture.Stop()

			local, err := netip.ParseAddrPort(c.LocalAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			if ping.Src != local || ping.Dst != remote {
				t.Errorf("the PINGREQ went from %v to %v, want %v to %v", ping.Src, ping.Dst, local, remote)
			}
			if after := time.Now(); ping.Time.Before(before.Add(-time.Minute)) || ping.Time.After(after.Add(time.Minute)) {
				t.Errorf("the PINGREQ was captured at %v, not between %v and %v", ping.Time, before, after)
			}
			all := capture.Segments()
			if n := len(slices.DeleteFunc(slices.Clone(all), func(s Segment) bool { return !isPing(s) })); n != 1 {
				t.Errorf("%d PINGREQ were captured, want 1", n)
			}
			var flags []Flags
			for _, s := range all {
				if s.Src != local && s.Dst != local {
					t.Errorf("a segment of another connection: %v", s)
				}
				if s.Flags&(SYN|FIN) != 0 {
					flags = append(flags, s.Flags)
				}
			}
			if diff := cmp.Diff([]Flags{SYN, SYN | ACK, FIN | ACK, FIN | ACK}, flags); diff != "" {
				t.Errorf("opening and closing segments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCaptureInNamespace(t *testing.T) {
	t.Parallel()
	n := NewNamespace(t)
	m := StartMosquitto(t, MosquittoOptions{Namespace: n})
	capture := StartCapture(t, CaptureOptions{Interface: n.Interface, Port: m.Port, Namespace: n})
	all := StartCapture(t, CaptureOptions{Interface: n.Interface, Namespace: n})
	c := mustConnect(t, m.URL, nil, v311, credentials{})
	answered := capture.WaitFor("a PINGREQ", isPing)
	all.WaitFor("a PINGREQ", isPing)

	// A segment that the firewall drops was on the wire before. It is there again when TCP sends it
	// again.
	n.DropPort(m.Port)
	c.write([]byte{byte(PINGREQ) << 4, 0})
	dropped := capture.WaitFor("the dropped PINGREQ", func(s Segment) bool { return isPing(s) && s.Seq != answered.Seq })
	capture.WaitFor("its retransmission", func(s Segment) bool {
		return isPing(s) && s.Seq == dropped.Seq && s.Time.After(dropped.Time)
	})
	capture.Stop()
	capture.Stop() // harmless
}

func TestParseSegment(t *testing.T) {
	tcp := []byte{
		0x04, 0x5b, 0xc0, 0x00, // ports 1115, 49152
		0, 0, 0, 1, 0, 0, 0, 2, // seq, ack
		0x60, 0x18, 1, 0, 0, 0, 0, 0, // 24 bytes of header, PSH|ACK
		1, 1, 1, 1, // options
		0xc0, 0x00,
	}
	header4 := []byte{0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	header6 := slices.Concat([]byte{0x60, 0, 0, 0, 0, 26, 6, 64},
		netip.MustParseAddr("fd00::1").AsSlice(), netip.MustParseAddr("fd00::2").AsSlice())
	segment := func(src, dst string) Segment {
		return Segment{
			Src: netip.MustParseAddrPort(src), Dst: netip.MustParseAddrPort(dst),
			Flags: PSH | ACK, Seq: 1, Ack: 2, Payload: []byte{0xc0, 0},
		}
	}
	for _, test := range []struct {
		name   string
		packet []byte
		want   Segment
		ok     bool
	}{
		{"IPv4", slices.Concat(header4, tcp), segment("10.0.0.1:1115", "10.0.0.2:49152"), true},
		{"IPv4 with padding", slices.Concat(header4, tcp, make([]byte, 6)), segment("10.0.0.1:1115", "10.0.0.2:49152"), true},
		{"IPv6", slices.Concat(header6, tcp), segment("[fd00::1]:1115", "[fd00::2]:49152"), true},
		{"cut short", slices.Concat(header4, tcp)[:45], Segment{}, false},
		{"UDP", append([]byte{0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17}, make([]byte, 36)...), Segment{}, false},
		{"header only", header4, Segment{}, false},
		{"nothing", nil, Segment{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseSegment(test.packet)
			equal := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
			if diff := cmp.Diff(test.want, got, equal); ok != test.ok || diff != "" {
				t.Errorf("ok %t (-want +got):\n%s", ok, diff)
			}
		})
	}
}
