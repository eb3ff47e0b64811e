package netfault

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Fault is a fault at one socket, until Heal or Reset, one of which must be called. It holds the socket open by a
// descriptor of its own: that the owner of the connection closes it meanwhile is nothing to the peer and to the proof.
// Several goroutines may use a fault.
type Fault struct {
	mode Mode
	conn net.Conn

	written uint64 // bytes, before the fault
	came    uint32 // segments, before the fault

	mu     sync.Mutex
	socket *socket // nil if silent, healed or reset
	lift   []undo  // the fault itself
	settle []undo  // what came with it
}

// Apply lets the client at the other end of c vanish for the peer. c must be a TCP socket itself, not TLS or websocket
// above one; Silent takes any connection. What was written before must have been acknowledged.
//
// The error matches [os.ErrPermission] when the process lacks a privilege, [errors.ErrUnsupported] when the operating
// system or the connection does not offer the mode, [net.ErrClosed] when c is closed. The socket is then as before.
func Apply(c net.Conn, m Mode) (*Fault, error) {
	f := &Fault{mode: m, conn: c}
	switch m {
	case Silent:
		return f, nil
	case Deaf, Mute:
	default:
		return nil, unknown(m)
	}
	s, err := tcpSocket(c)
	if err != nil {
		return nil, cannot(m, err)
	}
	if s, err = s.hold(); err != nil {
		return nil, cannot(m, err)
	}
	f.socket = s
	if err := s.control(f.apply); err != nil {
		s.file.Close()
		return nil, cannot(m, err)
	}
	return f, nil
}

func (f *Fault) apply(fd int) (err error) {
	if f.settle, err = take(fd, settling()); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, back(fd, f.lift), back(fd, f.settle))
		}
	}()
	before, err := factsOf(fd)
	if err != nil {
		return err
	}
	if f.lift, err = take(fd, faulting(f.mode, f.socket.family)); err != nil {
		return err
	}
	after, err := factsOf(fd)
	if err != nil {
		return err
	}
	// Segments that came before the filter was there do not count against it.
	f.written, f.came = before.written(), after.SegmentsReceived
	return nil
}

// Mode returns the mode of the fault.
func (f *Fault) Mode() Mode { return f.mode }

// Facts reads the facts of the socket, also after the owner of the connection has closed it, but not after Heal or Reset.
func (f *Fault) Facts() (Facts, error) {
	if f.mode == Silent {
		return ReadFacts(f.conn)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.socket == nil {
		return Facts{}, cannot(f.mode, errors.New("the fault is over"))
	}
	facts, err := f.socket.facts()
	if err != nil {
		err = cannot(f.mode, err)
	}
	return facts, err
}

// Held tells whether the fault has been in effect from Apply until now: nil, or an error that matches [ErrIneffective]
// and says what passed, or another when it cannot be told. Call it at the end of a run, before Heal or Reset. A mute
// socket must have written something for it, as for Verify: nobody hears a client that says nothing. Silence always
// holds.
func (f *Fault) Held() error {
	if f.mode == Silent {
		return nil
	}
	facts, err := f.Facts()
	if err != nil {
		return err
	}
	if f.mode == Deaf {
		err = f.passed(facts)
	} else if done, e := f.judge(facts); e != nil {
		err = e
	} else if !done {
		err = unproven(facts)
	}
	if err != nil {
		return cannot(f.mode, err)
	}
	return nil
}

// passed tells what passed that should not have.
func (f *Fault) passed(now Facts) error {
	switch {
	case now.BytesAcked > f.written:
		return fmt.Errorf("%w: the peer acknowledged %d bytes that were sent after it", ErrIneffective, now.BytesAcked-f.written)
	case f.mode == Deaf && now.SegmentsReceived != f.came:
		return fmt.Errorf("%w: %d segments came in", ErrIneffective, now.SegmentsReceived-f.came)
	case f.mode == Deaf && now.State == Closed:
		return fmt.Errorf("%w: our kernel gave the connection up, and answers the peer with RST", ErrIneffective)
	}
	return nil
}

// Heal undoes the fault and all that came with it, and lets go of the socket: the connection goes on, after the next
// retransmission of either side. If its owner has closed it meanwhile, that close takes effect now. Healing twice is no
// error, nor is healing after Reset.
func (f *Fault) Heal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release(f.lift, f.settle)
}

// Reset closes the connection by a RST that reaches the peer, also through the fault: neither side keeps anything. Layers
// above, such as TLS, are to be closed after it: what they say at their close then goes nowhere. Resetting twice is no
// error, nor is it to reset what was healed or is closed.
func (f *Fault) Reset() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	if l, ok := f.conn.(interface{ SetLinger(int) error }); ok {
		errs = append(errs, l.SetLinger(0))
	}
	errs = append(errs, f.conn.Close())
	if f.mode == Mute {
		errs = append(errs, f.release(f.lift))
	} else {
		errs = append(errs, f.release()) // the filter lets a RST out, and nothing in until then
	}
	for i, err := range errs {
		if errors.Is(err, net.ErrClosed) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// release takes steps back and lets go of the socket, which closes it if nobody else holds it; f.mu is held.
func (f *Fault) release(steps ...[]undo) error {
	if f.socket == nil {
		return nil
	}
	err := f.socket.control(func(fd int) error {
		var errs []error
		for _, s := range steps {
			errs = append(errs, back(fd, s))
		}
		return errors.Join(errs...)
	})
	err = errors.Join(err, f.socket.file.Close())
	f.socket = nil
	if err != nil {
		return fmt.Errorf("ending mode %s: %w", f.mode, err)
	}
	return nil
}
