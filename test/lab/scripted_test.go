package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What each script sends on a TCP connection, and how the connection ends.
func TestHostile(t *testing.T) {
	t.Parallel()
	const keepsOpen = 300 * time.Millisecond
	for _, test := range []struct {
		name   string
		script Script
		level  byte
		want   []byte // first bytes
		end    error  // nil: the connection stays open
	}{
		{"random bytes", RandomBytes(1, 8), v5, noise(1, 8), nil},
		{"256 MiB CONNACK", HugeConnack(), v5, []byte{0x20, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0}, nil},
		{"CONNACK that never ends", EndlessConnack(), v5, []byte{0x20, 100, 0, 0, 97}, nil},
		{"one byte a second", OneByteASecond(), v5, []byte{0x20}, nil},
		{"never reads", NeverReads(), v5, []byte{0x20, 3, 0, 0, 0}, nil},
		{"flood, 3.1.1", Flood("a", 1), v311, []byte{0x20, 2, 0, 0, 0x30, 4, 0, 1, 'a', 0, 0x30, 4, 0, 1, 'a', 0}, nil},
		{"flood, 5", Flood("a", 1), v5, []byte{0x20, 3, 0, 0, 0, 0x30, 5, 0, 1, 'a', 0, 0, 0x30, 5, 0, 1, 'a', 0, 0}, nil},
		{"invalid UTF-8 topic", InvalidTopic(), v311, []byte{0x20, 2, 0, 0, 0x30, 7, 0, 4, 'a', 0xc3, 0x28, 'b', 'x'}, nil},
		{"CONNACK with a tail, 3.1.1", TrailingBytes(), v311, []byte{0x20, 4, 0, 0, 0xaa, 0xbb}, nil},
		{"CONNACK with a tail, 5", TrailingBytes(), v5, []byte{0x20, 5, 0, 0, 0, 0xaa, 0xbb}, nil},
		{"DISCONNECT", Disconnects(0xe0, 0), v5, []byte{0x20, 3, 0, 0, 0, 0xe0, 0}, io.EOF},
		{"DISCONNECT 0x8E", Disconnects(0xe0, 1, 0x8e), v5, []byte{0x20, 3, 0, 0, 0, 0xe0, 1, 0x8e}, io.EOF},
		{"refuses, 3.1.1", Refuses(5), v311, []byte{0x20, 2, 0, 5}, io.EOF},
		{"refuses, 5", Refuses(0x87), v5, []byte{0x20, 3, 0, 0x87, 0}, io.EOF},
		{"silent", Silent(), v5, nil, nil},
		{"closes at once", ClosesAtOnce(), v5, nil, io.EOF},
		{"resets at once", ResetsAtOnce(), v5, nil, syscall.ECONNRESET},
		{"closes after CONNECT", ClosesAfterConnect(), v5, nil, io.EOF},
		{"resets after CONNECT", ResetsAfterConnect(), v5, nil, syscall.ECONNRESET},
		{"never acknowledges", Zombie(), v5, []byte{0x20, 3, 0, 0, 0}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := StartScriptedBroker(t, test.script, ScriptedBrokerOptions{})
			c, err := dial(t, b.URL(), nil)
			if err != nil {
				if test.end == nil || !errors.Is(err, test.end) {
					t.Error(err)
				}
				return
			}
			if _, err := c.Write(connectPacket(test.level, 0, credentials{})); err != nil {
				// The kernel reports a reset once: the read after this would return EOF.
				if test.end == nil || !errors.Is(err, test.end) && !errors.Is(err, syscall.EPIPE) {
					t.Error(err)
				}
				return
			}
			c.SetReadDeadline(time.Now().Add(patience))
			got := make([]byte, len(test.want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, test.want) {
				t.Fatalf("got % x, %v, want % x", got, err, test.want)
			}
			if test.end == nil {
				c.SetReadDeadline(time.Now().Add(keepsOpen))
			}
			_, err = io.Copy(io.Discard, c)
			if err == nil {
				err = io.EOF
			}
			if test.end == nil && !isTimeout(err) {
				t.Errorf("the connection ended: %v", err)
			}
			if test.end != nil && !errors.Is(err, test.end) {
				t.Errorf("the end is %v, want %v", err, test.end)
			}
			b.Close()
			if n := b.Accepted(); n != 1 {
				t.Errorf("%d connections were accepted", n)
			}
		})
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// noise returns the bytes that RandomBytes sends.
func noise(seed uint64, n int) []byte {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	go RandomBytes(seed, n)(&Conn{Conn: there, raw: there, ctx: context.Background(), reader: newClient(nil, there).reader})
	here.Write(connectPacket(v5, 0, credentials{}))
	bytes := make([]byte, n)
	io.ReadFull(here, bytes)
	return bytes
}

// TLS ends by close_notify and FIN, by a bare FIN, or by a reset.
func TestScriptedTLS(t *testing.T) {
	t.Parallel()
	ca := NewCA(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}
	afterAccept := func(end func(*Conn) error) Script {
		return func(c *Conn) error {
			if err := c.Accept(); err != nil {
				return err
			}
			return end(c)
		}
	}
	for _, test := range []struct {
		name   string
		end    func(*Conn) error
		notify bool
		err    error
	}{
		{"close_notify", (*Conn).CloseNotify, true, io.EOF},
		{"FIN", (*Conn).FIN, false, io.EOF},
		{"RST", (*Conn).Reset, false, syscall.ECONNRESET},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := StartScriptedBroker(t, afterAccept(test.end), ScriptedBrokerOptions{TLS: server})
			raw, err := net.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			tap := &tap{Conn: raw}
			c := newClient(t, tls.Client(tap, &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}))
			if code := c.connect(v5, 0, credentials{}); code != 0 {
				t.Fatalf("CONNACK %#x", code)
			}
			if _, err := c.tryRead(); !errors.Is(err, test.err) {
				t.Errorf("the end is %v, want %v", err, test.err)
			}
			// crypto/tls returns EOF for both. Only below TLS does a bare FIN show.
			if notify := tap.err == nil; notify != test.notify {
				t.Errorf("close_notify %t, want %t", notify, test.notify)
			}
		})
	}
}

// tap records how the connection under TLS ended.
type tap struct {
	net.Conn
	err error
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.err = err
	}
	return n, err
}

// In virtual time over pipes, a responder answers everything, delays what it should delay, and
// leaves no goroutine behind.
func TestResponder(t *testing.T) {
	for _, level := range []byte{v311, v5} {
		synctest.Test(t, func(t *testing.T) {
			var props []byte // as in every packet of ours
			if level == v5 {
				props = []byte{0}
			}
			const delay = 9 * time.Second
			c := pipeClient(t, Responder{Delay: delay}.Serve)
			if code := c.connect(level, time.Minute, credentials{}); code != 0 {
				t.Fatalf("CONNACK %#x", code)
			}
			c.write(Frame(0x82, []byte{0, 1}, props, []byte{0, 3, 'a', '/', '#', 2, 0, 1, 'b', 0}))
			c.want(Frame(0x90, []byte{0, 1}, props, []byte{2, 0}))
			c.ping()

			start := time.Now()
			c.write(Frame(0x32, []byte{0, 3, 'a', '/', 'b', 0, 7}, props, []byte("hello")))
			c.ping() // not delayed
			if !time.Now().Equal(start) {
				t.Error("a ping waited for the acknowledgement")
			}
			c.want([]byte{0x40, 2, 0, 7})
			if waited := time.Since(start); waited != delay {
				t.Errorf("the acknowledgement took %v, want %v", waited, delay)
			}
			c.want(Frame(0x32, []byte{0, 3, 'a', '/', 'b', 0, 1}, props, []byte("hello")))
			c.write([]byte{0x40, 2, 0, 1})

			c.write(Frame(0x34, []byte{0, 3, 'a', '/', 'b', 0, 8}, props)) // QoS 2, empty
			c.want([]byte{0x50, 2, 0, 8})
			c.want(Frame(0x34, []byte{0, 3, 'a', '/', 'b', 0, 2}, props))
			c.write([]byte{0x62, 2, 0, 8})
			c.write([]byte{0x50, 2, 0, 2})
			c.want([]byte{0x62, 2, 0, 2})
			c.write([]byte{0x70, 2, 0, 2})
			c.want([]byte{0x70, 2, 0, 8})

			c.write(Frame(0x32, []byte{0, 1, 'b', 0, 9}, props, []byte("x"))) // granted QoS 0
			c.want([]byte{0x40, 2, 0, 9})
			c.want(Frame(0x30, []byte{0, 1, 'b'}, props, []byte("x")))

			c.write(Frame(0xa2, []byte{0, 2}, props, []byte{0, 3, 'a', '/', '#'}))
			unsuback := Frame(0xb0, []byte{0, 2})
			if level == v5 {
				unsuback = Frame(0xb0, []byte{0, 2, 0, 0})
			}
			c.want(unsuback)
			c.write([]byte{0xe0, 0})
			if _, err := c.tryRead(); err != io.EOF {
				t.Errorf("after DISCONNECT: %v", err)
			}
		})
	}
}

func TestZombie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeClient(t, Sequence(Zombie(), DeafToPings()))
		c.connect(v311, 0, credentials{})
		c.write(Frame(0x82, []byte{0, 1, 0, 1, 'a', 1}))
		c.want([]byte{0x90, 3, 0, 1, 1})
		c.write(Frame(0x32, []byte{0, 1, 'a', 0, 7}))
		c.ping()
		c.wantNothing()
	})
}

// Acknowledgements that have to wait are blocked in the end. Those of single messages before are
// not. Pings and deliveries go on.
func TestJam(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeClient(t, Responder{Jam: 2}.Serve)
		c.connect(v311, 0, credentials{})
		c.write(Frame(0x82, []byte{0, 1, 0, 1, 'a', 0}))
		c.want([]byte{0x90, 3, 0, 1, 0})
		publish := func(id byte, qos byte) {
			c.write(Frame(0x30|qos<<1, []byte{0, 1, 'a', 0, id}))
		}
		delivered := []byte{0x30, 3, 0, 1, 'a'}
		for id := range byte(5) { // each alone
			publish(id, 1)
			c.want([]byte{0x40, 2, 0, id})
			c.want(delivered)
			time.Sleep(time.Second)
		}
		for id := range byte(3) { // the last two have to wait
			publish(id, 2)
			c.want([]byte{0x50, 2, 0, id})
			c.want(delivered)
		}
		publish(3, 1)
		c.want(delivered)
		time.Sleep(time.Hour)
		publish(4, 1)
		c.want(delivered)
		c.ping()
		c.wantNothing()
	})
}

func TestSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewPipeListener()
		b := StartScriptedBroker(t, Sequence(Refuses(3), DeafToPings()), ScriptedBrokerOptions{Listener: l})
		for i, want := range []byte{3, 0, 0} {
			conn, err := l.DialContext(t.Context(), "tcp", "any")
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			if code := c.connect(v311, 0, credentials{}); code != want {
				t.Errorf("connection %d: CONNACK %d, want %d", i+1, code, want)
			}
			if want == 0 {
				c.write([]byte{0xc0, 0})
				c.wantNothing()
			}
			conn.Close()
		}
		b.Close()
		if _, err := l.DialContext(t.Context(), "tcp", "any"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed broker gives %v", err)
		}
	})
}

// The CONNACK of OneByteASecond is complete, and valid, after 105 seconds.
func TestOneByteASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeClient(t, OneByteASecond())
		start := time.Now()
		c.write(connectPacket(v5, 0, credentials{}))
		c.SetReadDeadline(time.Time{})
		p, err := ReadPacket(c.reader)
		if err != nil || len(p.Body) != 106 {
			t.Fatalf("% x, %v", p.Body, err)
		}
		if took := time.Since(start); took != 107*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestServerKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := pipeClient(t, ServerKeepAlive(300))
		c.write(connectPacket(v5, 0, credentials{}))
		c.want([]byte{0x20, 6, 0, 0, 3, 0x13, 1, 44})
	})
}

// What a script reads from a CONNECT.
func TestReadConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type connect struct {
			Level     byte
			KeepAlive time.Duration
			ClientID  string
		}
		got := make(chan connect, 1)
		c := pipeClient(t, func(c *Conn) error {
			err := c.ReadConnect()
			got <- connect{c.Level, c.KeepAlive, c.ClientID}
			return err
		})
		c.write(Frame(0x10, []byte{0, 4, 'M', 'Q', 'T', 'T', 5, 2, 1, 44}, []byte{5, 0x11, 0, 0, 0, 9}, []byte{0, 2, 'i', 'd'}))
		if diff := cmp.Diff(connect{v5, 300 * time.Second, "id"}, <-got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestTopicMatch(t *testing.T) {
	for _, test := range []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true}, {"a/b", "a", false}, {"a", "a/b", false}, {"a/+", "a/b", true}, {"a/+", "a/b/c", false},
		{"+/b", "a/b", true}, {"a/#", "a/b/c", true}, {"a/#", "a", true}, {"#", "a", true}, {"a/#", "b/a", false},
	} {
		if got := matches(test.filter, test.topic); got != test.want {
			t.Errorf("%s matches %s: %t", test.topic, test.filter, got)
		}
	}
}

// pipeClient starts a broker in memory and connects to it.
func pipeClient(t *testing.T, script Script) *client {
	t.Helper()
	l := NewPipeListener()
	StartScriptedBroker(t, script, ScriptedBrokerOptions{Listener: l})
	conn, err := l.DialContext(t.Context(), "tcp", "any")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn)
}

// want reads the next packet, which must be this one.
func (c *client) want(packet []byte) {
	c.t.Helper()
	p := c.read()
	if got := Frame(p.First, p.Body); !bytes.Equal(got, packet) {
		c.t.Fatalf("got % x, want % x", got, packet)
	}
}

// wantNothing checks that nothing comes for an hour of virtual time.
func (c *client) wantNothing() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(time.Hour))
	if b, err := c.reader.ReadByte(); !isTimeout(err) {
		c.t.Errorf("got %#x, %v, want nothing", b, err)
	}
}
