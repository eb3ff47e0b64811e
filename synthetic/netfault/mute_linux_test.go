package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// On loopback no router counts the hops. What a mute socket sends arrives, and we must notice that.
func TestMuteOnLoopback(t *testing.T) {
	t.Parallel()
	loopbacks(t, func(t *testing.T, l net.Listener) {
		ours, peer := connect(t, nil, l)
		f, err := Apply(ours, Mute)
		if err != nil {
			t.Fatal(err)
		}
		for name, check := range map[string]func() error{
			"Verify": func() error { return f.Verify(t.Context()) }, "Held": f.Held,
		} {
			if err := check(); err == nil || errors.Is(err, ErrIneffective) || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("%s before anything was written: %v", name, err)
			}
		}
		pass(t, ours, peer, "can you hear me?")
		says(t, f.Verify(t.Context()), ErrIneffective, "the peer acknowledged 16 bytes")
		says(t, f.Held(), ErrIneffective, "the peer acknowledged 16 bytes")
	})
}

// way is how client and broker are connected.
type way struct {
	name string
	to   netip.Addr // of the broker or, if reverse, the client
	// reverse makes the broker connect to the client. The client's socket then serves both versions
	// of IP.
	reverse bool
}

func (r routed) ways() []way {
	ways := []way{{"IPv4", r.broker4, false}}
	if r.broker6.IsValid() {
		ways = append(ways, way{"IPv6", r.broker6, false}, way{"IPv4 mapped into IPv6", r.client4, true})
	}
	return ways
}

// connect makes a connection between client and broker. The client's socket is ours.
func (r routed) connect(t testing.TB, w way) (ours, peer net.Conn) {
	t.Helper()
	if !w.reverse {
		return connect(t, r.Client.DialContext, listenIn(t, r.Broker, netip.AddrPortFrom(w.to, 0).String()))
	}
	l := listenIn(t, r.Client, "[::]:0")
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return r.Broker.DialContext(ctx, network, net.JoinHostPort(w.to.String(), port))
	}
	peer, ours = connect(t, dial, l)
	return ours, peer
}

// Behind a router, nothing that a mute socket sends arrives, but it receives what the peer sends.
// It needs no privilege.
func TestMute(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	for _, w := range r.ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			ours, peer := r.connect(t, w)
			before, old := facts(t, peer), settingsOf(t, ours)
			var f *Fault
			unprivileged(t, r.Client.Do, func() {
				var err error
				if f, err = Apply(ours, Mute); err != nil {
					t.Error(err)
					return
				}
				_, err = ours.Write([]byte("can you hear me?"))
				if err := errors.Join(err, f.Verify(t.Context())); err != nil {
					t.Error(err)
				}
			})
			if t.Failed() {
				t.FailNow()
			}
			want := settings{UserTimeout: 24 * 60 * 60 * 1000, TTL: 1, Hops: old.Hops}
			if want.Hops != -1 {
				want.Hops = 1
			}
			if diff := cmp.Diff(want, settingsOf(t, ours)); diff != "" {
				t.Errorf("options of a mute socket (-want +got):\n%s", diff)
			}

			pass(t, peer, ours, "anybody there?")
			peer.(*net.TCPConn).CloseWrite()
			if err := readError(t, ours); err != io.EOF {
				t.Errorf("after the peer's FIN a read returned %v", err)
			}
			if s := facts(t, ours).State; s != CloseWait {
				t.Errorf("we are in %s, want CLOSE_WAIT", s)
			}
			unheard(t, peer)
			now := facts(t, peer)
			if now.State != FinWait1 || now.BytesReceived != before.BytesReceived || now.SegmentsReceived != before.SegmentsReceived {
				t.Errorf("something arrived at the peer: before %+v, then %+v", before, now)
			}
			if err := f.Held(); err != nil {
				t.Error(err)
			}

			for range 2 {
				if err := f.Heal(); err != nil {
					t.Fatal(err)
				}
			}
			read(t, peer, "can you hear me?")
			eventually(t, "the peer's FIN is acknowledged", func() bool { return facts(t, peer).State == FinWait2 })
			if diff := cmp.Diff(old, settingsOf(t, ours)); diff != "" {
				t.Errorf("healing did not restore the options (-before +after):\n%s", diff)
			}
		})
	}
}

// Whichever way a mute socket ends, neither side keeps anything, even if what it wrote never
// arrived.
func TestMuteCloses(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	for _, w := range r.ways() {
		for name, close := range map[string]func(f *Fault, c net.Conn) error{
			"Reset":        func(f *Fault, c net.Conn) error { return errors.Join(f.Reset(), f.Reset(), f.Heal()) },
			"Close, Reset": func(f *Fault, c net.Conn) error { return errors.Join(c.Close(), f.Reset()) },
			"Heal, Reset":  func(f *Fault, c net.Conn) error { return errors.Join(f.Heal(), f.Reset()) },
		} {
			for _, said := range []string{"nothing", "data", "FIN"} {
				t.Run(w.name+" "+name+" after the peer said "+said, func(t *testing.T) {
					t.Parallel()
					ours, peer := r.connect(t, w)
					from, to := ours.LocalAddr(), peer.LocalAddr()
					f, err := Apply(ours, Mute)
					if err != nil {
						t.Fatal(err)
					}
					write(t, ours, "can you hear me?")
					switch said {
					case "data":
						pass(t, peer, ours, "anybody there?")
					case "FIN":
						peer.(*net.TCPConn).CloseWrite()
						if err := readError(t, ours); err != io.EOF {
							t.Fatal(err)
						}
					}
					before := states(t, r.Client, from, to)
					if err := close(f, ours); err != nil {
						t.Error(err)
					}
					// A process that another test forks now keeps our socket open, as it was, until its exec.
					eventually(t, "our socket is gone", func() bool {
						left := states(t, r.Client, from, to)
						if len(left) > 0 && !slices.Equal(left, before) {
							t.Fatalf("the kernel still has our socket: %v", left)
						}
						return len(left) == 0
					})
					peer.SetReadDeadline(time.Now().Add(limit))
					// What was written may still arrive if its retransmission is due just now.
					if _, err := io.Copy(io.Discard, peer); !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the peer's read returned %v, want a reset", err)
					}
					if left := states(t, r.Broker, to, from); len(left) > 0 {
						t.Errorf("the kernel still has the peer's socket: %v", left)
					}
				})
			}
		}
	}
}

// The session above closes its connection as soon as it reads the peer's FIN. The peer learns
// nothing of that, and the proof is not lost.
func TestMuteIsHeldOpen(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	ours, peer := r.connect(t, r.ways()[0])
	f, err := Apply(ours, Mute)
	if err != nil {
		t.Fatal(err)
	}
	write(t, ours, "can you hear me?")
	peer.(*net.TCPConn).CloseWrite()
	if err := readError(t, ours); err != io.EOF {
		t.Fatal(err)
	}
	ours.Close()
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	unheard(t, peer)
	if now, err := f.Facts(); err != nil || now.State != CloseWait {
		t.Errorf("we are in %s, %v; want CLOSE_WAIT", now.State, err)
	}
	if err := f.Held(); err != nil {
		t.Error(err)
	}
	if s := facts(t, peer).State; s != FinWait1 {
		t.Errorf("the peer is in %s, want FIN_WAIT1", s)
	}
	if err := f.Heal(); err != nil {
		t.Error(err)
	}
	read(t, peer, "can you hear me?")
	if err := readError(t, peer); err != io.EOF {
		t.Errorf("after Heal and our close, the peer's read returned %v", err)
	}
}

// The peer's RST ends a mute connection. The fault was in effect nevertheless.
func TestMuteAndReset(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	ours, peer := r.connect(t, r.ways()[0])
	f, err := Apply(ours, Mute)
	if err != nil {
		t.Fatal(err)
	}
	write(t, ours, "can you hear me?")
	if err := f.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
	if err := readError(t, ours); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after the peer's RST a read returned %v", err)
	}
	if s := facts(t, ours).State; s != Closed {
		t.Errorf("we are in %s, want CLOSE", s)
	}
	if err := f.Held(); err != nil {
		t.Error(err)
	}
}

// Held returns an error for a fault that is not proven at the end.
func TestMuteUnproven(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	ours, _ := r.connect(t, r.ways()[0])
	f, err := Apply(ours, Mute)
	if err != nil {
		t.Fatal(err)
	}
	write(t, ours, "can you hear me?")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(os.ErrProcessDone)
	says(t, f.Verify(ctx), os.ErrProcessDone, "mode mute: ")
	eventually(t, "the fault is proven", func() bool {
		err := f.Held()
		if err != nil {
			says(t, err, ErrIneffective, "that can be proven: 16 bytes are unacknowledged")
		}
		return err == nil
	})
	if err := f.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
