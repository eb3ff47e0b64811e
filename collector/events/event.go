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

// String returns the kind as a label value.
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

// Event is what happened to a client. It does not identify the client.
type Event struct {
	Kind Kind
	// Reason and Initiator are empty for a Connect.
	Reason    disconnect.Reason
	Initiator disconnect.Initiator
	// Own reports whether the client is one of ours.
	Own bool
	// Node is the broker's node, if the topic names one. The broker chose this text, so it must not
	// become a label unchecked.
	Node string
}

// outcome returns the event without what differs from client to client, so the number of values is
// bounded.
func (e Event) outcome() Event { return Event{Kind: e.Kind, Reason: e.Reason, Initiator: e.Initiator} }

// ended returns the event for the end of an accepted connection.
func ended(r disconnect.Reason, i disconnect.Initiator) Event {
	return Event{Kind: Disconnect, Reason: r, Initiator: i}
}

// failed returns the event for an attempt to connect that failed.
func failed(r disconnect.Reason, i disconnect.Initiator) Event {
	return Event{Kind: ConnectFailure, Reason: r, Initiator: i}
}
