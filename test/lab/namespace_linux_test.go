package lab

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dialIn connects from inside a namespace to a broker's plain listener, without sending anything.
func dialIn(t testing.TB, n *Namespace, address string) (*client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := n.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn), nil
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	n := NewNamespace(t)
	m := StartMosquitto(t, MosquittoOptions{Namespace: n})
	outside := mustConnect(t, m.URL, nil, v5, credentials{})
	inside, err := dialIn(t, n, hostPort(n.Addr.String(), m.Port))
	if err != nil {
		t.Fatal(err)
	}
	if code := inside.connect(v311, 0, credentials{}); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	if got := outside.RemoteAddr().(*net.TCPAddr).IP.String(); got != n.Addr.String() {
		t.Errorf("the broker is at %s, want %s", got, n.Addr)
	}

	// A dropped port accepts bytes and answers nothing. After heal TCP sends them again.
	heal := n.DropPort(m.Port)
	outside.write([]byte{byte(PINGREQ) << 4, 0})
	outside.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := outside.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a dropped port answers: %v", err)
	}
	heal()
	if p := outside.read(); p.Type() != PINGRESP {
		t.Errorf("after healing the answer to PINGREQ is %#x", p.First)
	}

	// A rejected port resets the connection at the next segment, and refuses new ones.
	heal = n.RejectPort(m.Port)
	outside.write([]byte{byte(PINGREQ) << 4, 0})
	if _, err := outside.tryRead(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a rejected port gives %v, want a reset", err)
	}
	if _, err := dial(t, m.URL, nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a rejected port gives %v, want refused", err)
	}
	heal()
	again := mustConnect(t, m.URL, nil, v5, credentials{})

	n.LinkDown()
	again.write([]byte{byte(PINGREQ) << 4, 0})
	n.LinkUp()
	if p := again.read(); p.Type() != PINGRESP {
		t.Errorf("after the link came up the answer to PINGREQ is %#x", p.First)
	}

	m.Stop()
	checkGone(t, m.Daemon)
}

// Namespaces are separate: nobody outside reaches a listener inside, and the reverse.
func TestNamespaceIsApart(t *testing.T) {
	t.Parallel()
	n := NewNamespace(t)
	l, err := n.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Errorf("%s inside is reached from outside", address)
	}
	if _, err := dialIn(t, n, address); err != nil {
		t.Errorf("%s inside is not reached from inside: %v", address, err)
	}

	// The test itself is at the gateway.
	outside, err := net.Listen("tcp", net.JoinHostPort(n.Gateway.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	if _, err := dialIn(t, n, outside.Addr().String()); err != nil {
		t.Errorf("the test is not reached at the gateway: %v", err)
	}
	if names := n.Run("ip", "-o", "link"); strings.Count(names, "\n") != 2 {
		t.Errorf("the namespace has other interfaces than lo and veth0:\n%s", names)
	}
}

func TestNamespaceLeavesNothing(t *testing.T) {
	t.Parallel()
	RequireNetAdmin(t)
	var addr, gateway string
	t.Run("network", func(t *testing.T) {
		n := NewNamespace(t)
		addr, gateway = n.Addr.String(), n.Gateway.String()
	})
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && (ip.String() == addr || ip.String() == gateway) {
			t.Errorf("the machine still has the address %s", a)
		}
	}
}

func TestRoutedNetwork(t *testing.T) {
	t.Parallel()
	r := NewRoutedNetwork(t)
	m := StartMosquitto(t, MosquittoOptions{Namespace: r.Broker})
	address := hostPort(r.Broker.Addr.String(), m.Port)
	c, err := dialIn(t, r.Client, address)
	if err != nil {
		t.Fatal(err)
	}
	if code := c.connect(v5, 0, credentials{}); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}

	// Behind a router a TTL of 1 does not arrive, but answers do: a mute client.
	setTTL(t, c.Conn, 1)
	c.write([]byte{byte(PINGREQ) << 4, 0})
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a segment with TTL 1 was answered: %v", err)
	}
	setTTL(t, c.Conn, 64)
	if p := c.read(); p.Type() != PINGRESP {
		t.Errorf("the answer to PINGREQ is %#x", p.First)
	}

	heal := r.Cut(m.Port)
	c.write([]byte{byte(PINGREQ) << 4, 0})
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the cut path answers: %v", err)
	}
	heal()
	if p := c.read(); p.Type() != PINGRESP {
		t.Errorf("after healing the answer to PINGREQ is %#x", p.First)
	}

	// The routes come back with the link.
	r.Client.LinkDown()
	r.Client.LinkUp()
	if _, err := dialIn(t, r.Client, address); err != nil {
		t.Errorf("after the link came up: %v", err)
	}
}

func TestResolver(t *testing.T) {
	t.Parallel()
	r := NewRoutedNetwork(t)
	r.Client.StartResolver(map[string]Lookup{
		"known.example":  {Addr: r.Broker.Addr},
		"fails.example":  {ServFail: true},
		"silent.example": {Silent: true},
	})
	for _, server := range append(nameservers(t), netip.MustParseAddr("127.0.0.1")) {
		conn, err := r.Client.DialContext(t.Context(), "udp", netip.AddrPortFrom(server, 53).String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ask := func(name string) (dnsmessage.Message, error) {
			question := dnsmessage.Question{Name: dnsmessage.MustNewName(name + "."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
			query, err := (&dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}).Pack()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(query); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 512)
			size, err := conn.Read(buf)
			var answer dnsmessage.Message
			if err == nil {
				err = answer.Unpack(buf[:size])
			}
			return answer, err
		}
		conn.SetReadDeadline(time.Now().Add(patience))
		for name, want := range map[string]dnsmessage.RCode{
			"known.example": dnsmessage.RCodeSuccess, "unknown.example": dnsmessage.RCodeNameError, "fails.example": dnsmessage.RCodeServerFailure,
		} {
			got, err := ask(name)
			if err != nil || got.ID != 7 || got.RCode != want || (len(got.Answers) == 1) != (want == dnsmessage.RCodeSuccess) {
				t.Errorf("%s: %v, %v", name, got.GoString(), err)
			}
			if len(got.Answers) == 1 {
				if a, ok := got.Answers[0].Body.(*dnsmessage.AResource); !ok || a.A != r.Broker.Addr.As4() {
					t.Errorf("%s: %v", name, got.GoString())
				}
			}
		}
		conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if got, err := ask("silent.example"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("silent.example: %v, %v", got.GoString(), err)
		}
	}
}

// A connection that idles for too long is silently dead in both directions. Others are not.
func TestForgetIdle(t *testing.T) {
	t.Parallel()
	r := NewRoutedNetwork(t)
	l, err := r.Broker.Listen("tcp", hostPort(r.Broker.Addr.String(), 1883))
	if err != nil {
		t.Fatal(err)
	}
	b := StartBroker(t, BrokerOptions{Listener: l})
	connect := func(id string) *client {
		t.Helper()
		c, err := dialIn(t, r.Client, b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.write(packetOf(Connect{Level: v5, ClientID: id, CleanStart: true}))
		if p := c.read(); p.Type() != CONNACK {
			t.Fatalf("got %#x", p.First)
		}
		return c
	}
	silent := func(c *client, d time.Duration) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(d))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a silent path gives %v", err)
		}
	}

	r.ForgetIdle(time.Hour)
	c := connect("c")
	c.subscribe(v5, "a", 0)
	silent(c, 5*time.Second)
	c.ping()

	r.ForgetIdle(3 * time.Second)
	c.ping() // the limit applies from the next segment on
	silent(c, 5*time.Second)
	other := connect("other")
	other.publish(v5, "a", "lost", 0)
	other.ping()
	c.write([]byte{byte(PINGREQ) << 4, 0})
	b.Cut("c")
	silent(c, 3*time.Second) // no message, no PINGRESP, no FIN and no retransmission
	connect("new")
}

func TestResetIdle(t *testing.T) {
	t.Parallel()
	r := NewRoutedNetwork(t)
	r.ResetIdle(3 * time.Second)
	m := StartMosquitto(t, MosquittoOptions{Namespace: r.Broker})
	c, err := dialIn(t, r.Client, hostPort(r.Broker.Addr.String(), m.Port))
	if err != nil {
		t.Fatal(err)
	}
	if code := c.connect(v5, 0, credentials{}); code != 0 {
		t.Fatalf("CONNACK %#x", code)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an idle connection gives %v", err)
	}
	c.write([]byte{byte(PINGREQ) << 4, 0})
	if _, err := c.tryRead(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a forgotten connection gives %v, want a reset", err)
	}
}

func setTTL(t testing.TB, conn net.Conn, ttl int) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) {
		inner = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, ttl)
	}); err != nil {
		t.Fatal(err)
	}
	if inner != nil {
		t.Fatal(inner)
	}
}

// A daemon ends even if it leaves its process group, changes its parent and ignores signals.
func TestDescendantsEnd(t *testing.T) {
	t.Parallel()
	setsid := Require(t, "setsid")
	dir := t.TempDir()
	d := Start(t, Command{
		Path:     "/bin/sh",
		Args:     []string{"-c", `trap "" TERM; ` + setsid + ` sh -c 'trap "" TERM; echo $$ > pid; echo started; while :; do sleep 1; done' & wait; wait`},
		Dir:      dir,
		ReadyLog: []string{"started"},
	})
	text, err := os.ReadFile(dir + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	d.Kill()
	checkGone(t, d)
	if env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ"); err == nil && strings.Contains(string(env), d.marker) {
		t.Errorf("the descendant %d still runs", pid)
	}
}

// Suspended programs end when they are asked to.
func TestStopOfSuspended(t *testing.T) {
	t.Parallel()
	m := StartMosquitto(t, MosquittoOptions{})
	c := mustConnect(t, m.URL, nil, v5, credentials{})
	m.Suspend()
	c.write([]byte{byte(PINGREQ) << 4, 0})
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a suspended broker answers: %v", err)
	}
	m.Stop()
	checkGone(t, m.Daemon)
}
