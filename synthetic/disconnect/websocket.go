package disconnect

import (
	"errors"
	"fmt"

	"github.com/gorilla/websocket"
)

// closeCodes are the status codes of websocket close frames [RFC 6455 7.4.1, and the IANA
// registry]. 1000 and 1005 state no reason. 1006 and 1015 are never sent.
var closeCodes = map[int]codeMeaning{
	1001: {"going away", ServerShutdown},
	1002: {"protocol error", ProtocolError},
	1003: {"unsupported data", ProtocolError},
	1007: {"invalid payload data", ProtocolError},
	1008: {"policy violation", NotAuthorized},
	1009: {"message too big", ProtocolError},
	1010: {"mandatory extension", NotSupported},
	1011: {"internal error", Other},
	1012: {"service restart", ServerShutdown},
	1013: {"try again later", ServerBusy},
	1014: {"bad gateway", WebsocketError},
	3000: {"unauthorized", AuthenticationFailed},
	3003: {"forbidden", NotAuthorized},
	3008: {"timeout", IdleTimeout},
}

// closeFrame returns the code and text of a received close frame. 1006 means that the connection
// ended without one.
func closeFrame(o *Observation) (code int, text string) {
	code, text = o.WebsocketCode, o.ReasonString
	if c, ok := errors.AsType[*websocket.CloseError](o.Err); ok && code == 0 {
		code, text = c.Code, c.Text
	}
	return code, text
}

// fromCloseFrame handles a websocket close frame. Like DISCONNECT, it is the peer's own closing
// message.
func fromCloseFrame(o *Observation) (Ending, bool) {
	code, text := closeFrame(o)
	switch code {
	case 0, websocket.CloseAbnormalClosure, websocket.CloseTLSHandshake:
		return Ending{}, false
	case websocket.CloseNormalClosure:
		return closed(o, FromDisconnectPacket, withText("websocket close 1000 normal closure", text)), true
	case websocket.CloseNoStatusReceived:
		return closed(o, FromDisconnectPacket, "websocket close without a code"), true
	}
	m, known := closeCodes[code]
	switch {
	case known:
		m.name = " " + m.name
	case code < 1000 || code > 4999:
		m.reason = WebsocketError // such a code is not possible
	default:
		m.reason = Other
	}
	return ending(m.reason, ByServer, FromDisconnectPacket, withText(fmt.Sprintf("websocket close %d%s", code, m.name), text)), true
}
