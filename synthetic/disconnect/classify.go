package disconnect

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strings"

	"github.com/gorilla/websocket"
)

// Classify says why a connection was refused or ended. It accepts any observation: reason,
// initiator and evidence are always values of their lists. It never panics, even if a method of
// o.Err does.
func Classify(o Observation) (e Ending) {
	defer func() {
		if recover() != nil {
			e = finish(&o, ending(Other, ByUnknown, FromLocal, "an error without a readable text"))
		}
	}()
	return classify(&o)
}

func classify(o *Observation) Ending {
	for _, step := range steps {
		if e, ok := step(o); ok {
			return finish(o, e)
		}
	}
	return finish(o, leftover(o))
}

// steps look for the kinds of evidence, the strongest first. The first step that finds something
// decides.
var steps = [...]func(*Observation) (Ending, bool){
	fromPacket,
	fromIntent,
	fromForeign,
	fromOwnError,
	fromOwnDisconnect,
	fromHTTP,
	fromCloseFrame,
	fromResolver,
	fromSOCKS,
	fromTLS,
	fromErrno,
	fromEOF,
	fromDeadline,
	fromOwnClose,
}

func ending(r Reason, i Initiator, ev Evidence, detail string) Ending {
	return Ending{Reason: r, Initiator: i, Evidence: ev, Code: -1, Detail: detail}
}

func finish(o *Observation, e Ending) Ending {
	if o.Phase.Valid() {
		e.Phase = o.Phase
	}
	found := e.When
	e.When = o.When
	e.When.Speaks, e.When.Certificate, e.When.LargeLost = cmp.Or(found.Speaks, o.When.Speaks), found.Certificate, found.LargeLost
	e.Detail = cut(clean(e.Detail, maxDetail), maxDetail)
	return e
}

// fromForeign handles a server that answers CONNECT in another protocol.
func fromForeign(o *Observation) (Ending, bool) {
	if o.Phase != PhaseMQTT {
		return Ending{}, false
	}
	p := Recognize(o.First)
	if p == "" {
		return Ending{}, false
	}
	e := ending(ProtocolError, ByServer, FromLocal, "the answer is "+p.Name()+", not MQTT")
	e.When.Speaks = p
	return e, true
}

// fromOwnError handles what we found in the input from the server: it is malformed, or too much.
func fromOwnError(o *Observation) (Ending, bool) {
	switch {
	case errors.Is(o.Err, ErrFlood):
		return ending(Flood, ByServer, FromLocal, o.Err.Error()), true
	case errors.Is(o.Err, ErrOwnLimit):
		return ending(Other, ByClient, FromLocal, o.Err.Error()), true
	case errors.Is(o.Err, ErrProtocol):
		return ending(ProtocolError, ByServer, FromLocal, o.Err.Error()), true
	case errors.Is(o.Err, websocket.ErrReadLimit):
		return ending(ProtocolError, ByServer, FromLocal, "a websocket message larger than our limit"), true
	}
	return Ending{}, false
}

// fromOwnClose handles traces of our own actions. It is a late step, because we often close after a
// deadline passed or the peer closed; then that is the cause.
func fromOwnClose(o *Observation) (Ending, bool) {
	switch {
	case errors.Is(o.Err, context.Canceled), errors.Is(o.Err, net.ErrClosed), errors.Is(o.Err, websocket.ErrCloseSent):
		return ending(ClientDisconnect, ByClient, FromLocal, "closed on purpose"), true
	}
	return Ending{}, false
}

// leftover handles what has no typed evidence, by the text of the error and by the phase.
func leftover(o *Observation) Ending {
	if o.Err == nil {
		return ending(Other, ByUnknown, FromLocal, "nothing that was observed explains it")
	}
	text := clean(innermost(o.Err).Error(), maxText)
	switch {
	case o.Phase == PhaseTLS, o.TLS && strings.HasPrefix(text, "tls: "):
		reason, initiator := tlsText(text)
		return ending(reason, initiator, FromLocal, text)
	case o.Phase == PhaseWebsocket, strings.HasPrefix(text, "websocket: "):
		return ending(WebsocketError, ByServer, FromLocal, text)
	}
	return ending(Other, ByUnknown, FromLocal, text)
}

// innermost unwraps err. The outer texts name addresses and URLs; the innermost one names the
// fault.
func innermost(err error) error {
	for range 64 { // protects against an endless chain
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return err
}
