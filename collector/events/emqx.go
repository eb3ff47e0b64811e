package events

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	emqxPrefix = "$SYS/brokers/"
	// emqxMemory is how long a second event about one connection is recognised. The nodes of a
	// cluster publish one after the other.
	emqxMemory = time.Minute
)

// newEMQX reads $SYS/brokers/<node>/clients/<client id>/connected and …/disconnected from all nodes
// of the cluster (EMQX 4: module emqx_mod_presence; 5 and 6: emqx_sys.erl). It leaves out the
// clients of gateways, because they do not use MQTT.
func newEMQX() *Dialect {
	o := outcomes{{Kind: Connect}, emqxUnknown}
	for _, e := range emqxReasons {
		o.add(e)
	}
	addConnackFailures(&o)
	return &Dialect{
		Name:     dialects.EMQX,
		Filters:  []string{emqxPrefix + "+/clients/#"}, // a client identifier may contain slashes
		Advice:   "Enable client_connected and client_disconnected in sys_topics.sys_event_messages, and allow the client to read $SYS/brokers/+/clients/#.",
		Outcomes: sorted(o),
		// Identifier and user name have up to 64 KiB each, and each byte may be escaped.
		maxPayload: 512 << 10,
		newReader:  func(func(string) bool) reader { return &emqx{recent: newRecent()} },
	}
}

// emqxReasons are the atoms that EMQX sends as reason. The set is open: other atoms may come. The
// names of MQTT 5 reasons are those of emqx_reason_codes.erl.
var emqxReasons = map[string]Event{
	"normal":                                 ended(disconnect.ClientDisconnect, disconnect.ByClient),
	"disconnect_with_will_message":           ended(disconnect.ClientDisconnect, disconnect.ByClient),
	"keepalive_timeout":                      ended(disconnect.KeepaliveTimeout, disconnect.ByServer),
	"idle_timeout":                           ended(disconnect.IdleTimeout, disconnect.ByServer),
	"ssl_upgrade_timeout":                    ended(disconnect.HandshakeTimeout, disconnect.ByServer),
	"tcp_closed":                             ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"ssl_closed":                             ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"sock_closed":                            ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"ws_closed":                              ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"conn_closed":                            ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"closed":                                 ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"einval":                                 ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"enotconn":                               ended(disconnect.PeerClosed, disconnect.ByUnknown),
	"econnreset":                             ended(disconnect.ConnectionReset, disconnect.ByUnknown),
	"econnaborted":                           ended(disconnect.ConnectionReset, disconnect.ByUnknown),
	"epipe":                                  ended(disconnect.ConnectionReset, disconnect.ByUnknown),
	"etimedout":                              ended(disconnect.NetworkTimeout, disconnect.ByNetwork),
	"send_timeout":                           ended(disconnect.NetworkTimeout, disconnect.ByNetwork),
	"ehostunreach":                           ended(disconnect.NetworkUnreachable, disconnect.ByNetwork),
	"enetunreach":                            ended(disconnect.NetworkUnreachable, disconnect.ByNetwork),
	"ssl_error":                              ended(disconnect.TLSError, disconnect.ByUnknown),
	"tcp_error":                              ended(disconnect.Other, disconnect.ByUnknown),
	"takenover":                              ended(disconnect.SessionTakenOver, disconnect.ByServer),
	"takeovered":                             ended(disconnect.SessionTakenOver, disconnect.ByServer),
	"discarded":                              ended(disconnect.SessionTakenOver, disconnect.ByServer),
	"session_taken_over":                     ended(disconnect.SessionTakenOver, disconnect.ByServer),
	"kicked":                                 ended(disconnect.AdminAction, disconnect.ByServer),
	"administrative_action":                  ended(disconnect.AdminAction, disconnect.ByServer),
	"use_another_server":                     ended(disconnect.Redirected, disconnect.ByServer),
	"server_moved":                           ended(disconnect.Redirected, disconnect.ByServer),
	"server_shutting_down":                   ended(disconnect.ServerShutdown, disconnect.ByServer),
	"server_unavailable":                     ended(disconnect.ServerBusy, disconnect.ByServer),
	"server_busy":                            ended(disconnect.ServerBusy, disconnect.ByServer),
	"not_authorized":                         ended(disconnect.NotAuthorized, disconnect.ByServer),
	"bad_username_or_password":               ended(disconnect.AuthenticationFailed, disconnect.ByServer),
	"bad_authentication_method":              ended(disconnect.AuthenticationFailed, disconnect.ByServer),
	"banned":                                 ended(disconnect.Banned, disconnect.ByServer),
	"auth_expired":                           ended(disconnect.LifetimeExpired, disconnect.ByServer),
	"expired":                                ended(disconnect.LifetimeExpired, disconnect.ByServer),
	"maximum_connect_time":                   ended(disconnect.LifetimeExpired, disconnect.ByServer),
	"quota_exceeded":                         ended(disconnect.RateOrQuota, disconnect.ByServer),
	"message_rate_too_high":                  ended(disconnect.RateOrQuota, disconnect.ByServer),
	"connection_rate_exceeded":               ended(disconnect.RateOrQuota, disconnect.ByServer),
	"emsgsize":                               ended(disconnect.RateOrQuota, disconnect.ByServer),
	"message_queue_too_long":                 ended(disconnect.RateOrQuota, disconnect.ByServer),
	"mailbox_overflow":                       ended(disconnect.RateOrQuota, disconnect.ByServer),
	"proc_heap_too_large":                    ended(disconnect.RateOrQuota, disconnect.ByServer),
	"malformed_packet":                       ended(disconnect.ProtocolError, disconnect.ByServer),
	"protocol_error":                         ended(disconnect.ProtocolError, disconnect.ByServer),
	"frame_error":                            ended(disconnect.ProtocolError, disconnect.ByServer),
	"frame_too_large":                        ended(disconnect.ProtocolError, disconnect.ByServer),
	"packet_too_large":                       ended(disconnect.ProtocolError, disconnect.ByServer),
	"client_identifier_not_valid":            ended(disconnect.ProtocolError, disconnect.ByServer),
	"topic_filter_invalid":                   ended(disconnect.ProtocolError, disconnect.ByServer),
	"topic_name_invalid":                     ended(disconnect.ProtocolError, disconnect.ByServer),
	"topic_alias_invalid":                    ended(disconnect.ProtocolError, disconnect.ByServer),
	"packet_identifier_inuse":                ended(disconnect.ProtocolError, disconnect.ByServer),
	"packet_identifier_not_found":            ended(disconnect.ProtocolError, disconnect.ByServer),
	"receive_maximum_exceeded":               ended(disconnect.ProtocolError, disconnect.ByServer),
	"payload_format_invalid":                 ended(disconnect.ProtocolError, disconnect.ByServer),
	"unsupported_protocol_version":           ended(disconnect.NotSupported, disconnect.ByServer),
	"retain_not_supported":                   ended(disconnect.NotSupported, disconnect.ByServer),
	"qos_not_supported":                      ended(disconnect.NotSupported, disconnect.ByServer),
	"shared_subscriptions_not_supported":     ended(disconnect.NotSupported, disconnect.ByServer),
	"subscription_identifiers_not_supported": ended(disconnect.NotSupported, disconnect.ByServer),
	"wildcard_subscriptions_not_supported":   ended(disconnect.NotSupported, disconnect.ByServer),
	"internal_error":                         ended(disconnect.Other, disconnect.ByServer),
	// 5: with a tuple or map of details, such as when a client's process is too large.
	"shutdown":                      ended(disconnect.Other, disconnect.ByServer),
	"unspecified_error":             ended(disconnect.Other, disconnect.ByServer),
	"implementation_specific_error": ended(disconnect.Other, disconnect.ByServer),
	"unknown_error":                 ended(disconnect.Other, disconnect.ByServer),
}

var emqxUnknown = ended(disconnect.Other, disconnect.ByUnknown)

type emqx struct{ *recent }

func (x *emqx) read(topic string, payload []byte, at time.Time) (told, error) {
	rest, mine := strings.CutPrefix(topic, emqxPrefix)
	node, rest, _ := strings.Cut(rest, "/")
	rest, clients := strings.CutPrefix(rest, "clients/")
	end := strings.LastIndexByte(rest, '/')
	if !mine || !clients || end < 0 {
		return told{}, nil
	}
	client, what := rest[:end], rest[end+1:]
	if what != "connected" && what != "disconnected" {
		return told{}, nil
	}
	var event struct {
		Reason         string          `json:"reason"`
		ConnectedAt    json.RawMessage `json:"connected_at"`
		DisconnectedAt json.RawMessage `json:"disconnected_at"` // EMQX 4.0 has no connected_at here
		ProtoVer       byte            `json:"proto_ver"`
		Connack        byte            `json:"connack"` // EMQX 4
	}
	if json.Unmarshal(payload, &event) != nil {
		return told{}, ErrUnparsed
	}
	t := told{client: client}
	switch {
	case what == "connected" && event.Connack != 0:
		t.Event = connackFailure(event.ProtoVer, event.Connack)
	case what == "connected":
		t.Kind = Connect
	case event.Reason == "":
		return told{}, ErrUnparsed
	default:
		known, ok := emqxReasons[event.Reason]
		if !ok {
			known = emqxUnknown
		}
		t.Event = known
	}
	t.Node = node
	connection := event.ConnectedAt
	if connection == nil {
		connection = event.DisconnectedAt
	}
	// EMQX may report a session that is taken over as discarded and again as takenover.
	if connection != nil && x.note(x.fact(what, client, string(connection)), at, emqxMemory) {
		return told{}, nil
	}
	return t, nil
}
