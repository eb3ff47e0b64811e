package events

import "github.com/pingreq/pingreq/synthetic/disconnect"

// Kind is what happened to a client.
type Kind uint8

// The kinds of events.
const (
	Connect        Kind = iota + 1 // the broker accepted a CONNECT
	ConnectFailure                 // an attempt ended before the broker accepted it
	Disconnect                     // an accepted connection ended
)

// String gives the kind as a label value.
func (k Kind) String() string {
	switch k {
	case Connect:
		return "connect"
	case ConnectFailure:
		return "connect_failure"
	case Disconnect:
		return "disconnect"
	}
	return "none"
}

// Event is what happened to a client, without a word on which one.
type Event struct {
	Kind Kind
	// Reason and Initiator are empty for a Connect.
	Reason    disconnect.Reason
	Initiator disconnect.Initiator
	// Own tells that the client is one of ours.
	Own bool
	// Node is the broker's node, where the topic names one. It comes from the broker and is no label as it is.
	Node string
}

// outcome is the event without what differs from client to client: a bounded value.
func (e Event) outcome() Event { return Event{Kind: e.Kind, Reason: e.Reason, Initiator: e.Initiator} }

// ended is the end of an accepted connection.
func ended(r disconnect.Reason, i disconnect.Initiator) Event {
	return Event{Kind: Disconnect, Reason: r, Initiator: i}
}

// failed is an attempt to connect that failed.
func failed(r disconnect.Reason, i disconnect.Initiator) Event {
	return Event{Kind: ConnectFailure, Reason: r, Initiator: i}
}
