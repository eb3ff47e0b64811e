package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// captureBuffer is large enough for the packets that arrive while this process waits for a
// processor.
const captureBuffer = 16 << 20

// open starts the capture through a packet socket.
func (c *Capture) open(o CaptureOptions) {
	c.t.Helper()
	var fd int
	var err error
	open := func() { fd, err = openPacketSocket(o) }
	if o.Namespace != nil {
		o.Namespace.Do(open)
	} else {
		open()
	}
	if errors.Is(err, unix.EPERM) {
		unavailable(c.t, "packet captures need CAP_NET_RAW; run the test as root")
	}
	if err != nil {
		c.t.Fatalf("packet capture on %s: %v", o.Interface, err)
	}
	// The file registers the non-blocking descriptor with the runtime's poller.
	file := os.NewFile(uintptr(fd), "packet socket")
	raw, err := file.SyscallConn()
	if err != nil {
		c.t.Fatal(err)
	}

	buffer := make([]byte, 1<<17)
	readErr := make(chan error, 1)
	go func() {
		var failed error
		err := raw.Read(func(fd uintptr) (done bool) {
			failed = c.drain(int(fd), buffer)
			return failed != nil // otherwise wait for more
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil // by stop
		}
		readErr <- errors.Join(err, failed)
	}()
	c.stop = func() (drops uint32, err error) {
		defer file.Close()
		if err := file.SetReadDeadline(time.Now()); err != nil {
			return 0, err
		}
		if err := <-readErr; err != nil {
			return 0, err
		}
		controlErr := raw.Control(func(fd uintptr) {
			if err = c.drain(int(fd), buffer); err != nil {
				return
			}
			var stats *unix.TpacketStats
			if stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				drops = stats.Drops
			}
		})
		return drops, errors.Join(controlErr, err)
	}
}

func openPacketSocket(o CaptureOptions) (fd int, err error) {
	iface, err := net.InterfaceByName(o.Interface)
	if err != nil {
		return -1, err
	}
	// Protocol 0: nothing is received before the filter is set and the socket is bound.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	filter, err := portFilter(o.Port)
	if err != nil {
		return -1, err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return -1, os.NewSyscallError("SO_ATTACH_FILTER", err)
	}
	type option struct {
		name                 string
		level, option, value int
	}
	options := []option{
		{"SO_RCVBUFFORCE", unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer},
		{"SO_TIMESTAMPNS", unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1},
	}
	if iface.Flags&net.FlagLoopback != 0 {
		options = append(options, option{"PACKET_IGNORE_OUTGOING", unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1})
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return -1, os.NewSyscallError(o.name, err)
		}
	}
	everything := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: iface.Index}); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// portFilter accepts TCP segments from or to a port, so that other tests' traffic does not fill the
// buffer. Port 0 accepts all TCP. Offsets start at the IP header.
func portFilter(port int) ([]unix.SockFilter, error) {
	const tcp = 6
	if port == 0 {
		return assemble([]bpf.Instruction{bpf.RetConstant{Val: 1 << 18}})
	}
	const (
		wanted   = bpf.JumpEqual
		unwanted = bpf.JumpNotEqual
	)
	p := uint32(port)
	return assemble([]bpf.Instruction{
		/*  0 */ bpf.LoadAbsolute{Off: 0, Size: 1},
		/*  1 */ bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0},
		/*  2 */ bpf.JumpIf{Cond: wanted, Val: 0x40, SkipTrue: 6}, // IPv4: to 9
		/*  3 */ bpf.LoadAbsolute{Off: 6, Size: 1},
		/*  4 */ bpf.JumpIf{Cond: unwanted, Val: tcp, SkipTrue: 12}, // to 17
		/*  5 */ bpf.LoadAbsolute{Off: 40, Size: 2},
		/*  6 */ bpf.JumpIf{Cond: wanted, Val: p, SkipTrue: 9}, // to 16
		/*  7 */ bpf.LoadAbsolute{Off: 42, Size: 2},
		/*  8 */ bpf.Jump{Skip: 6}, // to 15
		/*  9 */ bpf.LoadAbsolute{Off: 9, Size: 1},
		/* 10 */ bpf.JumpIf{Cond: unwanted, Val: tcp, SkipTrue: 6}, // to 17
		/* 11 */ bpf.LoadMemShift{Off: 0},
		/* 12 */ bpf.LoadIndirect{Off: 0, Size: 2},
		/* 13 */ bpf.JumpIf{Cond: wanted, Val: p, SkipTrue: 2}, // to 16
		/* 14 */ bpf.LoadIndirect{Off: 2, Size: 2},
		/* 15 */ bpf.JumpIf{Cond: unwanted, Val: p, SkipTrue: 1}, // to 17
		/* 16 */ bpf.RetConstant{Val: 1 << 18},
		/* 17 */ bpf.RetConstant{Val: 0},
	})
}

func assemble(program []bpf.Instruction) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return filter, nil
}

// drain reads all packets from the socket's buffer.
func (c *Capture) drain(fd int, buffer []byte) error {
	control := make([]byte, 128)
	for {
		n, controlLen, flags, _, err := unix.Recvmsg(fd, buffer, control, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return nil
		case err == unix.ENETDOWN:
			continue // reported once when the interface goes down; the capture goes on
		case err != nil:
			return os.NewSyscallError("recvmsg", err)
		case flags&unix.MSG_TRUNC != 0:
			return fmt.Errorf("a packet is longer than %d bytes", len(buffer))
		}
		at, err := kernelTime(control[:controlLen])
		if err != nil {
			return err
		}
		c.add(at, buffer[:n])
	}
}

// kernelTime reads the time stamp of a packet: two 64-bit numbers, seconds and nanoseconds.
func kernelTime(control []byte) (time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, err
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS_NEW && len(m.Data) >= 16 {
			return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))), nil
		}
	}
	return time.Time{}, errors.New("a packet came without a time stamp")
}
