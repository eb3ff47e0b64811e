package mqtt

import (
	"cmp"
	"slices"
	"time"
)

// State is what outlives a connection if its session is resumed: the messages in flight in both
// directions and the packet identifiers in use [MQTT3-4.1.0-1, MQTT3-4.4.0-1, MQTT5-4.4.0-1]. Only
// one session at a time may use it.
type State struct {
	lastID uint16
	lastNo uint64
	out    map[uint16]*flight
	in     map[uint16]struct{} // QoS 2 messages received, no PUBREL yet [MQTT3-4.3.3-2]
}

// flight is a PUBLISH at QoS 1 or 2 that is not yet completely acknowledged.
type flight struct {
	no       uint64 // order of publishing
	message  Message
	released bool // PUBREC came and PUBREL was sent; PUBCOMP is awaited
	sent     time.Time
}

// NewState returns the state of a new session.
func NewState() *State { return &State{} }

// Pending returns how many of our messages are in flight.
func (s *State) Pending() int { return len(s.out) }

// id returns a free packet identifier, or 0 if none is free. taken reports identifiers that are
// used elsewhere.
func (s *State) id(taken func(uint16) bool) uint16 {
	for range 65535 {
		if s.lastID++; s.lastID == 0 {
			s.lastID = 1
		}
		if s.out[s.lastID] == nil && !taken(s.lastID) {
			return s.lastID
		}
	}
	return 0
}

func (s *State) add(id uint16, m Message, sent time.Time) {
	if s.out == nil {
		s.out = make(map[uint16]*flight)
	}
	s.lastNo++
	s.out[id] = &flight{no: s.lastNo, message: m, sent: sent}
}

// pending returns the identifiers in flight in the order of publishing [MQTT3-4.6.0-1,
// MQTT5-4.6.0-1].
func (s *State) pending() []uint16 {
	ids := make([]uint16, 0, len(s.out))
	for id := range s.out {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uint16) int { return cmp.Compare(s.out[a].no, s.out[b].no) })
	return ids
}

// clear discards everything, because the broker has no session for us.
func (s *State) clear() { s.out, s.in = nil, nil }
