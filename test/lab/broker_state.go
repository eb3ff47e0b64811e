package lab

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
)

// EventKind is what happened to a client at a broker.
type EventKind string

const (
	ClientConnected    EventKind = "connected"
	ClientRefused      EventKind = "refused"
	ClientDisconnected EventKind = "disconnected" // by its own DISCONNECT
	ClientLost         EventKind = "lost"         // FIN or RST without DISCONNECT, or a protocol error
	ClientExpired      EventKind = "expired"      // silent for longer than its grace
	ClientTakenOver    EventKind = "taken over"
	ClientCut          EventKind = "cut"    // by Cut, CutAll or Restart
	ClientKicked       EventKind = "kicked" // by Disconnect or DisconnectAll
	WillPublished      EventKind = "will published"
	WillSwallowed      EventKind = "will swallowed"
	SessionRemoved     EventKind = "session removed"
)

// BrokerEvent is something that happened to a client at a broker.
type BrokerEvent struct {
	Time     time.Time
	Kind     EventKind
	ClientID string
}

// BrokerState is the state of the clients at a broker. Each list is sorted, and nil when empty.
type BrokerState struct {
	// Clients are the ids of the connected clients. An id of two clients occurs twice.
	Clients []string
	// Sessions are the ids of clients that are away and whose session is kept.
	Sessions []string
	// Subscriptions are those of all sessions: client id, space, filter.
	Subscriptions []string
	// Queued are the messages that wait for clients that are away: client id, space, topic.
	Queued []string
	// Wills are the ids of clients whose Will waits for its Will Delay Interval.
	Wills []string
	// Retained are the topics of retained messages.
	Retained []string
}

// State returns the current state.
func (b *Broker) State() BrokerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	var state BrokerState
	for c := range b.clients {
		state.Clients = append(state.Clients, c.conn.ClientID)
	}
	for id, s := range b.sessions {
		for filter := range s.filters {
			state.Subscriptions = append(state.Subscriptions, id+" "+filter)
		}
		if s.will != nil {
			state.Wills = append(state.Wills, id)
		}
		if s.client != nil {
			continue
		}
		state.Sessions = append(state.Sessions, id)
		for _, m := range s.queue {
			state.Queued = append(state.Queued, id+" "+m.topic)
		}
	}
	state.Retained = slices.Sorted(maps.Keys(b.retained))
	for _, list := range [][]string{state.Clients, state.Sessions, state.Subscriptions, state.Queued, state.Wills} {
		slices.Sort(list)
	}
	return state
}

// WaitState returns once the state is the wanted one. The zero value is a broker where nothing
// remains. If the state does not come, the test fails. Inside a bubble the time is virtual.
func (b *Broker) WaitState(want BrokerState) {
	b.t.Helper()
	deadline := time.Now().Add(readyTimeout)
	for {
		diff := cmp.Diff(want, b.State())
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("after %v the broker has (-want +got):\n%s", readyTimeout, diff)
		}
		time.Sleep(pollInterval)
	}
}

// Connects returns the CONNECTs of the clients so far, in order, including the refused ones.
func (b *Broker) Connects() []Connect {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.connects)
}

// Events returns the events so far, in order, of the clients whose id begins with a prefix. The
// empty prefix selects all clients.
func (b *Broker) Events(prefix string) []BrokerEvent {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.events), func(e BrokerEvent) bool { return !strings.HasPrefix(e.ClientID, prefix) })
}

func (b *Broker) record(kind EventKind, clientID string) {
	b.events = append(b.events, BrokerEvent{time.Now(), kind, clientID})
}
