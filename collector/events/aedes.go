package events

import (
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// newAedes reads $SYS/<broker id>/new/clients and $SYS/<broker id>/disconnect/clients. The payload
// is the client identifier (aedes 0.4x to 1.x, aedes.js). aedes reports no reason, and reports
// nothing about clients that it refused.
func newAedes() *Dialect {
	return &Dialect{
		Name:       dialects.Aedes,
		Filters:    []string{"$SYS/+/new/clients", "$SYS/+/disconnect/clients"},
		Advice:     "aedes always publishes client events: allow the client to read $SYS/+/new/clients and $SYS/+/disconnect/clients.",
		Outcomes:   []Event{{Kind: Connect}, aedesDisconnect},
		maxPayload: 1<<16 - 1, // the longest client identifier [MQTT5-1.5.4]
		newReader:  func(func(string) bool) reader { return aedes{} },
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
	if len(payload) == 0 { // aedes assigns an identifier to a client without one
		return told{}, ErrUnparsed
	}
	t.Node = broker
	return t, nil
}
