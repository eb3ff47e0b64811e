package events

import (
	"errors"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// ErrUnparsed says that a message should have told something of a client, and cannot be read: malformed, cut off,
// larger than a broker sends it, or in words that the dialect does not know. It holds nothing of the message.
var ErrUnparsed = errors.New("client event cannot be read")

// Dialect is how one kind of broker tells of its clients.
type Dialect struct {
	// Name is that of the broker: mosquitto, emqx, nanomq, aws or aedes.
	Name string
	// Filters are the topic filters to subscribe to, at any QoS; they do not overlap.
	Filters []string
	// Advice is a sentence on what to switch on at a broker that tells nothing.
	Advice string
	// Outcomes are the events that the dialect can tell, each once, without node and owner.
	Outcomes []Event

	maxPayload int // bytes
	newReader  func() reader
}

// reader reads the messages of one broker. A told without kind, and no error, means that there is nothing to count.
type reader interface {
	read(topic string, payload []byte, at time.Time) (told, error)
}

// told is what a message told. The client never leaves the package.
type told struct {
	Event
	client string // empty when the broker does not know it
}

// Dialects lists all dialects, ordered by name.
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
	onNode  func(node string) // nil: nobody wants to know
}

// NewParser makes a parser for one broker. own tells whether a client identifier is one of ours; nil: none is.
func (d *Dialect) NewParser(own func(clientID string) bool) *Parser {
	return &Parser{dialect: d, reader: d.newReader(), own: own}
}

// Parse reads a message that came in at a time; the times of successive messages must not go back. ok tells that there
// is an event; a message that is none, such as a retained one or a log line about something else, is neither ok nor an
// error. The only error is [ErrUnparsed].
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

// outcomes collects events, each once.
type outcomes []Event

func (o *outcomes) add(e Event) {
	if !slices.Contains(*o, e) {
		*o = append(*o, e)
	}
}
