package demo

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
)

// relayed runs a relay between two in-memory connections. It returns their far ends and a channel
// that is closed when the relay ends.
func relayed(t *testing.T, r *relay) (client, server net.Conn, through <-chan struct{}) {
	t.Helper()
	client, near := net.Pipe()
	far, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.pass(near, far)
	}()
	t.Cleanup(func() {
		client.Close()
		server.Close()
		<-done
	})
	return client, server, done
}

// say sends a word and expects it at the other end.
func say(t *testing.T, from, to net.Conn, word string) {
	t.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(from, word)
		sent <- err
	}()
	got := make([]byte, len(word))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != word {
		t.Fatalf("passed on %q and %v, want %q", got, err, word)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

func expectEOF(t *testing.T, name string, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%s read %d bytes and %v, want EOF", name, n, err)
	}
}

// A connection lives while either side sends often enough. If neither does, both sides are closed.
func TestRelayCutsWhatIdles(t *testing.T) {
	const limit = 20 * time.Second
	for name, talk := range map[string]func(t *testing.T, client, server net.Conn){
		"silent":     func(*testing.T, net.Conn, net.Conn) {},
		"the client": func(t *testing.T, client, server net.Conn) { say(t, client, server, "ping") },
		"the server": func(t *testing.T, client, server net.Conn) { say(t, server, client, "message") },
		"both of them": func(t *testing.T, client, server net.Conn) {
			say(t, client, server, "ping")
			say(t, server, client, "pong")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, through := relayed(t, &relay{limit: limit})
				last := time.Now()
				if name != "silent" {
					for range 30 {
						time.Sleep(limit - time.Millisecond)
						talk(t, client, server)
						last = time.Now()
					}
				}
				expectEOF(t, "the client", client)
				expectEOF(t, "the server", server)
				<-through
				if got := time.Since(last); got != limit {
					t.Errorf("cut after %v idle, want %v", got, limit)
				}
			})
		})
	}
}

// When one side ends, the other is ended at once.
func TestRelayPassesEndsOn(t *testing.T) {
	for _, side := range []string{"client", "server"} {
		t.Run(side, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server, through := relayed(t, &relay{limit: time.Hour})
				say(t, client, server, "hello")
				ends, hears := client, server
				if side == "server" {
					ends, hears = server, client
				}
				start := time.Now()
				ends.Close()
				expectEOF(t, "the other side", hears)
				hears.Close()
				<-through
				if got := time.Since(start); got != 0 {
					t.Errorf("passed on after %v", got)
				}
			})
		})
	}
}

func TestBalancerOverTCP(t *testing.T) {
	cutting := startDemo(t, Options{CutAfter: 100 * time.Millisecond}).find(t, "balancer")
	raw{t, cutting.dialFirst(t)}.receiveEnd() // a FIN, no RST

	patient := startDemo(t, Options{CutAfter: time.Hour})
	balancer := patient.find(t, "balancer")
	c := newRaw(t, balancer.dialFirst(t), "b")
	subscribe(c, 1, 1)
	balancer.dialFirst(t) // sends nothing, and must not delay Close
	if err := patient.Close(); err != nil {
		t.Fatal(err)
	}
	expectCode(c, "DISCONNECT", receive[v5.Disconnect](c).ReasonCode, 0x8B)
	c.receiveEnd()
}
