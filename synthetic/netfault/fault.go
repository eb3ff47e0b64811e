package netfault

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Fault is a fault of one socket. It lasts until Heal or Reset; one of them must be called. The
// fault holds the socket open with a descriptor of its own, so that a close by the connection's
// owner affects neither the peer nor the proof. Several goroutines may use a fault.
type Fault struct {
	mode Mode
	conn net.Conn

	written uint64 // bytes written before the fault
	came    uint32 // segments received before the fault

	mu     sync.Mutex
	socket *socket // nil if the mode is silent, or after Heal or Reset
	lift   []undo  // undo the fault itself
	settle []undo  // undo the other options that Apply changed
}

// Apply makes our end of c look to the peer like a client that vanished. c must be a TCP socket
// itself, not TLS or a websocket above one. Silent accepts any connection. What was written before
// must have been acknowledged.
//
// The error matches [os.ErrPermission] if the process lacks a privilege, [errors.ErrUnsupported] if
// the operating system or the connection does not offer the mode, and [net.ErrClosed] if c is
// closed. The socket is then unchanged.
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
	// Segments that came before the filter was attached do not count.
	f.written, f.came = before.written(), after.SegmentsReceived
	return nil
}

// Mode returns the mode of the fault.
func (f *Fault) Mode() Mode { return f.mode }

// Facts reads the facts of the socket. It also works after the owner has closed the connection, but
// not after Heal or Reset.
func (f *Fault) Facts() (Facts, error) {
	if f.mode == Silent {
		return ReadFacts(f.conn)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.socket == nil {
		return Facts{}, cannot(f.mode, errors.New("the fault has ended"))
	}
	facts, err := f.socket.facts()
	if err != nil {
		err = cannot(f.mode, err)
	}
	return facts, err
}

// Held returns nil if the fault has been in effect from Apply until now. If it was not, the error
// matches [ErrIneffective] and says what passed. Another error means that the result is not known.
// Call Held at the end of a run, before Heal or Reset. As with Verify, a mute client must have
// written something, because a fault that stops nothing cannot be proven. Silent is always in
// effect.
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

// passed returns an error if something passed that should not have passed.
func (f *Fault) passed(now Facts) error {
	switch {
	case now.BytesAcked > f.written:
		return fmt.Errorf("%w: the peer acknowledged %d bytes that were sent after it", ErrIneffective, now.BytesAcked-f.written)
	case f.mode == Deaf && now.SegmentsReceived != f.came:
		return fmt.Errorf("%w: %d segments came in", ErrIneffective, now.SegmentsReceived-f.came)
	case f.mode == Deaf && now.State == Closed:
		return fmt.Errorf("%w: our kernel gave up the connection and answers the peer with RST", ErrIneffective)
	}
	return nil
}

// Heal undoes the fault and everything else that Apply changed, and closes the fault's own
// descriptor. The connection continues after the next retransmission of either side. If its owner
// has closed it meanwhile, that close takes effect now. A second Heal, or a Heal after Reset, does
// nothing and is no error.
func (f *Fault) Heal() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.release(f.lift, f.settle)
}

// Reset closes the connection with a RST that reaches the peer in spite of the fault, so that
// neither side keeps anything. Close the layers above, such as TLS, after Reset. What they then
// send at their close does not reach the peer. A second Reset, or a Reset of a healed or closed
// connection, is no error.
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
		errs = append(errs, f.release()) // the filter lets the RST out, and nothing in before
	}
	for i, err := range errs {
		if errors.Is(err, net.ErrClosed) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// release undoes steps and closes the fault's descriptor. That closes the socket if nobody else
// holds it. The caller holds f.mu.
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
