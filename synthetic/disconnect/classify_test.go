package disconnect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gorilla/websocket"
)

// sys is a system call's failure as package net reports it.
func sys(op string, err syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, err)}
}

// timeout is a passed socket deadline as package net reports it.
var timeout = &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}

func dns(d net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: &d} }

func verification(err error) error { return &tls.CertificateVerificationError{Err: err} }

const second = time.Second

var (
	acked    = &TCPFacts{State: 1}
	unacked  = &TCPFacts{State: 1, Unacked: 2, Retransmits: 3, Backoff: 3}
	justSent = &TCPFacts{State: 1, Unacked: 1}
	// A window of 0 is probed with backoff. The probes are answered or not.
	probed    = &TCPFacts{State: 1, Backoff: 2, LastAckRecv: second}
	backedOff = &TCPFacts{State: 1, Backoff: 2, LastAckRecv: 20 * second}
)

// The decisions: an observation, and "reason initiator evidence" of its ending.
var decisions = []struct {
	name string
	o    Observation
	want string
}{
	// Packets. All standard codes are in testdata/codes.txt. These go beyond the standards.
	{"CONNACK 1 to an MQTT 5 CONNECT", Observation{Phase: PhaseMQTT, Version: 5, Packet: Connack, Code: 1}, "not_supported server connack"},
	{"CONNACK 5 to an MQTT 5 CONNECT", Observation{Phase: PhaseMQTT, Version: 5, Packet: Connack, Code: 5}, "not_authorized server connack"},
	{"CONNACK 0x87 to a 3.1.1 CONNECT", Observation{Phase: PhaseMQTT, Version: 4, Packet: Connack, Code: 0x87}, "not_authorized server connack"},
	{"CONNACK 6 of aedes", Observation{Phase: PhaseMQTT, Version: 4, Packet: Connack, Code: 6}, "not_supported server connack"},
	{"CONNACK 0x10 of NATS", Observation{Phase: PhaseMQTT, Version: 4, Packet: Connack, Code: 0x10}, "not_supported server connack"},
	{"CONNACK 0x8D of ejabberd", Observation{Phase: PhaseMQTT, Version: 5, Packet: Connack, Code: 0x8d}, "keepalive_timeout server connack"},
	{"CONNACK with an undefined failure", Observation{Phase: PhaseMQTT, Version: 5, Packet: Connack, Code: 0xf0}, "other server connack"},
	{"CONNACK 7", Observation{Phase: PhaseMQTT, Version: 4, Packet: Connack, Code: 7}, "other server connack"},
	{"CONNACK then FIN", Observation{Phase: PhaseMQTT, Version: 4, Packet: Connack, Code: 4, Err: io.EOF, RawEOF: true}, "authentication_failed server connack"},
	{"CONNACK beats our deadline", Observation{Phase: PhaseMQTT, Version: 5, Packet: Connack, Code: 0x88, Deadline: DeadlineConnack, Err: timeout}, "server_busy server connack"},
	{"CONNACK 0 tells nothing", Observation{Phase: PhaseEstablished, Version: 5, Packet: Connack, Err: io.EOF, RawEOF: true}, "peer_closed unknown fin"},
	{"DISCONNECT in place of CONNACK", Observation{Phase: PhaseMQTT, Version: 5, Packet: Disconnect, Code: 0x8b}, "server_shutdown server disconnect_packet"},
	{"DISCONNECT 0x8E to a 3.1.1 client (mochi)", Observation{Phase: PhaseEstablished, Version: 4, Packet: Disconnect, Code: 0x8e}, "session_taken_over server disconnect_packet"},
	{"DISCONNECT 0x8B to a 3.1.1 client (mochi)", Observation{Phase: PhaseEstablished, Version: 4, Packet: Disconnect, Code: 0x8b}, "server_shutdown server disconnect_packet"},
	{"DISCONNECT 0 after long silence", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, SendIdle: 60 * second, Keepalive: 10 * second}, "peer_closed server disconnect_packet"},
	{"DISCONNECT then RST", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x98, Err: sys("read", syscall.ECONNRESET)}, "admin_action server disconnect_packet"},
	{"DISCONNECT while we were leaving", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x8b, Intended: true}, "server_shutdown server disconnect_packet"},
	{"DISCONNECT over TLS with close_notify", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, CloseNotify: true, Version: 5, Packet: Disconnect, Code: 0x8d}, "keepalive_timeout server disconnect_packet"},
	{"DISCONNECT with an undefined code", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0xc0}, "other server disconnect_packet"},
	{"SUBACK 0x80 in 3.1.1", Observation{Phase: PhaseEstablished, Version: 4, Packet: Suback, Code: 0x80}, "not_authorized server suback"},
	{"SUBACK 0x80 in MQTT 5", Observation{Phase: PhaseEstablished, Version: 5, Packet: Suback, Code: 0x80}, "other server suback"},
	{"SUBACK 0x87 in 3.1.1", Observation{Phase: PhaseEstablished, Version: 4, Packet: Suback, Code: 0x87}, "not_authorized server suback"},
	{"UNSUBACK refused", Observation{Phase: PhaseEstablished, Version: 5, Packet: Unsuback, Code: 0x87}, "not_authorized server suback"},
	{"PUBACK refused", Observation{Phase: PhaseEstablished, Version: 5, Packet: Puback, Code: 0x97}, "rate_or_quota server puback"},
	{"PUBREC refused", Observation{Phase: PhaseEstablished, Version: 5, Packet: Pubrec, Code: 0x87}, "not_authorized server puback"},
	{"PUBCOMP with an unknown id", Observation{Phase: PhaseEstablished, Version: 5, Packet: Pubcomp, Code: 0x92}, "protocol_error server puback"},

	// Our own actions.
	{"our DISCONNECT", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, PacketSent: true, Intended: true}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT with Will", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 4, PacketSent: true}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT, then the server's RST", Observation{Phase: PhaseEstablished, Version: 4, Packet: Disconnect, PacketSent: true, Err: sys("read", syscall.ECONNRESET)}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT, unspecified error", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x80, PacketSent: true}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT about their Receive Maximum", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x93, PacketSent: true}, "protocol_error server disconnect_packet"},
	{"our DISCONNECT about their rate", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x96, PacketSent: true}, "rate_or_quota server disconnect_packet"},
	{"our DISCONNECT with a complaint, meant to be the end", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x93, PacketSent: true, Intended: true}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT with a code of no meaning", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 5, PacketSent: true}, "client_disconnect client disconnect_packet"},
	{"our DISCONNECT for malformed input", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, Code: 0x81, PacketSent: true, Err: ErrProtocol}, "protocol_error server local"},
	{"our DISCONNECT after a missing PINGRESP", Observation{Phase: PhaseEstablished, Version: 5, Packet: Disconnect, PacketSent: true, Deadline: DeadlinePingresp, TCP: acked, Err: net.ErrClosed}, "pingresp_timeout server deadline"},
	{"closed on purpose", Observation{Phase: PhaseEstablished, Intended: true, Err: net.ErrClosed}, "client_disconnect client local"},
	{"closed on purpose, deadline near", Observation{Phase: PhaseEstablished, Intended: true, Deadline: DeadlinePingresp, Err: context.DeadlineExceeded}, "client_disconnect client local"},
	{"stopped while dialling", Observation{Phase: PhaseTCP, Err: &net.OpError{Op: "dial", Err: context.Canceled}}, "client_disconnect client local"},
	{"stopped while resolving", Observation{Phase: PhaseResolve, Err: &net.DNSError{Err: "operation was canceled", UnwrapErr: context.Canceled}}, "client_disconnect client local"},
	{"our socket closed", Observation{Phase: PhaseEstablished, Err: &net.OpError{Op: "read", Err: net.ErrClosed}}, "client_disconnect client local"},
	{"our websocket close sent", Observation{Phase: PhaseEstablished, Transport: "ws", Err: websocket.ErrCloseSent}, "client_disconnect client local"},

	// Malformed input.
	{"malformed packet", Observation{Phase: PhaseEstablished, Err: fmt.Errorf("%w: PUBLISH with QoS 3", ErrProtocol)}, "protocol_error server local"},
	{"HTTP answer to CONNECT", Observation{Phase: PhaseMQTT, Transport: "mqtt", BytesReceived: 120, Err: fmt.Errorf("%w: the answer is HTTP", ErrProtocol), RawEOF: true}, "protocol_error server local"},
	{"a flood", Observation{Phase: PhaseEstablished, Err: fmt.Errorf("%w: for 4 seconds more than 1000 packets a second", ErrFlood), RawEOF: true}, "flood server local"},
	{"a limit of our own", Observation{Phase: PhaseEstablished, Err: fmt.Errorf("%w: no memory left", ErrOwnLimit)}, "other client local"},
	{"malformed although a deadline passed", Observation{Phase: PhaseMQTT, Deadline: DeadlineConnack, Err: fmt.Errorf("%w: a length of five bytes", ErrProtocol)}, "protocol_error server local"},
	{"websocket message too large", Observation{Phase: PhaseEstablished, Transport: "ws", Err: websocket.ErrReadLimit}, "protocol_error server local"},

	// FIN, close_notify, RST in an established session.
	{"FIN", Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: io.EOF, RawEOF: true, SendIdle: 3 * second, Keepalive: 10 * second}, "peer_closed unknown fin"},
	{"FIN, seen by the raw socket alone", Observation{Phase: PhaseEstablished, Transport: "mqtt", RawEOF: true}, "peer_closed unknown fin"},
	{"FIN in the middle of a packet", Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: io.ErrUnexpectedEOF, RawEOF: true}, "peer_closed unknown fin"},
	{"FIN without keepalive", Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: io.EOF, SendIdle: time.Hour}, "peer_closed unknown fin"},
	{"FIN on a unix socket", Observation{Phase: PhaseEstablished, Transport: "unix", Err: io.EOF, RawEOF: true}, "peer_closed server fin"},
	{"FIN at exactly K", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 10 * second, Keepalive: 10 * second}, "peer_closed unknown fin"},
	{"FIN at 1.25 K (NanoMQ)", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 25 * second, Keepalive: 20 * second}, "keepalive_timeout server fin"},
	{"FIN a millisecond before K", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 9999 * time.Millisecond, Keepalive: 10 * second}, "peer_closed unknown fin"},
	{"FIN after 1.5 K", Observation{Phase: PhaseEstablished, Err: io.EOF, RawEOF: true, SendIdle: 15 * second, Keepalive: 10 * second}, "keepalive_timeout server fin"},
	{"FIN after 1.5 K by our own fault", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 15 * second, Keepalive: 10 * second, LocalFault: true}, "keepalive_timeout client fin"},
	{"FIN before K, our timers late", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 5 * second, Keepalive: 10 * second, LocalFault: true}, "peer_closed unknown fin"},
	{"close_notify", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, CloseNotify: true, Err: io.EOF}, "peer_closed server close_notify"},
	{"close_notify, seen alone", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, CloseNotify: true}, "peer_closed server close_notify"},
	{"close_notify after 1.5 K (Paho C 1.3.11 and Mosquitto)", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, CloseNotify: true, Err: io.EOF, SendIdle: 16 * second, Keepalive: 10 * second}, "keepalive_timeout server close_notify"},
	{"close_notify, then RST", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, CloseNotify: true, Err: sys("write", syscall.EPIPE)}, "peer_closed server close_notify"},
	{"TLS cut by FIN", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, RawEOF: true, Err: io.EOF}, "peer_closed unknown fin"},
	{"TLS cut in a record", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, RawEOF: true, Err: io.ErrUnexpectedEOF}, "peer_closed unknown fin"},
	{"RST", Observation{Phase: PhaseEstablished, Transport: "mqtt", Err: sys("read", syscall.ECONNRESET), SendIdle: second, Keepalive: 10 * second}, "connection_reset unknown rst"},
	{"RST on TLS", Observation{Phase: PhaseEstablished, Transport: "mqtts", TLS: true, Err: sys("read", syscall.ECONNRESET)}, "connection_reset unknown rst"},
	{"RST on a unix socket", Observation{Phase: PhaseEstablished, Transport: "unix", Err: sys("read", syscall.ECONNRESET)}, "connection_reset server rst"},
	{"RST after more than K (NanoMQ and MQTT-C)", Observation{Phase: PhaseEstablished, Err: sys("read", syscall.ECONNRESET), SendIdle: 20 * second, Keepalive: 10 * second}, "keepalive_timeout server rst"},
	{"RST after more than K by our own fault", Observation{Phase: PhaseEstablished, Err: sys("read", syscall.ECONNRESET), SendIdle: 20 * second, Keepalive: 10 * second, LocalFault: true}, "keepalive_timeout client rst"},
	{"broken pipe", Observation{Phase: PhaseEstablished, Err: sys("write", syscall.EPIPE)}, "connection_reset unknown rst"},
	{"broken pipe after more than K", Observation{Phase: PhaseEstablished, Err: sys("write", syscall.EPIPE), SendIdle: 20 * second, Keepalive: 10 * second}, "keepalive_timeout server rst"},
	{"FIN, then RST", Observation{Phase: PhaseEstablished, RawEOF: true, Err: sys("write", syscall.EPIPE)}, "peer_closed unknown fin"},
	{"aborted", Observation{Phase: PhaseEstablished, Err: sys("read", syscall.ECONNABORTED)}, "connection_reset unknown rst"},
	{"FIN beats a deadline of the same moment", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, Err: io.EOF, RawEOF: true}, "peer_closed unknown fin"},
	{"net.Pipe closed", Observation{Phase: PhaseEstablished, Err: io.ErrClosedPipe}, "peer_closed unknown fin"},

	// The same before the session is established.
	{"FIN before CONNACK (Mosquitto at max_connections)", Observation{Phase: PhaseMQTT, Transport: "mqtt", Err: io.EOF, RawEOF: true}, "connection_refused server fin"},
	{"FIN before CONNACK, idle for K", Observation{Phase: PhaseMQTT, Err: io.EOF, SendIdle: 20 * second, Keepalive: 10 * second}, "connection_refused server fin"},
	{"RST before CONNACK", Observation{Phase: PhaseMQTT, Transport: "mqtt", Err: sys("read", syscall.ECONNRESET)}, "connection_refused server rst"},
	{"close_notify before CONNACK", Observation{Phase: PhaseMQTT, Transport: "mqtts", TLS: true, CloseNotify: true, Err: io.EOF}, "connection_refused server close_notify"},
	{"FIN after half a CONNACK", Observation{Phase: PhaseMQTT, Transport: "mqtt", Err: io.ErrUnexpectedEOF, RawEOF: true, BytesReceived: 2}, "peer_closed unknown fin"},
	{"RST after half a CONNACK", Observation{Phase: PhaseMQTT, Transport: "mqtt", Err: sys("read", syscall.ECONNRESET), BytesReceived: 2}, "connection_reset unknown rst"},
	{"FIN in the TLS handshake", Observation{Phase: PhaseTLS, Transport: "mqtts", TLS: true, Err: io.EOF, RawEOF: true}, "tls_error server fin"},
	{"close_notify in the TLS handshake", Observation{Phase: PhaseTLS, Transport: "mqtts", TLS: true, Err: io.EOF, CloseNotify: true}, "tls_error server close_notify"},
	{"RST in the TLS handshake", Observation{Phase: PhaseTLS, Transport: "mqtts", TLS: true, Err: sys("read", syscall.ECONNRESET)}, "tls_error server rst"},
	{"FIN in the websocket handshake", Observation{Phase: PhaseWebsocket, Transport: "ws", Err: io.ErrUnexpectedEOF, RawEOF: true}, "websocket_error server fin"},
	{"RST in the websocket handshake", Observation{Phase: PhaseWebsocket, Transport: "ws", Err: sys("read", syscall.ECONNRESET)}, "websocket_error server rst"},
	{"FIN from the proxy", Observation{Phase: PhaseProxy, Err: io.EOF, RawEOF: true}, "connection_refused server fin"},
	{"RST while connecting", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.ECONNRESET)}, "connection_refused server rst"},

	// The operating system.
	{"refused", Observation{Phase: PhaseTCP, Transport: "mqtt", Err: sys("connect", syscall.ECONNREFUSED)}, "connection_refused server errno"},
	{"refused by unix socket", Observation{Phase: PhaseTCP, Transport: "unix", Err: sys("connect", syscall.ECONNREFUSED)}, "connection_refused server errno"},
	{"no unix socket", Observation{Phase: PhaseTCP, Transport: "unix", Err: sys("connect", syscall.ENOENT)}, "connection_refused server errno"},
	{"unix socket not permitted", Observation{Phase: PhaseTCP, Transport: "unix", Err: sys("connect", syscall.EACCES)}, "not_authorized server errno"},
	{"own firewall", Observation{Phase: PhaseTCP, Transport: "mqtt", Err: sys("connect", syscall.EPERM)}, "other client local"},
	{"prohibited route", Observation{Phase: PhaseTCP, Transport: "mqtt", Err: sys("connect", syscall.EACCES)}, "other client local"},
	{"no such file elsewhere", Observation{Phase: PhaseTCP, Transport: "mqtts", Err: &os.PathError{Op: "open", Path: "/secret/key", Err: syscall.ENOENT}}, "other unknown local"},
	{"host unreachable", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.EHOSTUNREACH)}, "network_unreachable network errno"},
	{"network unreachable", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.ENETUNREACH)}, "network_unreachable network errno"},
	{"network down in a session", Observation{Phase: PhaseEstablished, Err: sys("write", syscall.ENETDOWN)}, "network_unreachable network errno"},
	{"host unreachable in a session", Observation{Phase: PhaseEstablished, Err: sys("read", syscall.EHOSTUNREACH), SendIdle: 60 * second, Keepalive: 10 * second}, "network_unreachable network errno"},
	{"SYN never answered", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.ETIMEDOUT)}, "network_timeout network errno"},
	{"TCP gave up in a session", Observation{Phase: PhaseEstablished, Err: sys("read", syscall.ETIMEDOUT)}, "network_timeout network errno"},
	{"TCP gave up, taken for a deadline", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: unacked, Err: sys("read", syscall.ETIMEDOUT)}, "network_timeout network errno"},
	{"no descriptors", Observation{Phase: PhaseTCP, Err: sys("socket", syscall.EMFILE)}, "other client local"},
	{"no descriptors in the system", Observation{Phase: PhaseTCP, Err: sys("socket", syscall.ENFILE)}, "other client local"},
	{"no ports", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.EADDRNOTAVAIL)}, "other client local"},
	{"source address in use", Observation{Phase: PhaseTCP, Err: sys("bind", syscall.EADDRINUSE)}, "other client local"},
	{"no buffers", Observation{Phase: PhaseEstablished, Err: sys("write", syscall.ENOBUFS)}, "other client local"},
	{"no IPv6 here", Observation{Phase: PhaseTCP, Err: sys("socket", syscall.EAFNOSUPPORT)}, "other client local"},
	{"an error number of no class", Observation{Phase: PhaseTCP, Err: sys("connect", syscall.EINVAL)}, "other unknown local"},

	// The resolver.
	{"no such host", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "no such host", Name: "secret.example", IsNotFound: true})}, "dns_error network resolver"},
	{"resolver silent", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "i/o timeout", IsTimeout: true})}, "dns_error network resolver"},
	{"resolver failed", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "server misbehaving", IsTemporary: true})}, "dns_error network resolver"},
	{"resolver refused", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "read udp 127.0.0.1:1->127.0.0.1:53: read: connection refused"})}, "dns_error network resolver"},
	{"resolver talks nonsense", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "cannot unmarshal DNS message"})}, "dns_error network resolver"},
	{"no address of that family", Observation{Phase: PhaseResolve, Err: &net.AddrError{Err: "no suitable address found", Addr: "secret.example"}}, "dns_error network resolver"},
	{"no descriptors for the lookup", Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "dial udp: socket: " + syscall.EMFILE.Error()})}, "other client local"},
	{"our deadline for the lookup", Observation{Phase: PhaseResolve, Deadline: DeadlineDial}, "dns_error network resolver"},
	{"our deadline for the lookup, late timers", Observation{Phase: PhaseResolve, Deadline: DeadlineDial, LocalFault: true}, "dns_error client resolver"},

	// Deadlines.
	{"no PINGRESP, nothing acknowledged", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, Err: timeout, TCP: unacked}, "pingresp_timeout network deadline"},
	{"no PINGRESP, all acknowledged (stopped broker)", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, Err: timeout, TCP: acked}, "pingresp_timeout server deadline"},
	{"no PINGRESP, TCP_INFO unknown", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, Err: timeout}, "pingresp_timeout unknown deadline"},
	{"no PINGRESP, unix socket", Observation{Phase: PhaseEstablished, Transport: "unix", Deadline: DeadlinePingresp, Err: timeout}, "pingresp_timeout server deadline"},
	{"no PINGRESP, our timers late", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, Err: timeout, TCP: acked, LocalFault: true}, "pingresp_timeout client deadline"},
	{"no PINGRESP, ping never left", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: backedOff, SendIdle: 5 * second}, "pingresp_timeout network deadline"},
	{"no PINGRESP, ping waits behind a full window", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: probed, SendIdle: 5 * second}, "pingresp_timeout server deadline"},
	{"no PINGRESP, the last answer as old as the ping", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: probed, SendIdle: second}, "pingresp_timeout network deadline"},
	{"no PINGRESP, no answer ever", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: &TCPFacts{Backoff: 1}, SendIdle: second}, "pingresp_timeout network deadline"},
	{"no PINGRESP, told by an error of our own", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: acked, Err: errors.New("no answer to PINGREQ within 5s")}, "pingresp_timeout server deadline"},
	{"no PINGRESP, then our close", Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: unacked, Err: net.ErrClosed}, "pingresp_timeout network deadline"},
	{"no CONNACK (stopped broker)", Observation{Phase: PhaseMQTT, Deadline: DeadlineConnack, Err: timeout, TCP: acked}, "connack_timeout server deadline"},
	{"no CONNACK, nothing acknowledged", Observation{Phase: PhaseMQTT, Deadline: DeadlineConnack, Err: timeout, TCP: unacked}, "connack_timeout network deadline"},
	{"no CONNACK, deadline not named", Observation{Phase: PhaseMQTT, Err: timeout}, "connack_timeout unknown deadline"},
	{"no acknowledgement", Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: acked}, "ack_timeout server deadline"},
	{"no acknowledgement, a PINGREQ just left", Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: justSent, SendIdle: second / 1000}, "ack_timeout server deadline"},
	{"no acknowledgement, and the PINGREQ before it had none", Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: unacked, SendIdle: second / 1000}, "ack_timeout network deadline"},
	{"no acknowledgement, what was sent a while ago has none", Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: justSent, SendIdle: second}, "ack_timeout network deadline"},
	{"no acknowledgement, path gone", Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: unacked}, "ack_timeout network deadline"},
	{"write stuck, peer does not read", Observation{Phase: PhaseEstablished, Deadline: DeadlineWrite, Err: timeout, TCP: probed, SendIdle: second / 2}, "network_timeout server deadline"},
	{"write stuck, nothing acknowledged", Observation{Phase: PhaseEstablished, Deadline: DeadlineWrite, Err: timeout, TCP: unacked}, "network_timeout network deadline"},
	{"write stuck, TCP_INFO unknown", Observation{Phase: PhaseEstablished, Deadline: DeadlineWrite, Err: timeout}, "network_timeout unknown deadline"},
	{"no TCP connection", Observation{Phase: PhaseTCP, Deadline: DeadlineDial, Err: &net.OpError{Op: "dial", Err: context.DeadlineExceeded}}, "network_timeout network deadline"},
	{"no TCP connection, our timers late", Observation{Phase: PhaseTCP, Deadline: DeadlineDial, LocalFault: true}, "network_timeout client deadline"},
	{"proxy silent", Observation{Phase: PhaseProxy, Deadline: DeadlineDial, TCP: acked}, "network_timeout unknown deadline"},
	{"proxy gone", Observation{Phase: PhaseProxy, Deadline: DeadlineDial, TCP: unacked}, "network_timeout network deadline"},
	{"TLS handshake silent", Observation{Phase: PhaseTLS, TLS: true, Deadline: DeadlineHandshake, Err: context.DeadlineExceeded, TCP: acked}, "handshake_timeout server deadline"},
	{"TLS handshake cut", Observation{Phase: PhaseTLS, TLS: true, Deadline: DeadlineHandshake, Err: timeout, TCP: unacked}, "handshake_timeout network deadline"},
	{"TLS handshake, deadline not named", Observation{Phase: PhaseTLS, TLS: true, Err: context.DeadlineExceeded}, "handshake_timeout unknown deadline"},
	{"websocket handshake silent", Observation{Phase: PhaseWebsocket, Err: timeout}, "handshake_timeout unknown deadline"},
	{"timeout in a session, not named", Observation{Phase: PhaseEstablished, Err: timeout, TCP: unacked}, "network_timeout network deadline"},
	{"a deadline that does not exist", Observation{Phase: PhaseMQTT, Deadline: "nonsense"}, "connack_timeout unknown deadline"},

	// TLS. All alerts are in TestAlerts.
	{"no common version", Observation{Phase: PhaseTLS, TLS: true, Err: alertError("remote error", 70)}, "tls_error server tls_alert"},
	{"client certificate missing, TLS 1.2", Observation{Phase: PhaseTLS, TLS: true, Err: alertError("remote error", 40)}, "tls_error server tls_alert"},
	{"client certificate missing, TLS 1.3", Observation{Phase: PhaseMQTT, TLS: true, Err: alertError("remote error", 116)}, "certificate_error server tls_alert"},
	{"client certificate revoked in a session", Observation{Phase: PhaseEstablished, TLS: true, Err: alertError("remote error", 44)}, "certificate_error server tls_alert"},
	{"certificate good, owner not let in", Observation{Phase: PhaseTLS, TLS: true, Err: alertError("remote error", 49)}, "not_authorized server tls_alert"},
	{"bytes changed on the way", Observation{Phase: PhaseEstablished, TLS: true, Err: alertError("local error", 20)}, "tls_error unknown local"},
	{"expired", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired})}, "certificate_error server local"},
	{"wrong host", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"other.example"}}, Host: "broker.example"})}, "certificate_error server local"},
	{"unknown authority", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.UnknownAuthorityError{})}, "certificate_error server local"},
	{"unknown authority, found by ourselves", Observation{Phase: PhaseTLS, TLS: true, Err: fmt.Errorf("verifying: %w", x509.UnknownAuthorityError{})}, "certificate_error server local"},
	{"constraint", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.ConstraintViolationError{})}, "certificate_error server local"},
	{"insecure algorithm", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.InsecureAlgorithmError(x509.SHA1WithRSA))}, "certificate_error server local"},
	{"critical extension", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.UnhandledCriticalExtension{})}, "certificate_error server local"},
	{"another verdict", Observation{Phase: PhaseTLS, TLS: true, Err: verification(errors.New("not on our list"))}, "certificate_error server local"},
	{"our root certificates", Observation{Phase: PhaseTLS, TLS: true, Err: verification(x509.SystemRootsError{Err: os.ErrNotExist})}, "other client local"},
	{"unreadable certificate", Observation{Phase: PhaseTLS, TLS: true, Err: errors.New("tls: failed to parse certificate from server: x509: malformed certificate")}, "certificate_error server local"},
	{"our own certificate unusable", Observation{Phase: PhaseTLS, TLS: true, Err: errors.New("tls: client certificate private key of type int does not implement crypto.Signer")}, "tls_error unknown local"},
	{"plaintext", Observation{Phase: PhaseTLS, TLS: true, Err: tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake", RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}}, "tls_error server local"},
	{"plaintext in a session", Observation{Phase: PhaseEstablished, TLS: true, Err: tls.RecordHeaderError{}}, "tls_error server local"},
	{"a server that picks an old version", Observation{Phase: PhaseTLS, TLS: true, Err: errors.New("tls: server selected unsupported protocol version 301")}, "tls_error unknown local"},
	{"a text of TLS without TLS", Observation{Phase: PhaseEstablished, Err: errors.New("tls: too many ignored records")}, "other unknown local"},
	{"text of another kind in TLS", Observation{Phase: PhaseEstablished, TLS: true, Err: errors.New("too many ignored records")}, "other unknown local"},
	{"an odd record in a session", Observation{Phase: PhaseEstablished, TLS: true, Err: errors.New("tls: too many ignored records")}, "tls_error unknown local"},

	// HTTP.
	{"no websocket there", Observation{Phase: PhaseWebsocket, HTTPStatus: 404, Err: websocket.ErrBadHandshake}, "websocket_error server http_status"},
	{"a plain web server", Observation{Phase: PhaseWebsocket, HTTPStatus: 200, Err: websocket.ErrBadHandshake}, "websocket_error server http_status"},
	{"a bad gateway", Observation{Phase: PhaseWebsocket, HTTPStatus: 502, Err: websocket.ErrBadHandshake}, "websocket_error server http_status"},
	{"HTTP 401", Observation{Phase: PhaseWebsocket, HTTPStatus: 401}, "authentication_failed server http_status"},
	{"HTTP 403", Observation{Phase: PhaseWebsocket, HTTPStatus: 403}, "not_authorized server http_status"},
	{"HTTP 429", Observation{Phase: PhaseWebsocket, HTTPStatus: 429}, "rate_or_quota server http_status"},
	{"HTTP 503", Observation{Phase: PhaseWebsocket, HTTPStatus: 503}, "server_busy server http_status"},
	{"HTTP 307", Observation{Phase: PhaseWebsocket, HTTPStatus: 307}, "redirected server http_status"},
	{"HTTP 300", Observation{Phase: PhaseWebsocket, HTTPStatus: 300}, "redirected server http_status"},
	{"HTTP 400", Observation{Phase: PhaseWebsocket, HTTPStatus: 400}, "websocket_error server http_status"},
	{"no sub-protocol", Observation{Phase: PhaseWebsocket, HTTPStatus: 101, Err: errors.New("the server did not choose the sub-protocol mqtt")}, "websocket_error server local"},
	{"handshake without a status", Observation{Phase: PhaseWebsocket, Err: websocket.ErrBadHandshake}, "websocket_error server local"},
	{"an old status is no evidence", Observation{Phase: PhaseEstablished, HTTPStatus: 200, Err: io.EOF, RawEOF: true}, "peer_closed unknown fin"},
	{"HTTP 200 from the proxy, then FIN", Observation{Phase: PhaseProxy, HTTPStatus: 200, Err: io.EOF}, "connection_refused server fin"},
	{"HTTP 300 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 300}, "redirected server http_status"},
	{"HTTP 101 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 101}, "connection_refused server http_status"},
	{"HTTP 407 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 407}, "authentication_failed server http_status"},
	{"HTTP 403 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 403}, "not_authorized server http_status"},
	{"HTTP 502 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 502}, "connection_refused server http_status"},
	{"HTTP 504 from the proxy", Observation{Phase: PhaseProxy, HTTPStatus: 504}, "network_timeout network http_status"},

	// SOCKS.
	{"SOCKS: refused", Observation{Phase: PhaseProxy, Err: &net.OpError{Op: "socks connect", Err: errors.New("unknown error connection refused")}}, "connection_refused server errno"},
	{"SOCKS: unreachable", Observation{Phase: PhaseProxy, Err: &net.OpError{Op: "socks connect", Err: errors.New("unknown error host unreachable")}}, "network_unreachable network errno"},
	{"SOCKS: rule", Observation{Phase: PhaseProxy, Err: errors.New("unknown error connection not allowed by ruleset")}, "not_authorized server errno"},
	{"SOCKS: password", Observation{Phase: PhaseProxy, Err: errors.New("username/password authentication failed")}, "authentication_failed server errno"},
	{"SOCKS: the proxy itself refuses", Observation{Phase: PhaseProxy, Err: sys("connect", syscall.ECONNREFUSED)}, "connection_refused server errno"},
	{"SOCKS: no SOCKS", Observation{Phase: PhaseProxy, Err: errors.New("unexpected protocol version 72")}, "other unknown local"},

	// Websocket.
	{"close 1000", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1000}, "peer_closed server disconnect_packet"},
	{"close 1000 after 1.5 K (EMQX)", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1000, SendIdle: 15 * second, Keepalive: 10 * second}, "keepalive_timeout server disconnect_packet"},
	{"close 1000 before CONNACK", Observation{Phase: PhaseMQTT, Transport: "ws", WebsocketCode: 1000}, "connection_refused server disconnect_packet"},
	{"close without a code", Observation{Phase: PhaseEstablished, Transport: "ws", Err: &websocket.CloseError{Code: 1005}}, "peer_closed server disconnect_packet"},
	{"close 1001", Observation{Phase: PhaseEstablished, Transport: "ws", Err: &websocket.CloseError{Code: 1001}}, "server_shutdown server disconnect_packet"},
	{"close 1002", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1002}, "protocol_error server disconnect_packet"},
	{"close 1003", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1003}, "protocol_error server disconnect_packet"},
	{"close 1006, FIN", Observation{Phase: PhaseEstablished, Transport: "ws", RawEOF: true, Err: &websocket.CloseError{Code: 1006}}, "peer_closed unknown fin"},
	{"close 1006, close_notify", Observation{Phase: PhaseEstablished, Transport: "wss", TLS: true, CloseNotify: true, WebsocketCode: 1006, Err: &websocket.CloseError{Code: 1006}}, "peer_closed server close_notify"},
	{"close 1006, code alone", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1006}, "peer_closed unknown fin"},
	{"close 1006 after 1.5 K", Observation{Phase: PhaseEstablished, Transport: "ws", Err: &websocket.CloseError{Code: 1006}, SendIdle: 15 * second, Keepalive: 10 * second}, "keepalive_timeout server fin"},
	{"close 1007", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1007}, "protocol_error server disconnect_packet"},
	{"close 1008", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1008}, "not_authorized server disconnect_packet"},
	{"close 1009", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1009}, "protocol_error server disconnect_packet"},
	{"close 1010", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1010}, "not_supported server disconnect_packet"},
	{"close 1011", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1011}, "other server disconnect_packet"},
	{"close 1012", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1012}, "server_shutdown server disconnect_packet"},
	{"close 1013", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1013}, "server_busy server disconnect_packet"},
	{"close 1014", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 1014}, "websocket_error server disconnect_packet"},
	{"close 3000", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 3000}, "authentication_failed server disconnect_packet"},
	{"close 3003", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 3003}, "not_authorized server disconnect_packet"},
	{"close 3008", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 3008}, "idle_timeout server disconnect_packet"},
	{"close 4321", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 4321}, "other server disconnect_packet"},
	{"close 4999", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 4999}, "other server disconnect_packet"},
	{"close 77", Observation{Phase: PhaseEstablished, Transport: "ws", WebsocketCode: 77}, "websocket_error server disconnect_packet"},
	{"bad frames", Observation{Phase: PhaseEstablished, Transport: "ws", Err: errors.New("websocket: bad opcode 3")}, "websocket_error server local"},
	{"RST on a websocket", Observation{Phase: PhaseEstablished, Transport: "ws", Err: sys("read", syscall.ECONNRESET)}, "connection_reset unknown rst"},

	// No known evidence.
	{"nothing at all", Observation{}, "other unknown local"},
	{"an unknown error", Observation{Phase: PhaseEstablished, Err: errors.New("what is this")}, "other unknown local"},
}

func TestDecisions(t *testing.T) {
	reached := map[string]bool{}
	for _, d := range decisions {
		t.Run(d.name, func(t *testing.T) {
			e := Classify(d.o)
			got := fmt.Sprint(e.Reason, " ", e.Initiator, " ", e.Evidence)
			if got != d.want {
				t.Errorf("got %s, want %s\nin full: %s", got, d.want, e)
			}
			checkEnding(t, d.o, e)
		})
		for f := range strings.FieldsSeq(d.want) {
			reached[f] = true
		}
	}
	for _, row := range readCodes(t) {
		reached[string(row.reason)] = true
	}
	// Only the broker's events and logs can show these.
	elsewhere := map[Evidence]bool{FromEvent: true, FromLog: true}
	for _, r := range Reasons() {
		if !reached[string(r)] {
			t.Errorf("no observation gives the reason %s", r)
		}
	}
	for _, e := range Evidences() {
		if reached[string(e)] == elsewhere[e] {
			t.Errorf("evidence %s: reached %t, only for events and logs %t", e, reached[string(e)], elsewhere[e])
		}
	}
	for _, i := range Initiators() {
		if !reached[string(i)] {
			t.Errorf("no observation gives the initiator %s", i)
		}
	}
}

// checkEnding checks what must hold for the ending of any observation.
func checkEnding(t *testing.T, o Observation, e Ending) {
	t.Helper()
	if !e.Reason.Valid() || !e.Initiator.Valid() || !e.Evidence.Valid() {
		t.Errorf("not in the vocabulary: %s", e)
	}
	if want := o.Phase; e.Phase != want && (want.Valid() || e.Phase != "") {
		t.Errorf("phase %q, want %q", e.Phase, want)
	}
	if e.Code != -1 && e.Code != int(o.Code) {
		t.Errorf("code %d, want -1 or %d", e.Code, o.Code)
	}
	if len(e.Detail) > maxDetail || !utf8.ValidString(e.Detail) || strings.ContainsFunc(e.Detail, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("detail of %d bytes, or not printable: %q", len(e.Detail), e.Detail)
	}
	if e.Detail == "" {
		t.Errorf("no detail: %s", e)
	}
	if s := e.Sentence(); !strings.HasPrefix(s, e.Reason.Sentence()) || !strings.HasSuffix(s, ".") {
		t.Errorf("sentence %q", s)
	}
	if e.Local() != (e.Initiator == ByClient && e.Reason != ClientDisconnect) {
		t.Errorf("Local() = %t for %s", e.Local(), e)
	}
}

// TestLocal checks which endings make a run inconclusive.
func TestLocal(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Observation
		want bool
	}{
		{"no descriptors", Observation{Phase: PhaseTCP, Err: sys("socket", syscall.EMFILE)}, true},
		{"late timers", Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 3 * second, Keepalive: second, LocalFault: true}, true},
		{"closed on purpose", Observation{Phase: PhaseEstablished, Intended: true}, false},
		{"the server's certificate", Observation{Phase: PhaseTLS, Err: verification(x509.UnknownAuthorityError{})}, false},
		{"malformed input", Observation{Phase: PhaseEstablished, Err: ErrProtocol}, false},
	} {
		if e := Classify(c.o); e.Local() != c.want {
			t.Errorf("%s: Local() = %t for %s", c.name, e.Local(), e)
		}
	}
}

func TestDetail(t *testing.T) {
	for _, c := range []struct {
		o    Observation
		want string
	}{
		{Observation{Version: 5, Packet: Connack, Code: 0x87}, "CONNACK 0x87 Not authorized"},
		{Observation{Version: 4, Packet: Connack, Code: 6}, "CONNACK 0x06 keep alive outside the server's limit (aedes)"},
		{Observation{Version: 5, Packet: Connack, Code: 0xf0}, "CONNACK reason code 0xF0"},
		{Observation{Version: 5, Packet: Disconnect, Code: 0x8e, ReasonString: " taken\r\nover\x00\u202e "}, "DISCONNECT 0x8E Session taken over: taken over"},
		{Observation{Version: 5, Packet: Disconnect, Code: 0x8e, ReasonString: strings.Repeat("x", 120)}, "DISCONNECT 0x8E Session taken over: " + strings.Repeat("x", 120)},
		{Observation{Version: 5, Packet: Disconnect, Code: 0x8e, ReasonString: strings.Repeat("x", 5000)}, "DISCONNECT 0x8E Session taken over: " + strings.Repeat("x", 119) + "…"},
		{Observation{Version: 5, Packet: Disconnect, Code: 0x8e, ReasonString: strings.Repeat("ü", 500)}, "DISCONNECT 0x8E Session taken over: " + strings.Repeat("ü", 80) + "…"},
		{Observation{Version: 5, Packet: Disconnect, PacketSent: true}, "our DISCONNECT 0x00 Normal disconnection"},
		{Observation{Transport: "ws", Phase: PhaseEstablished, Err: &websocket.CloseError{Code: 1001, Text: "see\nyou"}}, "websocket close 1001 going away: see you"},
		{Observation{Transport: "ws", Phase: PhaseEstablished, WebsocketCode: 4321, ReasonString: "private"}, "websocket close 4321: private"},
		{Observation{Phase: PhaseWebsocket, HTTPStatus: 404}, "HTTP 404 Not Found"},
		{Observation{Phase: PhaseWebsocket, HTTPStatus: 799}, "HTTP 799"},
		{Observation{Phase: PhaseProxy, HTTPStatus: 407}, "HTTP 407 Proxy Authentication Required from the proxy"},
		{Observation{Phase: PhaseTLS, Err: alertError("remote error", 42)}, "tls: alert 42 bad certificate"},
		{Observation{Phase: PhaseTLS, Err: alertError("remote error", 40)}, "tls: alert 40 handshake failure (no common parameters, or a client certificate is demanded)"},
		{Observation{Phase: PhaseTLS, Err: alertError("local error", 20)}, "tls: our alert 20 bad record MAC"},
		{Observation{Phase: PhaseTLS, Err: tls.RecordHeaderError{RecordHeader: [5]byte{0x20, 2, 0, 1}}}, "tls: the answer is not TLS, but MQTT without TLS"},
		{Observation{Phase: PhaseTLS, Err: tls.RecordHeaderError{RecordHeader: [5]byte{'H', 'T', 'T', 'P', '/'}}}, "tls: the answer is not TLS, but HTTP"},
		{Observation{Phase: PhaseTLS, Err: tls.RecordHeaderError{}}, "tls: the answer is not TLS"},
		{Observation{Phase: PhaseTLS, Err: verification(x509.UnknownAuthorityError{})}, "x509: certificate signed by unknown authority"},
		{Observation{Phase: PhaseTCP, Err: sys("connect", syscall.ECONNREFUSED)}, "connect: connection refused"},
		{Observation{Phase: PhaseTCP, Err: syscall.ECONNREFUSED}, "connection refused"},
		{Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Name: "secret.example", IsNotFound: true})}, "DNS: no such host"},
		{Observation{Phase: PhaseResolve, Err: dns(net.DNSError{IsTimeout: true})}, "DNS: the resolver did not answer in time"},
		{Observation{Phase: PhaseResolve, Err: dns(net.DNSError{Err: "server misbehaving"})}, "DNS: the resolver failed (SERVFAIL or REFUSED)"},
		{Observation{Phase: PhaseMQTT, Err: io.EOF}, "FIN before any answer to CONNECT"},
		{Observation{Phase: PhaseEstablished, TLS: true, Err: io.EOF}, "FIN without close_notify"},
		{Observation{Phase: PhaseEstablished, Err: io.ErrUnexpectedEOF}, "FIN in the middle of a packet"},
		{Observation{Phase: PhaseEstablished, TLS: true, CloseNotify: true, Err: io.EOF, SendIdle: 7919 * time.Millisecond, Keepalive: 5 * second}, "TLS close_notify 7.92 s after our last packet, keepalive 5 s"},
		{Observation{Phase: PhaseEstablished, Err: io.EOF, SendIdle: 15234567 * time.Microsecond, Keepalive: 10 * second}, "FIN 15.2 s after our last packet, keepalive 10 s"},
		{Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: unacked}, "no PINGRESP in time: 2 segments not acknowledged, retransmitted 3 times"},
		{Observation{Phase: PhaseEstablished, Deadline: DeadlinePingresp, TCP: acked}, "no PINGRESP in time: everything sent is acknowledged"},
		{Observation{Phase: PhaseEstablished, Deadline: DeadlineAck, TCP: justSent, SendIdle: second / 1000}, "no acknowledgement in time: everything sent is acknowledged, except what was sent just now"},
		{Observation{Phase: PhaseEstablished, Deadline: DeadlineWrite, TCP: probed}, "a write did not finish in time: everything sent is acknowledged, but no more can be sent"},
		{Observation{Phase: PhaseEstablished, Err: fmt.Errorf("%w: PUBLISH with QoS 3", ErrProtocol)}, "protocol error: PUBLISH with QoS 3"},
		{Observation{Phase: PhaseEstablished, Err: fmt.Errorf("%w: more than we accept", ErrFlood)}, "a flood: more than we accept"},
		{Observation{Phase: PhaseEstablished, Err: fmt.Errorf("dial wss://alice:s3cret@broker/mqtt: %w", errors.New("bad ws://bob:s3cret@b:99999 port"))}, "bad ws://b:99999 port"},
	} {
		if diff := cmp.Diff(c.want, Classify(c.o).Detail); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.o, diff)
		}
	}
}

// panicky is an error whose methods panic.
type panicky struct{}

func (panicky) Error() string { panic("no text") }
func (panicky) Unwrap() error { panic("no cause") }

func TestHostileErrors(t *testing.T) {
	want := Ending{Reason: Other, Initiator: ByUnknown, Evidence: FromLocal, Phase: PhaseTLS, Code: -1}
	for name, err := range map[string]error{
		"panics":                  panicky{},
		"nil OpError":             (*net.OpError)(nil),
		"nil CloseError":          (*websocket.CloseError)(nil),
		"nil DNSError":            (*net.DNSError)(nil),
		"HostnameError, no chain": x509.HostnameError{},
	} {
		got := Classify(Observation{Phase: PhaseTLS, Err: err})
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Ending{}, "Detail")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		checkEnding(t, Observation{Phase: PhaseTLS}, got)
	}
}
