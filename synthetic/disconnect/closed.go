package disconnect

import (
	"errors"
	"io"

	"github.com/gorilla/websocket"
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
	if errors.Is(o.Err, io.ErrUnexpectedEOF) {
		detail += " in the middle of a packet"
	}
	return closed(o, evidence, detail), true
}

// closed handles a close without a reason (FIN, close_notify, RST, an empty close frame). The
// result depends on when it came.
func closed(o *Observation, evidence Evidence, detail string) Ending {
	switch o.Phase {
	case PhaseTLS:
		return ending(TLSError, ByServer, evidence, detail+" during the TLS handshake")
	case PhaseWebsocket:
		return ending(WebsocketError, ByServer, evidence, detail+" during the websocket handshake")
	case PhaseResolve, PhaseTCP, PhaseProxy:
		return ending(ConnectionRefused, ByServer, evidence, detail)
	case PhaseMQTT:
		if o.BytesReceived == 0 {
			return ending(ConnectionRefused, ByServer, evidence, detail+" before any answer to CONNECT")
		}
	default:
		if o.Keepalive > 0 && o.SendIdle >= o.Keepalive {
			initiator := ByServer
			if o.LocalFault {
				initiator = ByClient
			}
			return ending(KeepaliveTimeout, initiator, evidence,
				detail+" "+seconds(o.SendIdle)+" after our last packet, keepalive "+seconds(o.Keepalive))
		}
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
