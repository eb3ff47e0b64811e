package events

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	awsPrefix = "$aws/events/presence/"
	// awsMemory is how long a repeated event is recognised. AWS documents no limit.
	awsMemory = 10 * time.Minute
)

// newAWS reads the lifecycle events of AWS IoT Core, which are always on (AWS IoT Core developer
// guide, "Lifecycle events"). They can come twice and out of order. AWS publishes no events for a
// client whose identifier contains # or +.
func newAWS() *Dialect {
	o := outcomes{{Kind: Connect}, awsRefused, awsUntold(true), awsUntold(false)}
	for _, e := range awsReasons {
		o.add(e)
	}
	return &Dialect{
		Name:       dialects.AWS,
		Filters:    []string{awsPrefix + "connected/+", awsPrefix + "disconnected/+", awsPrefix + "connect_failed/+"},
		Advice:     "AWS IoT Core always publishes client events: allow the client iot:Subscribe and iot:Receive on $aws/events/presence/*.",
		Outcomes:   sorted(o),
		maxPayload: 128 << 10, // the service's limit
		newReader:  func(func(string) bool) reader { return &aws{recent: newRecent()} },
	}
}

// awsReasons are the values of disconnectReason.
var awsReasons = map[string]Event{
	"AUTH_ERROR":                  ended(disconnect.NotAuthorized, disconnect.ByServer),
	"CLIENT_INITIATED_DISCONNECT": ended(disconnect.ClientDisconnect, disconnect.ByClient),
	"CLIENT_ERROR":                ended(disconnect.ProtocolError, disconnect.ByServer),
	"CONNECTION_LOST":             ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"DUPLICATE_CLIENTID":          ended(disconnect.SessionTakenOver, disconnect.ByServer),
	"FORBIDDEN_ACCESS":            ended(disconnect.NotAuthorized, disconnect.ByServer),
	"MQTT_KEEP_ALIVE_TIMEOUT":     ended(disconnect.KeepaliveTimeout, disconnect.ByServer),
	"SERVER_ERROR":                ended(disconnect.Other, disconnect.ByServer),
	"SERVER_INITIATED_DISCONNECT": ended(disconnect.ServerShutdown, disconnect.ByServer),
	"API_INITIATED_DISCONNECT":    ended(disconnect.AdminAction, disconnect.ByServer),
	"THROTTLED":                   ended(disconnect.RateOrQuota, disconnect.ByServer),
	"WEBSOCKET_TTL_EXPIRATION":    ended(disconnect.LifetimeExpired, disconnect.ByServer),
	"CUSTOMAUTH_TTL_EXPIRATION":   ended(disconnect.LifetimeExpired, disconnect.ByServer),
}

// awsRefused is a connect attempt that failed: connectFailureReason has only the value
// AUTHORIZATION_FAILED.
var awsRefused = failed(disconnect.NotAuthorized, disconnect.ByServer)

// awsUntold returns the event of a disconnect without a reason, as before 2019, or with an unknown
// reason.
func awsUntold(byClient bool) Event {
	if byClient {
		return awsReasons["CLIENT_INITIATED_DISCONNECT"]
	}
	return ended(disconnect.Other, disconnect.ByUnknown)
}

type aws struct{ *recent }

func (a *aws) read(topic string, payload []byte, at time.Time) (told, error) {
	rest, mine := strings.CutPrefix(topic, awsPrefix)
	what, client, named := strings.Cut(rest, "/")
	if !mine || !named {
		return told{}, nil
	}
	var event struct {
		EventType                 string          `json:"eventType"`
		DisconnectReason          string          `json:"disconnectReason"`
		ClientInitiatedDisconnect bool            `json:"clientInitiatedDisconnect"`
		SessionIdentifier         string          `json:"sessionIdentifier"`
		VersionNumber             json.RawMessage `json:"versionNumber"`
		Timestamp                 json.RawMessage `json:"timestamp"`
	}
	if json.Unmarshal(payload, &event) != nil || event.EventType != what {
		return told{}, ErrUnparsed
	}
	t := told{client: client}
	switch what {
	case "connected":
		t.Kind = Connect
	case "connect_failed":
		t.Event = awsRefused
	case "disconnected":
		known, ok := awsReasons[event.DisconnectReason]
		if !ok {
			known = awsUntold(event.ClientInitiatedDisconnect)
		}
		t.Event = known
	default:
		return told{}, nil
	}
	if a.note(a.fact(what, client, event.SessionIdentifier, string(event.VersionNumber), string(event.Timestamp)), at, awsMemory) {
		return told{}, nil
	}
	return t, nil
}
