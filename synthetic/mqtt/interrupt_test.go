package mqtt

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestInterrupt calls Interrupt at different moments. It must never get lost, and later reads must
// work.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{Keepalive: 10 * time.Second}, healthy(connack5))
		next := func(until time.Duration, want EventKind, after time.Duration) {
			t.Helper()
			start := time.Now()
			e, err := s.Next(start.Add(until))
			if err != nil || e.Kind != want || time.Since(start) != after {
				t.Errorf("got %+v, %v after %s, want kind %d after %s", e, err, time.Since(start), want, after)
			}
		}
		s.Interrupt() // before Next
		next(time.Second, Interrupted, 0)
		next(time.Second, Due, time.Second)
		time.AfterFunc(500*time.Millisecond, s.Interrupt) // in Read
		next(time.Second, Interrupted, 500*time.Millisecond)
		next(time.Second, Due, time.Second)
		s.Interrupt() // two calls make one event
		s.Interrupt()
		next(time.Second, Interrupted, 0)
		next(time.Second, Due, time.Second)
		p.send(publish("t", 0, 0, "")) // a message and an interrupt
		synctest.Wait()
		s.Interrupt()
		next(time.Second, Interrupted, 0)
		next(time.Second, Delivery, 0)
		next(4*time.Second, Due, 4*time.Second)
		next(10*time.Second, Pong, 2500*time.Millisecond) // 10 s after CONNECT
	})
}

// TestInterruptWithoutEnd interrupts a wait without a time limit.
func TestInterruptWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := pipe(t, Options{}, healthy(connack5))
		for range 3 {
			time.AfterFunc(time.Hour, s.Interrupt)
			start := time.Now()
			e, err := s.Next(time.Time{})
			if err != nil || e.Kind != Interrupted || time.Since(start) != time.Hour {
				t.Errorf("got %+v, %v after %s", e, err, time.Since(start))
			}
		}
	})
}

// slowInterrupt delays the deadline in the past that Interrupt sets, until the owner reads again.
type slowInterrupt struct {
	net.Conn
	reads atomic.Int64
}

func (c *slowInterrupt) SetReadDeadline(t time.Time) error {
	if t.Equal(past) {
		time.Sleep(time.Second)
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *slowInterrupt) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.Conn.Read(p)
}

// TestInterruptComesLate lets the deadline that Interrupt sets arrive in the middle of a later
// read. That read must continue.
func TestInterruptComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow *slowInterrupt
		s, _ := pipe(t, Options{Keepalive: 3 * time.Second}, func(r received) []byte {
			if r.kind() == PINGREQ {
				time.Sleep(1900 * time.Millisecond)
			}
			return healthy(connack5)(r)
		}, func(c net.Conn) net.Conn { slow = &slowInterrupt{Conn: c}; return slow })
		go s.Interrupt()
		synctest.Wait()
		start := time.Now()
		if e, err := s.Next(start.Add(2 * time.Second)); err != nil || e.Kind != Interrupted {
			t.Fatalf("%+v, %v", e, err)
		}
		before := slow.reads.Load()
		e, err := s.Next(start.Add(10 * time.Second))
		if err != nil || e.Kind != Pong || time.Since(start) != 4900*time.Millisecond {
			t.Errorf("got %+v, %v after %s, want the Pong after 4.9 s", e, err, time.Since(start))
		}
		if n := slow.reads.Load() - before; n > 5 {
			t.Errorf("one wait took %d reads", n)
		}
	})
}

// hastyInterrupt interrupts immediately before a deadline is set, which then overwrites the
// deadline of Interrupt.
type hastyInterrupt struct {
	net.Conn
	s *Session
}

func (c *hastyInterrupt) SetReadDeadline(t time.Time) error {
	if c.s != nil && !t.Equal(past) {
		s := c.s
		c.s = nil
		s.Interrupt()
	}
	return c.Conn.SetReadDeadline(t)
}

// TestInterruptIsOverwritten interrupts between Next's check of the flag and its read.
func TestInterruptIsOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hasty *hastyInterrupt
		s, _ := pipe(t, Options{}, healthy(connack5), func(c net.Conn) net.Conn { hasty = &hastyInterrupt{Conn: c}; return hasty })
		hasty.s = s
		start := time.Now()
		if e, err := s.Next(start.Add(time.Hour)); err != nil || e.Kind != Interrupted || time.Since(start) != 0 {
			t.Errorf("%+v, %v after %s, want Interrupted at once", e, err, time.Since(start))
		}
		if e, err := s.Next(start.Add(time.Hour)); err != nil || e.Kind != Due || time.Since(start) != time.Hour {
			t.Errorf("%+v, %v after %s, want Due", e, err, time.Since(start))
		}
	})
}

// TestInterruptRace interrupts from other goroutines as often as possible, over every kind of
// stream.
func TestInterruptRace(t *testing.T) {
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			s := dial(t, serve(t, scheme, healthy(connack5)))
			var calls, seen atomic.Int64
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							s.Interrupt()
							calls.Add(1)
							time.Sleep(10 * time.Microsecond)
						}
					}
				})
			}
			pongs := 0
			for pongs < 100 {
				if err := s.Ping(); err != nil {
					t.Fatal(err)
				}
				for answered := false; !answered; {
					e, err := s.Next(time.Time{})
					if err != nil {
						t.Fatal(err)
					}
					switch e.Kind {
					case Pong:
						answered = true
						pongs++
					case Interrupted:
						seen.Add(1)
					}
				}
			}
			close(stop)
			wg.Wait()
			s.Interrupt()
			if e, err := s.Next(time.Time{}); err != nil || e.Kind != Interrupted {
				t.Errorf("the last interrupt is lost: %+v, %v", e, err)
			}
			if seen.Load() == 0 || seen.Load() > calls.Load() {
				t.Errorf("%d interrupts seen of %d", seen.Load(), calls.Load())
			}
		})
	}
}
