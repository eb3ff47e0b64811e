package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// victimOf is the variable that makes the test binary connect to an address, become deaf and wait
// to be killed.
const victimOf = "PINGREQ_TEST_VICTIM_OF"

func victim(address string) {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		_, err = Apply(conn, Deaf)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("deaf on", conn.LocalAddr())
	_, _ = conn.Read(make([]byte, 1)) // which never ends
}

// limit is the longest time that a test waits for anything.
const limit = time.Minute

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
		<-poll.C
	}
}

// dialing opens connections, in this network namespace or another.
type dialing func(ctx context.Context, network, address string) (net.Conn, error)

// connect makes a connection over TCP or a unix socket. One word has passed in each direction and
// been acknowledged.
func connect(t testing.TB, dial dialing, l net.Listener) (dialled, accepted net.Conn) {
	t.Helper()
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	dialled, err := dial(t.Context(), l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	pass(t, dialled, accepted, "hello")
	pass(t, accepted, dialled, "welcome")
	if l.Addr().Network() == "tcp" {
		for _, c := range []net.Conn{dialled, accepted} {
			eventually(t, "everything is acknowledged", func() bool {
				f, err := ReadFacts(c)
				return errors.Is(err, errors.ErrUnsupported) || err == nil && f.Pending == 0
			})
		}
	}
	return dialled, accepted
}

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func write(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// read reads exactly text.
func read(t testing.TB, c net.Conn, text string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(limit))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

// readError reads until an error comes. No data may come before it.
func readError(t testing.TB, c net.Conn) error {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(limit))
	n, err := c.Read(make([]byte, 100))
	if n > 0 {
		t.Errorf("%d bytes came", n)
	}
	return err
}

func pass(t testing.TB, from, to net.Conn, text string) {
	t.Helper()
	write(t, from, text)
	read(t, to, text)
}

// says checks that an error matches another, if match is not nil, and contains a text.
func says(t testing.TB, err, match error, text string) {
	t.Helper()
	if err == nil || match != nil && !errors.Is(err, match) || !strings.Contains(err.Error(), text) {
		t.Errorf("the error is %v, want one that matches %v and says %q", err, match, text)
	}
}

// Mode silent needs nothing. It works everywhere and with every connection.
func TestSilent(t *testing.T) {
	t.Parallel()
	if err := Supported(Silent); err != nil {
		t.Error(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			ours, peer := connect(t, nil, listen(t, network, address))
			f, err := Apply(ours, Silent)
			if err != nil {
				t.Fatal(err)
			}
			if f.Mode() != Silent {
				t.Errorf("the mode is %s", f.Mode())
			}
			pass(t, peer, ours, "are you there?")
			if err := errors.Join(f.Verify(t.Context()), f.Held(), f.Heal(), f.Heal()); err != nil {
				t.Error(err)
			}
			pass(t, ours, peer, "still here")
			if err := errors.Join(f.Reset(), f.Reset(), f.Heal()); err != nil {
				t.Error(err)
			}
			if err := readError(t, peer); network == "unix" && err != io.EOF || err == nil {
				t.Errorf("after Reset the peer's read returned %v", err)
			}
		})
	}
}

func TestUnknownMode(t *testing.T) {
	t.Parallel()
	const want = `unknown half-open mode "auto": use deaf, mute or silent`
	_, err := Apply(nil, "auto")
	for _, err := range []error{err, Supported("auto")} {
		if err == nil || err.Error() != want {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	for s, want := range map[State]string{
		Established: "ESTABLISHED", FinWait1: "FIN_WAIT1", Closed: "CLOSE", CloseWait: "CLOSE_WAIT", Closing: "CLOSING",
		0: "state 0", 12: "state 12",
	} {
		if got := s.String(); got != want {
			t.Errorf("state %d is %s, want %s", s, got, want)
		}
	}
}

// Verify and Held for different facts of the kernel.
func TestJudge(t *testing.T) {
	t.Parallel()
	const written, came = 100, 7
	for _, test := range []struct {
		name      string
		facts     Facts
		done      bool   // the fault is proven
		mute      string // the error in both modes, "" if there is none yet
		deaf      string // the error in mode deaf, if it differs
		effective bool   // the error is not ErrIneffective
	}{
		{name: "sent again twice", facts: Facts{State: Established, BytesAcked: 100, Pending: 2, Retransmits: 2}, done: true},
		{name: "sent again once", facts: Facts{State: Established, BytesAcked: 100, Pending: 2, Retransmits: 1}},
		{name: "peer's FIN came", facts: Facts{State: CloseWait, BytesAcked: 100, Pending: 2, Retransmits: 2}, done: true},
		{name: "peer's RST came after the proof", facts: Facts{State: Closed, BytesAcked: 100, Pending: 2, Retransmits: 2},
			done: true, deaf: "our kernel gave up the connection"},
		{name: "peer's RST came before the proof", facts: Facts{State: Closed, BytesAcked: 100, Pending: 2, Retransmits: 1},
			mute: "ended before", deaf: "our kernel gave up the connection", effective: true},
		{name: "nothing written", facts: Facts{State: Established, BytesAcked: 100}, mute: "nothing was written", effective: true},
		{name: "older bytes sent again", facts: Facts{State: Established, BytesAcked: 98, Pending: 4, Retransmits: 5}},
		{name: "acknowledged", facts: Facts{State: Established, BytesAcked: 102}, mute: "acknowledged 2 bytes"},
		{name: "part acknowledged", facts: Facts{State: Established, BytesAcked: 101, Pending: 1, Retransmits: 9}, mute: "acknowledged 1 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, mode := range []Mode{Mute, Deaf} {
				f := &Fault{mode: mode, written: written, came: came}
				facts, want, wantDone, ineffective := test.facts, test.mute, test.done, !test.effective
				facts.SegmentsReceived = came
				if mode == Deaf && test.deaf != "" {
					want, wantDone, ineffective = test.deaf, false, true
				}
				done, err := f.judge(facts)
				switch {
				case done != wantDone:
					t.Errorf("%s: done %t, want %t", mode, done, wantDone)
				case want == "" && err != nil:
					t.Errorf("%s: %v", mode, err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrIneffective) != ineffective):
					t.Errorf("%s: the error is %v, want one with %q, ineffective %t", mode, err, want, ineffective)
				}

				// A segment that comes in disproves mode deaf and means nothing in mode mute.
				facts.SegmentsReceived++
				if _, again := f.judge(facts); mode == Mute && fmt.Sprint(again) != fmt.Sprint(err) {
					t.Errorf("mode mute, a segment came: %v, want %v", again, err)
				} else if mode == Deaf && !errors.Is(again, ErrIneffective) {
					t.Errorf("mode deaf, a segment came: %v", again)
				}
			}
		})
	}
}
