package netfault

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// A deaf socket receives nothing and acknowledges nothing. After Heal it receives everything.
func TestDeaf(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	loopbacks(t, func(t *testing.T, l net.Listener) {
		ours, peer := connect(t, nil, l)
		before, old := facts(t, ours), settingsOf(t, ours)
		f, err := Apply(ours, Deaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Held(); err != nil {
			t.Errorf("at once: %v", err)
		}

		write(t, peer, "anybody there?")
		unheard(t, peer)
		peer.(*net.TCPConn).CloseWrite()
		eventually(t, "the peer sends its FIN", func() bool { return facts(t, peer).State == FinWait1 })
		now := facts(t, ours)
		if now.State != Established || now.BytesReceived != before.BytesReceived || now.SegmentsReceived != before.SegmentsReceived {
			t.Errorf("something came in: before %+v, then %+v", before, now)
		}
		if err := f.Held(); err != nil {
			t.Errorf("after the peer wrote: %v", err)
		}

		// What it sends arrives, but it does not receive the acknowledgement.
		pass(t, ours, peer, "goodbye")
		if err := f.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		if err := f.Held(); err != nil {
			t.Errorf("after we wrote: %v", err)
		}
		if s := facts(t, peer).State; s != FinWait1 {
			t.Errorf("the peer is in %s, want FIN_WAIT1", s)
		}

		for range 2 {
			if err := f.Heal(); err != nil {
				t.Fatal(err)
			}
		}
		read(t, ours, "anybody there?")
		if err := readError(t, ours); err != io.EOF {
			t.Errorf("after the peer's FIN a read returned %v", err)
		}
		eventually(t, "all is acknowledged", func() bool { return facts(t, peer).State == FinWait2 && facts(t, ours).Pending == 0 })
		if diff := cmp.Diff(old, settingsOf(t, ours)); diff != "" {
			t.Errorf("healing did not restore the options (-before +after):\n%s", diff)
		}
		if err := f.Held(); err == nil || errors.Is(err, ErrIneffective) || err.Error() != "mode deaf: the fault has ended" {
			t.Errorf("a healed fault returned %v", err)
		}
	})
}

// The peer's FIN alone is not acknowledged either.
func TestDeafToFIN(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	loopbacks(t, func(t *testing.T, l net.Listener) {
		ours, peer := connect(t, nil, l)
		f, err := Apply(ours, Deaf)
		if err != nil {
			t.Fatal(err)
		}
		peer.(*net.TCPConn).CloseWrite()
		unheard(t, peer)
		if s := facts(t, peer).State; s != FinWait1 {
			t.Errorf("the peer is in %s, want FIN_WAIT1", s)
		}
		if err := f.Held(); err != nil {
			t.Error(err)
		}
	})
}

// During the fault, a close by the connection's owner does not reach the peer and destroys no
// proof.
func TestDeafIsHeldOpen(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	loopbacks(t, func(t *testing.T, l net.Listener) {
		ours, peer := connect(t, nil, l)
		f, err := Apply(ours, Deaf)
		if err != nil {
			t.Fatal(err)
		}
		ours.(*net.TCPConn).SetLinger(0)
		if err := ours.Close(); err != nil {
			t.Fatal(err)
		}
		write(t, peer, "anybody there?")
		unheard(t, peer)
		if s := facts(t, peer).State; s != Established {
			t.Errorf("the peer is in %s", s)
		}
		if now, err := f.Facts(); err != nil || now.State != Established {
			t.Errorf("we are in %s, %v", now.State, err)
		}
		if err := f.Held(); err != nil {
			t.Error(err)
		}
		if err := f.Reset(); err != nil {
			t.Error(err)
		}
		if err := readError(t, peer); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the peer's read returned %v, want a reset", err)
		}
		says(t, f.Verify(t.Context()), nil, "mode deaf: the fault has ended")
	})
}

// Whichever way a deaf socket ends, neither side keeps anything.
func TestDeafCloses(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	for _, test := range []struct {
		name  string
		close func(f *Fault, c net.Conn) error
		reset bool // the peer gets a RST
	}{
		{"Reset", func(f *Fault, _ net.Conn) error { return errors.Join(f.Reset(), f.Reset(), f.Heal()) }, true},
		{"Close, Reset", func(f *Fault, c net.Conn) error { return errors.Join(c.Close(), f.Reset()) }, true},
		{"Heal, Reset", func(f *Fault, _ net.Conn) error { return errors.Join(f.Heal(), f.Reset()) }, true},
		{"Heal, Close", func(f *Fault, c net.Conn) error { return errors.Join(f.Heal(), c.Close()) }, false},
		{"Close, Heal", func(f *Fault, c net.Conn) error { return errors.Join(c.Close(), f.Heal(), f.Reset()) }, false},
	} {
		for _, said := range []string{"nothing", "data", "FIN"} {
			t.Run(test.name+" after the peer said "+said, func(t *testing.T) {
				t.Parallel()
				ours, peer := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
				from, to := ours.LocalAddr(), peer.LocalAddr()
				f, err := Apply(ours, Deaf)
				if err != nil {
					t.Fatal(err)
				}
				switch said {
				case "data":
					write(t, peer, "anybody there?")
					eventually(t, "it is sent again", func() bool { return facts(t, peer).Retransmits > 0 })
				case "FIN":
					peer.(*net.TCPConn).CloseWrite()
					eventually(t, "it is sent again", func() bool { return facts(t, peer).Retransmits > 0 })
				}
				if err := test.close(f, ours); err != nil {
					t.Error(err)
				}
				switch err := readError(t, peer); {
				case errors.Is(err, syscall.ECONNRESET): // also if data comes to a closed socket
				case test.reset || err != io.EOF:
					t.Errorf("the peer's read returned %v", err)
				}
				peer.Close()
				gone := func(found []State) bool {
					return !slices.ContainsFunc(found, func(s State) bool { return test.reset || s != TimeWait })
				}
				eventually(t, "our socket is gone", func() bool { return gone(states(t, nil, from, to)) })
				eventually(t, "the peer's socket is gone", func() bool { return gone(states(t, nil, to, from)) })
			})
		}
	}
}

// The kernel closes the socket of a killed process. That leaves nothing, either.
func TestDeafProcessIsKilled(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, "tcp", "127.0.0.1:0")
	d := lab.Start(t, lab.Command{Path: self, Env: []string{victimOf + "=" + l.Addr().String()}, ReadyLog: []string{"deaf on"}})
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	write(t, peer, "anybody there?")
	unheard(t, peer)
	d.Kill()
	if err := readError(t, peer); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer's read returned %v, want a reset", err)
	}
	if left := states(t, nil, peer.RemoteAddr(), peer.LocalAddr()); len(left) > 0 {
		t.Errorf("the kernel still has the socket: %v", left)
	}
}

// TCP keepalive and TCP_USER_TIMEOUT must not end a deaf connection with a RST to the peer.
func TestDeafOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	ours, peer := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	if err := ours.(*net.TCPConn).SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 1}); err != nil {
		t.Fatal(err)
	}
	s, err := tcpSocket(ours)
	if err != nil {
		t.Fatal(err)
	}
	// 18 is TCP_USER_TIMEOUT.
	if err := s.control(func(fd int) error { return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, 18, 1000) }); err != nil {
		t.Fatal(err)
	}
	old := settingsOf(t, ours)
	f, err := Apply(ours, Deaf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, ours, "goodbye")
	want := settings{UserTimeout: 24 * 60 * 60 * 1000, TTL: old.TTL, Hops: old.Hops}
	if diff := cmp.Diff(want, settingsOf(t, ours)); diff != "" {
		t.Errorf("options of a deaf socket (-want +got):\n%s", diff)
	}
	eventually(t, "all timeouts passed twice", func() bool { return facts(t, ours).LastAckReceived > 5*time.Second })
	if s := facts(t, ours).State; s != Established {
		t.Errorf("the deaf socket is in %s", s)
	}
	if s := facts(t, peer).State; s != Established {
		t.Errorf("the peer is in %s", s)
	}
	if err := f.Heal(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(old, settingsOf(t, ours)); diff != "" {
		t.Errorf("healing did not restore the options (-before +after):\n%s", diff)
	}
	read(t, peer, "goodbye")
}

// The fault is below TLS and works the same there.
func TestDeafBelowTLS(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	ca := lab.NewCA(t)
	ours, peer := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	server := tls.Server(peer, &tls.Config{Certificates: []tls.Certificate{ca.Server(t, lab.Names("broker.test")).TLS}})
	client := tls.Client(ours, &tls.Config{RootCAs: ca.Pool, ServerName: "broker.test"})
	handshake := make(chan error, 1)
	go func() { handshake <- server.HandshakeContext(t.Context()) }()
	if err := errors.Join(client.HandshakeContext(t.Context()), <-handshake); err != nil {
		t.Fatal(err)
	}
	pass(t, client, server, "hello")
	pass(t, server, client, "welcome")

	if _, err := Apply(client, Deaf); !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "*tls.Conn") {
		t.Errorf("a fault on the TLS connection itself returned %v", err)
	}
	f, err := Apply(ours, Deaf)
	if err != nil {
		t.Fatal(err)
	}
	write(t, server, "anybody there?")
	unheard(t, peer)
	if err := f.Held(); err != nil {
		t.Error(err)
	}
	if err := f.Heal(); err != nil {
		t.Fatal(err)
	}
	read(t, client, "anybody there?")

	if err := f.Reset(); err != nil {
		t.Error(err)
	}
	client.Close()
	if err := readError(t, server); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after Reset the peer's read returned %v", err)
	}
}

// Held notices if somebody else ends the fault.
func TestDeafnessIsLost(t *testing.T) {
	t.Parallel()
	requireDeaf(t)
	ours, peer := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	f, err := Apply(ours, Deaf)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tcpSocket(ours)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.control(undeafen); err != nil {
		t.Fatal(err)
	}
	pass(t, peer, ours, "anybody there?")
	says(t, f.Held(), ErrIneffective, "segments came in")
	write(t, ours, "yes")
	says(t, f.Verify(t.Context()), ErrIneffective, "mode deaf: ")
	if err := f.Heal(); err != nil {
		t.Errorf("a second Heal: %v", err)
	}
}

// Without the privilege, the kernel decides. If it refuses, the error says what is missing, and the
// socket is unchanged.
func TestDeafUnprivileged(t *testing.T) {
	t.Parallel()
	ours, peer := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	old := settingsOf(t, ours)
	var supported, applied error
	unprivileged(t, nil, func() {
		supported = Supported(Deaf)
		var f *Fault
		if f, applied = Apply(ours, Deaf); f != nil {
			f.Heal()
		}
	})
	if fmt.Sprint(supported) != fmt.Sprint(applied) {
		t.Errorf("Supported returned %v, Apply %v", supported, applied)
	}
	if applied == nil {
		t.Log("this kernel lets every process attach filters to TCP sockets")
	} else {
		says(t, applied, os.ErrPermission, "AmbientCapabilities=CAP_NET_ADMIN")
	}
	if diff := cmp.Diff(old, settingsOf(t, ours)); diff != "" {
		t.Errorf("the options changed (-before +after):\n%s", diff)
	}
	pass(t, peer, ours, "anybody there?")
}

// A connection that is not a TCP socket, or is closed, is refused with a clear error.
func TestUnsuitable(t *testing.T) {
	t.Parallel()
	overUnix, _ := connect(t, nil, listen(t, "unix", t.TempDir()+"/s"))
	closed, _ := connect(t, nil, listen(t, "tcp", "127.0.0.1:0"))
	closed.Close()
	hidden, _ := net.Pipe()
	defer hidden.Close()
	tests := []struct {
		name  string
		conn  net.Conn
		match error
		text  string
	}{
		{"unix", overUnix, errors.ErrUnsupported, "a unix socket that is not plain TCP"},
		{"pipe", hidden, errors.ErrUnsupported, "*net.pipe is not a socket"},
		{"closed", closed, net.ErrClosed, ""},
	}
	var multipath net.Dialer
	multipath.SetMultipathTCP(true)
	c, _ := connect(t, multipath.DialContext, listen(t, "tcp", "127.0.0.1:0"))
	// A kernel without it dials TCP. With it, Multipath TCP is used only if both sides have it.
	if used, err := c.(*net.TCPConn).MultipathTCP(); err == nil && used {
		tests = append(tests, struct {
			name  string
			conn  net.Conn
			match error
			text  string
		}{"multipath", c, errors.ErrUnsupported, "Multipath TCP"})
	} else {
		t.Logf("Multipath TCP is not tested: the kernel does not use it (%v)", err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, mode := range []Mode{Deaf, Mute} {
				_, err := Apply(test.conn, mode)
				says(t, err, test.match, "mode "+string(mode)+": ")
				says(t, err, test.match, test.text)
			}
			_, err := ReadFacts(test.conn)
			says(t, err, test.match, test.text)
		})
	}
}
