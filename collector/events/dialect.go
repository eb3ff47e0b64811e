package events

import (
	"errors"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// ErrUnparsed is the error for a message that should report a client event but cannot be read. It
// is malformed, cut off, larger than the broker's own messages, or worded in a way that the dialect
// does not know. The error contains nothing of the message.
var ErrUnparsed = errors.New("client event cannot be read")

// Dialect describes how one kind of broker reports client events.
type Dialect struct {
	// Name is the broker's name: mosquitto, emqx, nanomq, aws or aedes.
	Name string
	// Filters are the topic filters to subscribe to, at any QoS. They do not overlap.
	Filters []string
	// Advice says what to switch on if the broker sends no events.
	Advice string
	// Outcomes are the events that the dialect can report, each once, without node and owner.
	Outcomes []Event

	maxPayload int // bytes
	// newReader makes a reader. own reports whether an identifier is one of ours; nil: none is.
	newReader func(own func(clientID string) bool) reader
}

// reader reads the messages of one broker. A told without a kind, returned without an error, means
// that there is nothing to count.
type reader interface {
	read(topic string, payload []byte, at time.Time) (told, error)
}

// told is what a message reported. The client identifier never leaves the package.
type told struct {
	Event
	client string // empty if the broker does not know it
}

// Dialects lists all dialects, sorted by name.
func Dialects() []*Dialect {
	return []*Dialect{newAedes(), newAWS(), newEMQX(), newMosquitto(), newNanoMQ()}
}

// Named finds a dialect by its name.
func Named(name string) (*Dialect, bool) {
	all := Dialects()
	if i := slices.IndexFunc(all, func(d *Dialect) bool { return d.Name == name }); i >= 0 {
		return all[i], true
	}
	return nil, false
}

// Parser reads the client events of one broker. It is not safe for concurrent use.
type Parser struct {
	dialect *Dialect
	reader  reader
	own     func(clientID string) bool
	self    string
	onNode  func(node string) // nil: not called
}

// NewParser makes a parser for one broker. own reports whether a client identifier is one of ours.
// If own is nil, no client is ours.
func (d *Dialect) NewParser(own func(clientID string) bool) *Parser {
	return &Parser{dialect: d, reader: d.newReader(own), own: own}
}

// Parse reads a message that arrived at a time. The times of successive messages must not go back.
// ok reports whether there is an event. A message that is not an event, such as a retained one or a
// log line about something else, returns false and no error. The only error is [ErrUnparsed].
func (p *Parser) Parse(m *mqtt.Message, at time.Time) (e Event, ok bool, err error) {
	if m.Retain {
		return Event{}, false, nil
	}
	if len(m.Payload) > p.dialect.maxPayload {
		return Event{}, false, ErrUnparsed
	}
	t, err := p.reader.read(m.Topic, m.Payload, at)
	if err != nil || t.Kind == 0 {
		return Event{}, false, err
	}
	t.Own = t.client != "" && p.own != nil && p.own(t.client)
	if t.Kind == Connect && p.self != "" && t.client == p.self && t.Node != "" && p.onNode != nil {
		p.onNode(t.Node)
	}
	return t.Event, true, nil
}

// outcomes collects events without duplicates.
type outcomes []Event

func (o *outcomes) add(e Event) {
	if !slices.Contains(*o, e) {
		*o = append(*o, e)
	}
}
