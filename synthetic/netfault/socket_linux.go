package netfault

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pingreq/pingreq/synthetic/internal/tcpinfo"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// patience is how long a socket with a fault retransmits. It is longer than any run, because a
// kernel that gives up answers the peer with RST.
const patience = 24 * time.Hour

func platform() error { return nil }

func tcpFamily(fd int) (family, error) {
	domain, err := get(fd, option{"SO_DOMAIN", unix.SOL_SOCKET, unix.SO_DOMAIN})
	if err != nil {
		return other, err
	}
	protocol, err := get(fd, option{"SO_PROTOCOL", unix.SOL_SOCKET, unix.SO_PROTOCOL})
	switch {
	case err != nil || protocol != unix.IPPROTO_TCP: // 0 for unix sockets, or Multipath TCP's
		return other, err
	case domain == unix.AF_INET:
		return ipv4, nil
	case domain == unix.AF_INET6:
		return ipv6, nil
	}
	return other, nil
}

func duplicate(fd int) (*os.File, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return os.NewFile(uintptr(own), "socket"), nil
}

func factsOf(fd int) (Facts, error) {
	info, err := tcpinfo.Read(fd)
	for err == nil {
		pending, e := unix.IoctlGetInt(fd, unix.TIOCOUTQ) // the same number as SIOCOUTQ
		if e != nil {
			return Facts{}, os.NewSyscallError("SIOCOUTQ", e)
		}
		acked := info.BytesAcked
		if info, err = tcpinfo.Read(fd); err != nil || info.BytesAcked != acked {
			continue // an acknowledgement came in between, so the two values do not match
		}
		return Facts{
			State: State(info.State), RTT: info.RTT, MinRTT: info.MinRTT, RTO: info.RTO,
			Unacked: info.Unacked, Pending: uint64(pending), Retransmits: info.Retransmits, Backoff: info.Backoff,
			BytesAcked: info.BytesAcked, BytesReceived: info.BytesReceived, SegmentsReceived: info.SegmentsReceived,
			LastAckReceived: info.LastAckReceived,
		}, nil
	}
	return Facts{}, err
}

// settling returns the steps that every fault needs: only the owner may end the connection, and the
// owner's close must end it completely.
func settling() []step {
	return []step{
		set(option{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE}, 0),
		set(option{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT}, int(patience/time.Millisecond)),
		abort,
	}
}

// faulting returns the steps of the fault itself.
func faulting(m Mode, f family) []step {
	ttl := set(option{"IP_TTL", unix.IPPROTO_IP, unix.IP_TTL}, 1)
	switch {
	case m == Deaf:
		return []step{deafen}
	case f == ipv6: // the peer may have an IPv4 address
		return []step{set(option{"IPV6_UNICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, 1), ttl}
	}
	return []step{ttl}
}

// option is a socket option whose value is a number.
type option struct {
	name       string
	level, opt int
}

func get(fd int, o option) (int, error) {
	v, err := unix.GetsockoptInt(fd, o.level, o.opt)
	return v, os.NewSyscallError(o.name, err)
}

func set(o option, value int) step {
	return func(fd int) (undo, error) {
		old, err := get(fd, o)
		if err != nil {
			return nil, err
		}
		put := func(fd, v int) error { return os.NewSyscallError(o.name, unix.SetsockoptInt(fd, o.level, o.opt, v)) }
		return func(fd int) error { return put(fd, old) }, put(fd, value)
	}
}

// abort makes every close of the socket send a RST and leave nothing behind.
func abort(fd int) (undo, error) {
	const name = "SO_LINGER"
	old, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	if err != nil {
		return nil, os.NewSyscallError(name, err)
	}
	put := func(fd int, l *unix.Linger) error {
		return os.NewSyscallError(name, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, l))
	}
	return func(fd int) error { return put(fd, old) }, put(fd, &unix.Linger{Onoff: 1})
}

// deafen attaches a filter that accepts no segment.
func deafen(fd int) (undo, error) {
	program, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	err = os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf(`%w: this kernel requires CAP_NET_ADMIN ("tcp: restrict SO_ATTACH_FILTER to priv users"); `+
			"give the process that capability, for example with AmbientCapabilities=CAP_NET_ADMIN in a systemd unit, or use mode %s or %s",
			err, Mute, Silent)
	}
	return undeafen, err
}

func undeafen(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	if errors.Is(err, unix.ENOENT) { // somebody else has detached it
		return nil
	}
	return os.NewSyscallError("SO_DETACH_FILTER", err)
}

// supported attaches the filter to a socket that is not connected.
func supported(m Mode) error {
	if m != Deaf {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	_, err = deafen(fd)
	return err
}
