package disconnect

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/test/lab"
)

// control runs f on the socket of conn.
func control(t *testing.T, conn net.Conn, f func(fd int) error) error {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return inner
}

// tcpFacts reads TCP_INFO. It returns nil for a unix socket.
func tcpFacts(t *testing.T, conn net.Conn) *TCPFacts {
	t.Helper()
	if _, ok := conn.(*net.TCPConn); !ok {
		return nil
	}
	var facts *TCPFacts
	err := control(t, conn, func(fd int) error {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return err
		}
		facts = &TCPFacts{
			Unacked: info.Unacked, Retransmits: info.Retransmits, Backoff: info.Backoff, State: info.State,
			LastDataRecv: time.Duration(info.Last_data_recv) * time.Millisecond,
			LastAckRecv:  time.Duration(info.Last_ack_recv) * time.Millisecond,
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

// pair returns both ends of a TCP connection over loopback.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = (&net.Dialer{KeepAlive: -1}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// deafen makes a socket drop everything that arrives, as if the cable were unplugged. Without the
// privilege it skips the test.
func deafen(t *testing.T, conn net.Conn) {
	t.Helper()
	err := control(t, conn, func(fd int) error {
		drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
	if errors.Is(err, unix.EPERM) {
		lab.RequireNetAdmin(t) // skips the test, or fails it where components are required
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.(*net.TCPConn).SetLinger(0) }) // no retransmissions after the test
}

func TestSocketDeafPeer(t *testing.T) {
	client, server := pair(t)
	deafen(t, server)
	if _, err := client.Write([]byte{0xc0, 0}); err != nil {
		t.Fatal(err)
	}
	client.SetReadDeadline(time.Now().Add(short))
	_, err := client.Read(make([]byte, 2))
	o := Observation{Phase: PhaseEstablished, Transport: "mqtt", Deadline: DeadlinePingresp, Err: err, TCP: tcpFacts(t, client)}
	checkSocket(t, o, "pingresp_timeout network deadline in established")
	o.Deadline = DeadlineNone
	checkSocket(t, o, "network_timeout network deadline in established")
}

func TestSocketUserTimeout(t *testing.T) {
	client, server := pair(t)
	deafen(t, server)
	err := control(t, client, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 100)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte{0xc0, 0}); err != nil {
		t.Fatal(err)
	}
	client.SetReadDeadline(time.Now().Add(patience))
	_, err = client.Read(make([]byte, 2))
	if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		t.Fatalf("%v: want ETIMEDOUT, which reports itself as a timeout", err)
	}
	// A caller may mistake it for our own deadline because of its Timeout method.
	o := Observation{Phase: PhaseEstablished, Transport: "mqtt", Deadline: DeadlinePingresp, Err: err}
	checkSocket(t, o, "network_timeout network errno in established")
}

// TestSocketFullWindow has a peer whose kernel is running and whose program does not read, such as
// a stopped broker.
func TestSocketFullWindow(t *testing.T) {
	client, _ := pair(t)
	client.(*net.TCPConn).SetWriteBuffer(64 << 10)
	var err error
	for err == nil {
		client.SetWriteDeadline(time.Now().Add(short))
		_, err = client.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	// Everything that fitted is acknowledged, and the window is being probed.
	limit := time.Now().Add(patience)
	facts := tcpFacts(t, client)
	for ; facts.Unacked > 0 || facts.Backoff == 0; facts = tcpFacts(t, client) {
		if time.Now().After(limit) {
			t.Fatalf("the window did not fill: %+v", facts)
		}
		client.SetWriteDeadline(time.Now().Add(short)) // where this process stood still, the first writes did not fill it
		if _, e := client.Write(make([]byte, 64<<10)); !errors.Is(e, os.ErrDeadlineExceeded) && e != nil {
			t.Fatal(e)
		}
		pause(client)
	}
	o := Observation{Phase: PhaseEstablished, Transport: "mqtt", Deadline: DeadlineWrite, Err: err, TCP: facts, SendIdle: patience}
	checkSocket(t, o, "network_timeout server deadline in established")
	// A ping is queued because the window is full. The probes are answered after it was written.
	for facts.LastAckRecv == 0 {
		pause(client)
		facts = tcpFacts(t, client)
	}
	o.Deadline, o.TCP = DeadlinePingresp, facts
	checkSocket(t, o, "pingresp_timeout server deadline in established")
}
