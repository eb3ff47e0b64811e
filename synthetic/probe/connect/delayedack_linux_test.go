package connect

import (
	"crypto/tls"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/test/lab"
)

// nagler is a listener with Nagle's algorithm on. Go switches it off.
type nagler struct{ net.Listener }

// Accept implements net.Listener.
func (l nagler) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetNoDelay(false)
	}
	return c, err
}

// TestDelayedAck distinguishes a broker that waits for our acknowledgements from a slow broker and
// from a slow path. The delays are those of the kernel.
func TestDelayedAck(t *testing.T) {
	ca := lab.NewCA(t)
	const local, around = "127.0.0.1:0", "198.18.0.1:0"
	for _, tt := range []struct {
		name   string
		script lab.Script
		nagle  bool // at the broker
		// plain uses no TLS. The kernel acknowledges the first segments of a young connection at
		// once.
		plain   bool
		quick   bool // profile with tcp.quickack
		address string
		want    string // the gauge: 1, 0, absent
	}{
		{name: "two small writes", script: halves, nagle: true, address: local, want: "1"},
		{name: "two small writes with TCP_NODELAY", script: halves, address: local, want: "0"},
		{name: "one write", script: probetest.AcceptOnly, nagle: true, plain: true, address: local, want: "0"},
		{name: "slow", script: slow, address: local, want: "0"},
		{name: "slow, one write", script: slow, nagle: true, plain: true, address: local, want: "0"},
		{name: "we acknowledge at once", script: halves, nagle: true, quick: true, address: local, want: "absent"},
		{name: "slow path", script: probetest.AcceptOnly, address: around, want: "0"},
		{name: "slow path, two small writes", script: halves, nagle: true, address: around, want: "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env := synthetic.Env{Agent: "a", Timeout: 20 * time.Second}
			listen := net.Listen
			if tt.address == around {
				n := detour(t, 22*time.Millisecond)
				env.Dial, listen = n.DialContext, n.Listen
			}
			l, err := listen("tcp", tt.address)
			if err != nil {
				t.Fatal(err)
			}
			if tt.nagle {
				l = nagler{l}
			}
			var o lab.ScriptedBrokerOptions
			if !tt.plain {
				o.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, lab.Names("broker")).TLS}}
			}
			o.Listener = l
			b := lab.StartScriptedBroker(t, tt.script, o)
			env.Target = &synthetic.Target{Name: "x", URL: strings.Replace(b.URL(), "198.18.0.1", "198.18.0.2", 1), TLS: synthetic.TargetTLS{CAFile: ca.File, ServerName: "broker"}}
			profile := synthetic.DefaultProfile()
			profile.TCP.QuickAck = tt.quick

			// A machine that sometimes stops for a moment may prevent a verdict. It must never
			// cause a verdict that blames the broker.
			found := false
			for deadline := time.Now().Add(3 * time.Minute); !found && time.Now().Before(deadline); {
				p := probetest.Build(t, Kind(), env, profile, nil)
				before := b.Accepted()
				var verdicts []string
				for range 3 {
					verdicts = append(verdicts, delayOf(t, p.Run(t.Context(), func(synthetic.Event) {})))
				}
				if more := b.Accepted() - before - 3; more > 2*delayTries || more > 0 && tt.quick {
					t.Fatalf("%d additional connects besides the three of the runs", more)
				}
				if tt.want != "1" && slices.Contains(verdicts, "1") {
					t.Fatalf("the broker is blamed: %s", verdicts)
				}
				found = slices.Contains(verdicts, tt.want)
			}
			if !found {
				t.Errorf("the gauge was never %s", tt.want)
			}
		})
	}
}

// delayOf returns the value of the gauge in a report. It checks that the detail agrees.
func delayOf(t *testing.T, r *synthetic.Report) string {
	t.Helper()
	if r.Outcome != synthetic.Success {
		t.Fatalf("%s: %s", r.Outcome, r.Detail)
	}
	found := "absent"
	for _, s := range r.Samples {
		if s.Metric.Name == "mqtt_probe_connect_delayed_ack" {
			found = map[float64]string{0: "0", 1: "1"}[s.Value]
			if s.Op == synthetic.Forget {
				found = "absent"
			}
		}
	}
	if blamed := strings.Contains(r.Detail, "set_tcp_nodelay"); blamed != (found == "1") {
		t.Errorf("the gauge is %s, and the report says: %s", found, r.Detail)
	}
	return found
}

// halves answers with a CONNACK in two small writes. Nagle's algorithm delays the second one until
// the first one is acknowledged.
func halves(c *lab.Conn) error {
	err := c.ReadConnect()
	if err == nil {
		_, err = c.Write([]byte{byte(lab.CONNACK) << 4, 3})
	}
	if err == nil {
		_, err = c.Write([]byte{0, 0, 0})
	}
	return stay(c, err)
}

// slow answers as late as a broker that waits for our acknowledgement.
func slow(c *lab.Conn) error {
	err := c.ReadConnect()
	if err == nil {
		err = c.Sleep(45 * time.Millisecond)
	}
	if err == nil {
		_, err = c.Write([]byte{byte(lab.CONNACK) << 4, 3, 0, 0, 0})
	}
	return stay(c, err)
}

func stay(c *lab.Conn, err error) error {
	if err != nil {
		return err
	}
	return c.Discard()
}

// detour returns a namespace in which 198.18.0.2 is 198.18.0.1, over a path with a delay in each
// direction.
func detour(t *testing.T, delay time.Duration) *lab.Namespace {
	t.Helper()
	n := lab.NewNamespace(t)
	var tun *os.File
	var err error
	n.Do(func() { tun, err = openTUN("detour") })
	if err != nil {
		t.Skipf("no TUN device: %v", err)
	}
	n.Run("ip", "addr", "add", "198.18.0.1/24", "dev", "detour")
	n.Run("ip", "link", "set", "detour", "up")
	type packet struct {
		due   time.Time
		bytes []byte
	}
	under := make(chan packet, 1024)
	var all sync.WaitGroup
	all.Go(func() {
		defer close(under)
		for {
			b := make([]byte, 2048)
			k, err := tun.Read(b)
			if err != nil {
				return
			}
			if b = b[:k]; k >= 20 && b[0]>>4 == 4 {
				// Swap source and destination of the IPv4 packet. The checksums stay correct.
				from, to := [4]byte(b[12:16]), [4]byte(b[16:20])
				copy(b[12:16], to[:])
				copy(b[16:20], from[:])
				under <- packet{time.Now().Add(delay), b}
			}
		}
	})
	all.Go(func() {
		for p := range under {
			<-time.After(time.Until(p.due))
			_, _ = tun.Write(p.bytes) // fails after tun is closed
		}
	})
	t.Cleanup(func() {
		tun.Close()
		all.Wait()
	})
	return n
}

// openTUN opens a TUN device for IP packets.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = os.NewSyscallError("TUNSETIFF", unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
