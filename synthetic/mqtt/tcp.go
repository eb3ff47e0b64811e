package mqtt

import (
	"net"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/tcpinfo"
)

// tcpFacts reads TCP_INFO; nil where the system has none, or c is not a TCP socket.
func tcpFacts(c net.Conn) *disconnect.TCPFacts {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	var info tcpinfo.Info
	if e := raw.Control(func(fd uintptr) { info, err = tcpinfo.Read(int(fd)) }); e != nil || err != nil {
		return nil
	}
	return &disconnect.TCPFacts{Unacked: info.Unacked, Sacked: info.Sacked, OutOfOrder: info.OutOfOrder, Retransmits: info.Retransmits, Backoff: info.Backoff,
		LastDataRecv: info.LastDataReceived, LastAckRecv: info.LastAckReceived, State: info.State}
}
