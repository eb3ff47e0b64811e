package client

import (
	"crypto/tls"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// TestProfileTCP reads the TCP options of a profile back from the socket of its client, below TLS.
func TestProfileTCP(t *testing.T) {
	ca := lab.NewCA(t)
	b := lab.StartScriptedBroker(t, probetest.AcceptOnly, lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}})
	type options struct{ Keepalive, Idle, Interval, Probes, UserTimeout, NoDelay int }
	for name, tt := range map[string]struct {
		tcp  mqtt.TCPOptions
		want options
	}{
		"default":      {synthetic.DefaultProfile().TCP, options{NoDelay: 1}},
		"nothing":      {mqtt.TCPOptions{}, options{}},
		"keepalive":    {mqtt.TCPOptions{Keepalive: 7 * time.Second}, options{Keepalive: 1, Idle: 7, Interval: 7, Probes: 3}},
		"user timeout": {mqtt.TCPOptions{UserTimeout: 1500 * time.Millisecond, NoDelay: true, QuickAck: true}, options{UserTimeout: 1500, NoDelay: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := synthetic.DefaultProfile()
			p.TCP = tt.tcp
			c, err := New(synthetic.Env{Target: &synthetic.Target{Name: "x", URL: b.URL(), TLS: synthetic.TargetTLS{CAFile: ca.File}}}, &p)
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.Connect(t.Context(), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Finish(s, "")
			raw, err := s.Conn().(syscall.Conn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			var got options
			err = raw.Control(func(fd uintptr) {
				get := func(level, option int) int {
					v, err := unix.GetsockoptInt(int(fd), level, option)
					if err != nil {
						t.Error(err)
					}
					return v
				}
				if got.Keepalive = get(unix.SOL_SOCKET, unix.SO_KEEPALIVE); got.Keepalive != 0 {
					// Without keepalive these options have the values of the kernel.
					got.Idle, got.Interval, got.Probes = get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)
				}
				got.UserTimeout, got.NoDelay = get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT), get(unix.IPPROTO_TCP, unix.TCP_NODELAY)
			})
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}
