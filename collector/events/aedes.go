package events

import (
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// newAedes reads $SYS/<broker id>/new/clients and $SYS/<broker id>/disconnect/clients, whose payload is the client
// identifier (aedes 0.4x to 1.x, aedes.js). aedes tells no reason, and nothing of clients that it refused.
func newAedes() *Dialect {
	return &Dialect{
		Name:       "aedes",
		Filters:    []string{"$SYS/+/new/clients", "$SYS/+/disconnect/clients"},
		Advice:     "aedes always tells: allow the client to read $SYS/+/new/clients and $SYS/+/disconnect/clients.",
		Outcomes:   []Event{{Kind: Connect}, aedesDisconnect},
		maxPayload: 1<<16 - 1, // of a client identifier [MQTT-1.5.4]
		newReader:  func() reader { return aedes{} },
	}
}

var aedesDisconnect = ended(disconnect.Other, disconnect.ByUnknown)

type aedes struct{}

func (aedes) read(topic string, payload []byte, _ time.Time) (told, error) {
	rest, _ := strings.CutPrefix(topic, "$SYS/")
	broker, what, _ := strings.Cut(rest, "/")
	t := told{client: string(payload)}
	switch what {
	case "new/clients":
		t.Kind = Connect
	case "disconnect/clients":
		t.Event = aedesDisconnect
	default:
		return told{}, nil
	}
	if len(payload) == 0 { // aedes gives a client without identifier one
		return told{}, ErrUnparsed
	}
	t.Node = broker
	return t, nil
}
