package events

import (
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	mosquittoPrefix = "$SYS/broker/log/"
	// mosquittoLine is the length of a line that was cut off [logging.c: char log_line[1000]].
	mosquittoLine = 999
	// mosquittoStamp is the maximum length of the time stamp before a line. Its format is free
	// (log_timestamp_format).
	mosquittoStamp = 64

	// The broker writes the lines of one closing in one turn of its loop.
	heldFor    = 5 * time.Second
	echoFor    = 5 * time.Second
	takenFor   = 2 * time.Second
	acceptedIn = time.Minute
)

// newMosquitto reads the log lines of `log_dest topic` in the wording of 1.4 to 2.1, such as:
//
//	New client connected from <address>:<port> as <id> (p2, c1, k60, u'<user>').
//	Client <id> closed its connection.                                     until 2.1.0
//	Client <id> disconnected, session taken over.                          2.1.0
//	Client <id> [<address>:<port>] disconnected: <verdict>.                from 2.1.1
//	Client <id> disconnected: <system's error>.
//
// An identifier may contain any of these words, so a line is read from both ends. Sources: loop.c,
// handle_connect.c, net.c and net_mosq.c.
func newMosquitto() *Dialect {
	return &Dialect{
		Name:       dialects.Mosquitto,
		Filters:    []string{mosquittoPrefix + "E", mosquittoPrefix + "W", mosquittoPrefix + "N"},
		Advice:     "Set log_dest topic, connection_messages true, and log_type error, warning and notice in mosquitto.conf, and allow the client to read $SYS/broker/log/#.",
		Outcomes:   mosquittoOutcomes(),
		maxPayload: 4096,
		newReader:  func(own func(string) bool) reader { return &mosquitto{recent: newRecent(), own: own} },
	}
}

type mosquitto struct {
	*recent
	held held
	// own reports whether an identifier is one of ours; nil: none is.
	own func(clientID string) bool
	// from has the addresses from which our own clients connected last, by identifier.
	from map[string][]string
}

// ownAddresses is how many addresses are kept for a client of ours: during a takeover it has two
// connections.
const ownAddresses = 4

// mosquittoLines are the kinds of lines that are read, by their first words.
var mosquittoLines = []struct {
	begin string
	read  func(m *mosquitto, rest string, at time.Time) (told, error)
	cut   bool // the beginning of the line is enough to read it
}{
	{"New connection from ", (*mosquitto).accepted, true},
	{"New client connected from ", (*mosquitto).connected, true},
	{"New bridge connected from ", (*mosquitto).connected, true},
	{"Client ", (*mosquitto).client, false},
	{"Bad socket read/write on client ", (*mosquitto).badSocket, false},
	{"Socket error on client ", (*mosquitto).socketError, false},
	{"OpenSSL Error", (*mosquitto).openSSL, true},
	{"Unable to accept new connection, ", (*mosquitto).exhausted, true},
}

func (m *mosquitto) read(topic string, payload []byte, at time.Time) (told, error) {
	switch level, _ := strings.CutPrefix(topic, mosquittoPrefix); level {
	case "N", "E", "W":
	default:
		return told{}, nil
	}
	line := string(payload)
	for _, start := range lineStarts(line) {
		for i := range mosquittoLines {
			l := &mosquittoLines[i]
			rest, ok := strings.CutPrefix(line[start:], l.begin)
			switch {
			case !ok:
			case len(line) >= mosquittoLine && !l.cut:
				return told{}, ErrUnparsed
			default:
				return l.read(m, rest, at)
			}
		}
	}
	return told{}, nil
}

// lineStarts returns the positions where a line may begin: at the start, or after the time stamp.
func lineStarts(line string) []int {
	starts := []int{0}
	stamp := line[:min(len(line), mosquittoStamp)]
	digits := len(stamp) - len(strings.TrimLeft(stamp, "0123456789"))
	if digits > 0 && strings.HasPrefix(stamp[digits:], ": ") {
		return append(starts, digits+2) // the default format: the stamp ends here
	}
	if !strings.ContainsAny(stamp, "0123456789") {
		return starts
	}
	for i := 0; ; {
		j := strings.Index(stamp[i:], ": ")
		if j < 0 {
			return starts
		}
		i += j + 2
		starts = append(starts, i)
	}
}

// accepted reads that a TCP connection came in, which is not a client yet. 2.0 logs no such line
// for websockets.
func (m *mosquitto) accepted(rest string, at time.Time) (told, error) {
	address, _, _ := strings.Cut(rest, " ")
	m.note(m.fact("accepted", address), at, 0)
	return told{}, nil
}

// connected reads "<address>:<port> as <id> (p2, c1, k60, u'<user>')." The line of 1.4 has neither
// port nor p.
func (m *mosquitto) connected(rest string, at time.Time) (told, error) {
	address, rest, ok := strings.Cut(rest, " as ")
	if !ok || strings.Contains(address, " ") {
		return told{}, ErrUnparsed
	}
	id, exact := connectedID(rest)
	if exact {
		m.remember(id, address)
	}
	m.take(m.fact("closed", id), at, echoFor)
	m.take(m.fact("closed", id+" ["+address+"]"), at, echoFor)
	if m.take(m.fact("accepted", address), at, acceptedIn) {
		// Over TCP no more lines about the old connection follow.
		m.take(m.fact("taken", id), at, takenFor)
	}
	t := told{Event: Event{Kind: Connect}}
	if exact {
		t.client = id
	}
	return t, nil
}

// connectedParams matches what follows the identifier, and captures the user name.
var connectedParams = regexp.MustCompile(`^ \((?:p\d+, )?c[01], k\d+(?:, u'(.*)')?\)\.?$`)

// connectedID reads the identifier from "<id> (p2, c1, k60, u'<user>').". Identifier and user name may
// contain such a text too, and the line may be cut off. exact reports whether there is one way to
// read it: if the user name has no quote, neither can move the place where the identifier ends.
func connectedID(s string) (id string, exact bool) {
	id = s
	for i := range s {
		if !strings.HasPrefix(s[i:], " (p") && !strings.HasPrefix(s[i:], " (c") {
			continue
		}
		id = s[:i]
		if params := connectedParams.FindStringSubmatch(s[i:]); params != nil {
			return id, !strings.Contains(params[1], "'")
		}
	}
	return id, false // of a line that was cut off
}

// remember keeps the address from which a client of ours connected.
func (m *mosquitto) remember(id, address string) {
	if m.own == nil || !m.own(id) {
		return
	}
	if m.from == nil {
		m.from = map[string][]string{}
	}
	if len(m.from) > maxOwn { // of clients that are ours no more
		maps.DeleteFunc(m.from, func(id string, _ []string) bool { return !m.own(id) })
	}
	all := append(m.from[id], address)
	m.from[id] = all[max(0, len(all)-ownAddresses):]
}

// maxOwn is how many identifiers of ours are kept before it is checked which still are ours.
const maxOwn = 1000

// isOurs reports whether a line about an identifier and an address can be about a client of ours. A
// device may have an identifier that ends in an address, so the address must be one of ours.
func (m *mosquitto) isOurs(id, address string) bool {
	known := m.from[id]
	return address == "" || len(known) == 0 || slices.Contains(known, address)
}

// client reads a line that begins with "Client ".
func (m *mosquitto) client(rest string, at time.Time) (told, error) {
	if subject, v, ok := mosquittoVerdict(rest); ok {
		return m.closed(subject, v, at)
	}
	switch {
	case strings.HasSuffix(rest, " appears to be using TLS to connect to a non-TLS listener."):
		m.held = held{failed(disconnect.TLSError, disconnect.ByClient), plainListener, at}
	case strings.HasPrefix(rest, "connection from "):
		for _, r := range mosquittoRefusals {
			if strings.HasSuffix(rest, r.tail) {
				return told{Event: r.Event}, nil
			}
		}
		if _, text, ok := strings.Cut(rest, " failed: "); ok {
			h := tlsFault(text, at)
			h.Kind = ConnectFailure
			return told{Event: h.Event}, nil
		}
		return told{}, ErrUnparsed
	case strings.Contains(rest, " negotiated ") && !strings.HasSuffix(rest, "."): // <protocol> cipher <name>
	default:
		return told{}, ErrUnparsed
	}
	return told{}, nil
}

// badSocket reads "<id>: <mosquitto_strerror>".
func (m *mosquitto) badSocket(rest string, at time.Time) (told, error) {
	i := strings.LastIndex(rest, ": ")
	if i < 0 {
		return told{}, ErrUnparsed
	}
	return m.closed(rest[:i], mosquittoError(rest[i+2:]), at)
}

// socketError reads the line of 1.x for endings that have no line of their own. It can also follow
// a more exact line.
func (m *mosquitto) socketError(rest string, at time.Time) (told, error) {
	id, ok := strings.CutSuffix(rest, ", disconnecting.")
	if !ok {
		return told{}, ErrUnparsed
	}
	return m.closed(id, verdict{Event: ended(disconnect.Other, disconnect.ByUnknown), echo: true}, at)
}

// exhausted reads that the broker has no file descriptor left for a connection.
func (m *mosquitto) exhausted(string, time.Time) (told, error) {
	return told{Event: mosquittoExhausted}, nil
}

// closed returns the event for a closing, from its verdict, from the client that the line names,
// and from earlier lines.
func (m *mosquitto) closed(subject string, v verdict, at time.Time) (told, error) {
	id, address := splitSubject(subject)
	h := m.held
	m.held = held{}
	if h.at.IsZero() || at.Sub(h.at) >= heldFor {
		h = held{}
	}
	t := told{Event: v.Event, client: id}
	if !m.isOurs(id, address) {
		t.client = subject
	}
	if !v.known && nameless(id, address) {
		t.client = ""
		t.Kind = ConnectFailure
		if v.Reason == disconnect.KeepaliveTimeout {
			t.Reason = disconnect.IdleTimeout
		}
	}
	if r, ok := h.judge(v, t.Kind); ok {
		t.Reason, t.Initiator = r.Reason, r.Initiator
	}
	switch closing := m.fact("closed", subject); {
	case t.client == "":
	case v.echo:
		if m.take(closing, at, echoFor) || m.take(m.fact("taken", id), at, takenFor) {
			return told{}, nil
		}
	case v.Reason == disconnect.SessionTakenOver && address == "":
		// Over websockets, 2.0 closes the old connection after the new one came in. It logs that as
		// a closing by the client.
		m.note(m.fact("taken", id), at, 0)
	default:
		m.note(closing, at, 0)
	}
	return t, nil
}

// splitSubject splits "<id> [<address>:<port>]", the form from 2.1.1 on. In earlier versions
// address is empty.
func splitSubject(s string) (id, address string) {
	i := strings.LastIndex(s, " [")
	if i < 0 || !strings.HasSuffix(s, "]") {
		return s, ""
	}
	address = s[i+2 : len(s)-1]
	if strings.ContainsAny(address, " []") || !strings.Contains(address, ":") {
		return s, ""
	}
	return s[:i], address
}

// nameless reports whether the broker does not know the client's identifier, because it accepted no
// CONNECT.
func nameless(id, address string) bool {
	switch id {
	case "", "<unknown>", "(null)":
		return true
	}
	if address != "" {
		return id == address[:strings.LastIndexByte(address, ':')]
	}
	_, err := netip.ParseAddr(id)
	return err == nil
}
