package disconnect

import (
	"cmp"
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pingreq/pingreq/internal/durations"
)

// fromEOF handles the orderly end of a stream: a FIN, with or without close_notify before it.
func fromEOF(o *Observation) (Ending, bool) {
	abnormal, _ := errors.AsType[*websocket.CloseError](o.Err)
	switch {
	case errors.Is(o.Err, io.EOF):
	case errors.Is(o.Err, io.ErrUnexpectedEOF):
	case errors.Is(o.Err, io.ErrClosedPipe): // the EOF of net.Pipe
	case abnormal != nil: // 1006, gorilla's EOF; fromCloseFrame handles the other codes
	case o.Err == nil && o.Deadline == DeadlineNone &&
		(o.RawEOF || o.CloseNotify || o.WebsocketCode == websocket.CloseAbnormalClosure):
	default:
		return Ending{}, false
	}
	evidence, detail := FromFIN, "FIN"
	switch {
	case o.CloseNotify:
		evidence, detail = FromCloseNotify, "TLS close_notify"
	case o.TLS && o.Phase != PhaseTLS:
		detail = "FIN without close_notify"
	}
	if errors.Is(o.Err, io.ErrUnexpectedEOF) && o.Phase != PhaseWebsocket { // net/http returns it in any case
		detail += " in the middle of a packet"
	}
	return closed(o, evidence, detail), true
}

// closed handles a close without a reason (FIN, close_notify, RST, an empty close frame). The
// result depends on when it came.
func closed(o *Observation, evidence Evidence, detail string) Ending {
	when := &o.When
	switch o.Phase {
	case PhaseTLS:
		if when.NothingCame() {
			return unanswered(o, TLSError, HandshakeTimeout, evidence, detail+" before any answer to the TLS ClientHello")
		}
		return ending(TLSError, ByServer, evidence, detail+" during the TLS handshake")
	case PhaseWebsocket:
		if when.NothingCame() {
			return unanswered(o, WebsocketError, HandshakeTimeout, evidence, detail+" before any answer to the HTTP request")
		}
		return ending(WebsocketError, ByServer, evidence, detail+" during the websocket handshake")
	case PhaseResolve, PhaseTCP, PhaseProxy:
		return ending(ConnectionRefused, ByServer, evidence, detail)
	case PhaseMQTT:
		if o.BytesReceived == 0 {
			return unanswered(o, ConnectionRefused, ConnackTimeout, evidence, detail+" before any answer to CONNECT")
		}
	default:
		if o.Keepalive > 0 && o.SendIdle >= time.Duration(leastGrace*float64(o.Keepalive)) {
			initiator := ByServer
			if o.LocalFault {
				initiator = ByClient
			}
			return ending(KeepaliveTimeout, initiator, evidence,
				detail+" "+durations.Text(o.SendIdle)+" after our last packet, keepalive "+durations.Text(o.Keepalive)+when.history())
		}
		detail += when.story()
	}
	reason, initiator := PeerClosed, ByUnknown
	if evidence == FromRST {
		reason = ConnectionReset
	}
	if evidence == FromCloseNotify || evidence == FromDisconnectPacket || o.Transport == "unix" {
		initiator = ByServer // nothing on the path can have caused it
	}
	return ending(reason, initiator, evidence, detail)
}

// leastGrace is the smallest multiple of the keepalive after which a broker that we know gives a
// client up: 1.25 in NanoMQ's sample configuration. A little less allows for a packet that was long on
// its way. A close before that has another cause.
const leastGrace = 1.2

// unanswered is the ending of a connection that was closed before any answer to what we sent first. A
// server that refuses a client closes at once. One that closes after seconds wanted to answer and
// could not, as RabbitMQ in a resource alarm, so the reason is that of an answer that does not come.
func unanswered(o *Observation, prompt, late Reason, evidence Evidence, detail string) Ending {
	if o.When.SentAgo > 0 || o.When.Age > 0 {
		detail += ", after " + durations.Text(cmp.Or(o.When.SentAgo, o.When.Age))
	}
	if cmp.Or(o.When.SentAgo, o.When.Age) >= patientWait {
		return ending(late, ByServer, evidence, detail)
	}
	return ending(prompt, ByServer, evidence, detail)
}
