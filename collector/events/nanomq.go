package events

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const nanoPrefix = "$SYS/brokers/"

// newNanoMQ reads $SYS/brokers/client_status/<client id> (0.25), $SYS/brokers/client_status
// (0.24.3) and $SYS/brokers/connected, $SYS/brokers/disconnected (before), which are always on.
// NanoMQ prints its JSON without escaping and cuts it off at 255 bytes (NanoNNG, mqtt_parser.c,
// nano_msg_notify), so it is read as text. NanoMQ reports the disconnect of a client with clean
// start 0 only when its session expires.
func newNanoMQ() *Dialect {
	o := outcomes{{Kind: Connect}, nanoUnknown}
	for _, e := range nanoCodes {
		o.add(e)
	}
	addConnackFailures(&o)
	return &Dialect{
		Name:       dialects.NanoMQ,
		Filters:    []string{nanoPrefix + "#"}, // NanoMQ publishes nothing else there
		Advice:     "NanoMQ always publishes client events: allow the client to read $SYS/brokers/#.",
		Outcomes:   sorted(o),
		maxPayload: 1024,
		newReader:  func(func(string) bool) reader { return nanomq{} },
	}
}

// nanoCodes are the values of reason_code. Most are reason codes of MQTT 5, and some of these have
// a special meaning. A value below 0x20 is NNG's error number of a failed send.
var nanoCodes = map[byte]Event{
	0x05: ended(disconnect.NetworkTimeout, disconnect.ByNetwork),  // NNG_ETIMEDOUT
	0x13: ended(disconnect.ConnectionReset, disconnect.ByUnknown), // NNG_ECONNRESET
	0x1f: ended(disconnect.PeerClosed, disconnect.ByUnknown),      // NNG_ECONNSHUT
	0x81: ended(disconnect.ProtocolError, disconnect.ByServer),
	0x82: ended(disconnect.ProtocolError, disconnect.ByServer),
	0x88: ended(disconnect.ServerBusy, disconnect.ByServer), // out of memory
	0x89: ended(disconnect.ServerBusy, disconnect.ByServer), // out of memory
	0x8b: ended(disconnect.PeerClosed, disconnect.ByUnknown),
	0x8d: ended(disconnect.KeepaliveTimeout, disconnect.ByServer),
	0x93: ended(disconnect.ProtocolError, disconnect.ByServer),
	0x95: ended(disconnect.ProtocolError, disconnect.ByServer),
	0x99: ended(disconnect.ProtocolError, disconnect.ByServer),
}

var nanoUnknown = ended(disconnect.Other, disconnect.ByUnknown)

// These patterns match the text between the user name and the client identifier. NanoMQ escapes
// neither of the two.
var (
	nanoStatus  = regexp.MustCompile(`^\s*\{\s*"status"\s*:\s*"(online|offline)"`)
	nanoOnline  = regexp.MustCompile(`"return_code"\s*:\s*"([0-9a-fA-F]{1,2})"\s*,\s*"proto_ver"\s*:\s*([0-9]{1,3})\s*,\s*"client_id"\s*:\s*"`)
	nanoOffline = regexp.MustCompile(`"reason_code"\s*:\s*"([0-9a-fA-F]{1,2})"\s*,\s*"client_id"\s*:\s*"`)
)

type nanomq struct{}

func (nanomq) read(topic string, payload []byte, _ time.Time) (told, error) {
	rest, mine := strings.CutPrefix(topic, nanoPrefix)
	if !mine {
		return told{}, nil
	}
	text := string(payload)
	what, client, named := strings.Cut(rest, "/")
	switch what {
	case "client_status":
		status := nanoStatus.FindStringSubmatch(text)
		if status == nil {
			return told{}, ErrUnparsed
		}
		what = map[string]string{"online": "connected", "offline": "disconnected"}[status[1]]
	case "connected", "disconnected":
	default:
		return told{}, nil
	}
	shape := nanoOffline
	if what == "connected" {
		shape = nanoOnline
	}
	all := shape.FindAllStringSubmatchIndex(text, -1)
	if named { // then only the match right before this identifier is NanoMQ's own text
		for len(all) > 1 && !strings.HasPrefix(text[all[len(all)-1][1]:], client) {
			all = all[:len(all)-1]
		}
	}
	if len(all) == 0 {
		return told{}, ErrUnparsed
	}
	found := all[len(all)-1]
	if !named {
		client, _, _ = strings.Cut(text[found[1]:], `"`)
		if len(all) > 1 { // a user name or an identifier contains such a text
			client = ""
		}
	}
	code, _ := strconv.ParseUint(text[found[2]:found[3]], 16, 8)
	t := told{client: client}
	switch {
	case what == "disconnected":
		known, ok := nanoCodes[byte(code)]
		if !ok {
			known = nanoUnknown
		}
		t.Event = known
	case code != 0: // NanoMQ publishes a refused CONNECT as online too
		version, _ := strconv.ParseUint(text[found[4]:found[5]], 10, 8)
		t.Event = connackFailure(byte(version), byte(code))
	default:
		t.Kind = Connect
	}
	return t, nil
}
