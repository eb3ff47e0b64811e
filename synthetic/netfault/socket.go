package netfault

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
)

// socket is a TCP socket.
type socket struct {
	raw    syscall.RawConn
	family family
	file   *os.File // the fault's own descriptor, if hold made one
}

// family is the address family of a socket. It is ipv6 also for an IPv4 address that is mapped into
// IPv6.
type family int

const (
	other family = iota
	ipv4
	ipv6
)

// tcpSocket returns the TCP socket of c, or an error if c is none.
func tcpSocket(c net.Conn) (*socket, error) {
	if err := platform(); err != nil {
		return nil, err
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a %T is not a socket: pass the TCP connection below it: %w", c, errors.ErrUnsupported)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &socket{raw: raw}
	if err := s.control(func(fd int) (err error) {
		s.family, err = tcpFamily(fd)
		return err
	}); err != nil {
		return nil, err
	}
	if s.family == other {
		return nil, fmt.Errorf("a %s socket that is not plain TCP (unix, or Multipath TCP) supports only mode %s: %w",
			c.LocalAddr().Network(), Silent, errors.ErrUnsupported)
	}
	return s, nil
}

// hold returns the same socket with a descriptor of its own, which keeps the socket open.
func (s *socket) hold() (*socket, error) {
	h := &socket{family: s.family}
	if err := s.control(func(fd int) (err error) {
		h.file, err = duplicate(fd)
		return err
	}); err != nil {
		return nil, err
	}
	var err error
	if h.raw, err = h.file.SyscallConn(); err != nil {
		h.file.Close()
		return nil, err
	}
	return h, nil
}

// control calls f with the descriptor.
func (s *socket) control(f func(fd int) error) (err error) {
	if e := s.raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

func (s *socket) facts() (facts Facts, err error) {
	err = s.control(func(fd int) (err error) {
		facts, err = factsOf(fd)
		return err
	})
	return facts, err
}

// A step changes something about a socket and returns a function that restores it.
type (
	step func(fd int) (undo, error)
	undo func(fd int) error
)

// take applies all steps, or none if one of them fails.
func take(fd int, steps []step) ([]undo, error) {
	var taken []undo
	for _, s := range steps {
		u, err := s(fd)
		if err != nil {
			return nil, errors.Join(err, back(fd, taken))
		}
		taken = append(taken, u)
	}
	return taken, nil
}

// back undoes steps, the last one first.
func back(fd int, taken []undo) error {
	var errs []error
	for _, u := range slices.Backward(taken) {
		errs = append(errs, u(fd))
	}
	return errors.Join(errs...)
}
