package mqtt

import (
	"errors"
	"time"
)

// request is a SUBSCRIBE or UNSUBSCRIBE that is not yet answered.
type request struct {
	sent    time.Time
	answer  EventKind
	filters int
}

// Subscribe sends a SUBSCRIBE. A Suback event with the returned identifier answers it.
func (s *Session) Subscribe(filters ...Filter) (uint16, error) {
	for _, f := range filters {
		if err := checkFilter(f.Topic); err != nil {
			return 0, err
		}
	}
	return s.ask(Suback, len(filters), func(id uint16) packet { return subscribePacket{id: id, filters: filters} })
}

// Unsubscribe sends an UNSUBSCRIBE. An Unsuback event with the returned identifier answers it.
func (s *Session) Unsubscribe(filters ...string) (uint16, error) {
	for _, f := range filters {
		if err := checkFilter(f); err != nil {
			return 0, err
		}
	}
	return s.ask(Unsuback, len(filters), func(id uint16) packet { return unsubscribePacket{id: id, filters: filters} })
}

func (s *Session) ask(answer EventKind, filters int, p func(id uint16) packet) (uint16, error) {
	if filters == 0 {
		return 0, errors.New("no topic filter given") // [MQTT3-3.8.3-3, MQTT5-3.8.3-2]
	}
	id := s.state.id(s.asked)
	if id == 0 {
		return 0, ErrWindow
	}
	start, err := s.write(p(id))
	if err != nil {
		return 0, err
	}
	if s.subs == nil {
		s.subs = make(map[uint16]request)
	}
	s.subs[id] = request{start, answer, filters}
	s.listening = s.listening || answer == Suback
	return id, nil
}

func (s *Session) asked(id uint16) bool { _, ok := s.subs[id]; return ok }

// subscribed handles SUBACK and UNSUBACK.
func (s *Session) subscribed(e *Event) (done bool, err error) {
	r, ok := s.subs[e.ID]
	if !ok || r.answer != e.Kind {
		return false, nil
	}
	// [MQTT3-3.8.4-5, MQTT5-3.8.4-6]
	if len(e.Codes) != r.filters && (e.Kind == Suback || s.set.version == V5) {
		return false, malformed("an answer with %d codes to %d topic filters", len(e.Codes), r.filters)
	}
	if delete(s.subs, e.ID); len(s.subs) == 0 {
		s.subs = nil
	}
	e.RTT = e.At.Sub(r.sent)
	return true, nil
}
