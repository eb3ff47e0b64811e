package disconnect

import (
	"fmt"
	"testing"
	"time"
)

// The flags of the fuzzed observation.
const (
	fuzzSent = 1 << iota
	fuzzTLS
	fuzzCloseNotify
	fuzzRawEOF
	fuzzLocalFault
	fuzzIntended
	fuzzTCP
	fuzzWrapped
)

func FuzzClassify(f *testing.F) {
	flag := func(set bool, bit uint) uint {
		if set {
			return bit
		}
		return 0
	}
	for i, d := range decisions {
		o := d.o
		tcp := o.TCP
		if tcp == nil {
			tcp = &TCPFacts{}
		}
		f.Add(string(o.Phase), o.Transport, o.Version, byte(o.Packet), o.Code,
			flag(o.PacketSent, fuzzSent)|flag(o.TLS, fuzzTLS)|flag(o.CloseNotify, fuzzCloseNotify)|flag(o.RawEOF, fuzzRawEOF)|
				flag(o.LocalFault, fuzzLocalFault)|flag(o.Intended, fuzzIntended)|flag(o.TCP != nil, fuzzTCP),
			o.ReasonString, uint(i), string(o.Deadline), int64(o.SendIdle), int64(o.Keepalive),
			tcp.Unacked, tcp.Backoff, int64(tcp.LastAckRecv), o.WebsocketCode, o.HTTPStatus, o.BytesReceived)
	}
	f.Fuzz(func(t *testing.T, phase, transport string, version, packet, code byte, flags uint, text string, errIndex uint,
		deadline string, sendIdle, keepalive int64, unacked uint32, backoff uint8, lastAck int64, wsCode, status int, received int64) {
		o := Observation{
			Phase: Phase(phase), Transport: transport, Version: version,
			Packet: PacketType(packet), Code: code, PacketSent: flags&fuzzSent != 0, ReasonString: text,
			Err: decisions[errIndex%uint(len(decisions))].o.Err, Deadline: Deadline(deadline),
			TLS: flags&fuzzTLS != 0, CloseNotify: flags&fuzzCloseNotify != 0, RawEOF: flags&fuzzRawEOF != 0,
			SendIdle: time.Duration(sendIdle), Keepalive: time.Duration(keepalive), LocalFault: flags&fuzzLocalFault != 0,
			WebsocketCode: wsCode, HTTPStatus: status, BytesReceived: received, Intended: flags&fuzzIntended != 0,
		}
		if flags&fuzzTCP != 0 {
			o.TCP = &TCPFacts{Unacked: unacked, Backoff: backoff, LastAckRecv: time.Duration(lastAck)}
		}
		if flags&fuzzWrapped != 0 {
			o.Err = fmt.Errorf("%s: %w", text, o.Err)
		}
		e := classify(&o) // without the recover of Classify
		checkEnding(t, o, e)
		if again := Classify(o); again != e {
			t.Errorf("two calls differ: %s, then %s", e, again)
		}
		evidence, told := packetEvidence[o.Packet]
		told = told && !o.PacketSent && (o.Code >= 0x80 || o.Packet == Disconnect || o.Packet == Connack && o.Code != 0)
		switch {
		case told && (e.Evidence != evidence || e.Initiator != ByServer || e.Code != int(o.Code)):
			t.Errorf("%s %#02x did not decide: %s", o.Packet, o.Code, e)
		case !told && o.Intended && e.Reason != ClientDisconnect:
			t.Errorf("ended on purpose, but: %s", e)
		case e.Reason == KeepaliveTimeout && !told && (o.Keepalive <= 0 || o.SendIdle < o.Keepalive) && !o.PacketSent:
			t.Errorf("idle for %s, keepalive %s, but: %s", o.SendIdle, o.Keepalive, e)
		}
	})
}
