package tcpinfo

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Read reads the TCP_INFO of a socket. The error is that of the system call, for example
// [unix.EOPNOTSUPP] for a socket that is not TCP.
func Read(fd int) (Info, error) {
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Info{}, os.NewSyscallError("TCP_INFO", err)
	}
	us := func(v uint32) time.Duration { return time.Duration(v) * time.Microsecond }
	ms := func(v uint32) time.Duration { return time.Duration(v) * time.Millisecond }
	return Info{
		State: i.State, RTT: us(i.Rtt), MinRTT: us(i.Min_rtt), RTO: us(i.Rto),
		Unacked: i.Unacked, Sacked: i.Sacked, OutOfOrder: i.Rcv_ooopack, Retransmits: i.Retransmits, Backoff: i.Backoff,
		BytesAcked: i.Bytes_acked, BytesReceived: i.Bytes_received, SegmentsReceived: i.Segs_in,
		LastDataReceived: ms(i.Last_data_recv), LastAckReceived: ms(i.Last_ack_recv),
	}, nil
}
