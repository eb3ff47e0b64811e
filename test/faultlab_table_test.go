package test

// The fault lab: what can go wrong between a client and a broker, each by a real cause, and what
// pingreq must report. Every ending occurs at least once. TestFaultTable asserts this, and that
// /metrics shows each ending as in this table.

// fault is one thing that goes wrong.
type fault struct {
	reason    string
	initiator string // who refused or ended the connection
	evidence  string // what showed it
	phase     string // how far the connection had come
	cause     string // what the test does
	client    client
	target    string // where it happens; faultlab_here_test.go and faultlab_routed_test.go set it up
	verdict   string // the reason of the failed run if it differs from the ending's, or the outcome of a run that did not fail
	diagnosis string // the cause of the target's diagnosis; "" if it changes with time
	says      string // a part of what the page says of the target
}

// client is what the client does: keys of a probe, and the profile for its behaviour.
type client struct{ probe, profile string }

// The clients. A held one does not reconnect during the test, so its session ends once. Those that do
// are for ends that form a pattern.
var (
	connects      = client{"kind: connect, interval: 5s, timeout: 5s", "default"}
	impatient     = client{"kind: connect, interval: 2s, timeout: 2s", "default"}
	connects3     = client{"kind: connect, interval: 5s, timeout: 5s", "v311"}
	sluggish3     = client{"kind: connect, interval: 5s, timeout: 5s", "v311-ka20"}
	oldTLS        = client{"kind: connect, interval: 5s, timeout: 5s", "tls11"}
	proxied       = client{"kind: connect, interval: 5s, timeout: 5s", "proxied"}
	held          = client{"kind: session, timeout: 5s, session: {backoff_min: 10m, backoff_max: 10m}", "default"}
	neverPings    = client{"kind: session, timeout: 5s, session: {backoff_min: 10m, backoff_max: 10m}", "never-pings"}
	stingy        = client{"kind: session, timeout: 5s, session: {backoff_min: 10m, backoff_max: 10m}", "user-timeout"}
	twins         = client{"kind: session, timeout: 5s, session: {sessions: 2, backoff_min: 10m, backoff_max: 10m}", "one-id"}
	mortal        = client{"kind: session, timeout: 5s, session: {max_lifetime: 1s, backoff_min: 10m, backoff_max: 10m}", "default"}
	echoes        = client{"kind: session, timeout: 5s, session: {backoff_min: 10m, backoff_max: 10m, echo: {interval: 2s, ack_timeout: 900ms}}", "default"}
	rises         = client{"kind: session, timeout: 5s, session: {backoff_min: 100ms, backoff_max: 200ms}", "default"}
	idles         = client{"kind: session, timeout: 5s, session: {backoff_min: 100ms, backoff_max: 200ms}", "ka20"}
	crowd         = client{"kind: session, timeout: 5s, session: {sessions: 3, backoff_min: 300ms, backoff_max: 500ms}", "default"}
	publishesMuch = client{"kind: roundtrip, interval: 15s, timeout: 15s, roundtrip: {qos: [1], messages: 1, size: 3000, delivery_timeout: 3s}", "default"}
	publishes     = client{"kind: roundtrip, interval: 5s, timeout: 5s, roundtrip: {qos: [1], delivery_timeout: 2s}", "default"}
)

// faultProfiles are the profiles of the clients.
func faultProfiles(proxy string) []string {
	return []string{
		"{name: default, keepalive: 2s, ping: {timeout: 2s}}",
		`{name: v311, protocol: "3.1.1", keepalive: 2s, ping: {timeout: 2s}}`,
		`{name: tls11, keepalive: 2s, tls: {min_version: "1.0", max_version: "1.1"}}`,
		"{name: never-pings, keepalive: 2s, ping: {when: never}}",
		"{name: user-timeout, keepalive: 2s, ping: {timeout: 20s}, tcp: {user_timeout: 1s}}",
		`{name: one-id, keepalive: 2s, client_id: "the-same-for-both"}`,
		"{name: ka20, keepalive: 20s}",
		`{name: v311-ka20, protocol: "3.1.1", keepalive: 20s}`,
		"{name: proxied, keepalive: 2s, proxy: \"" + proxy + "\"}",
	}
}

var faults = []fault{
	{"client_disconnect", "client", "disconnect_packet", "established", "a session reaches its max_lifetime", mortal, "lifetime", "success", "healthy", ""},

	{"keepalive_timeout", "server", "fin", "established", "the client never pings; Mosquitto closes without DISCONNECT", neverPings, "silent-mosquitto", "", "keepalive_kick", ""},
	{"keepalive_timeout", "server", "close_notify", "established", "the same over TLS", neverPings, "silent-mosquitto-tls", "", "keepalive_kick", ""},
	{"keepalive_timeout", "server", "disconnect_packet", "established", "the client never pings; ejabberd says 0x8D", neverPings, "silent-ejabberd", "", "keepalive_kick", ""},

	{"idle_timeout", "server", "disconnect_packet", "established", "a websocket gateway closes what idles for a second, with 3008", held, "idle-gateway", "", "idle_limit_told", ""},

	{"pingresp_timeout", "server", "deadline", "established", "the broker's process stands still (SIGSTOP)", held, "stopped-established", "", "broker_stuck", ""},
	{"pingresp_timeout", "network", "deadline", "established", "a router drops everything, both ways", held, "path-cut", "", "path_lost", ""},

	{"connack_timeout", "server", "deadline", "mqtt", "the broker's process stands still", impatient, "stopped-mqtt", "", "silent_server", ""},
	{"handshake_timeout", "server", "deadline", "tls", "the same over TLS", impatient, "stopped-tls", "", "silent_server", ""},
	{"handshake_timeout", "server", "deadline", "websocket", "the same over a websocket", impatient, "stopped-websocket", "", "silent_server", ""},

	{"ack_timeout", "server", "deadline", "established", "the broker's acknowledgements are jammed, as NanoMQ 0.21.8's over TLS", echoes, "jammed", "zombie", "zombie", ""},
	{"ack_timeout", "server", "deadline", "established", "the same in a round trip", publishes, "no-puback", "", "broker_stuck", ""},

	{"peer_closed", "unknown", "fin", "established", "a balancer (HAProxy) cuts what idles for a second", held, "idle-balancer", "", "sessions_end", ""},
	{"peer_closed", "unknown", "fin", "established", "the broker is killed (SIGKILL)", held, "killed", "", "sessions_end", ""},
	{"peer_closed", "unknown", "fin", "established", "Mosquitto 2.0.11 accepts another client with our id, and sends us nothing", twins, "twins-mosquitto", "", "sessions_end", ""},
	{"peer_closed", "unknown", "fin", "established", "ejabberd 23.01 is stopped, and sends nothing", held, "ejabberd-stops", "", "sessions_end", ""},
	{"peer_closed", "server", "close_notify", "established", "Mosquitto is stopped (SIGTERM); only TLS closes in order", held, "stopped-in-order", "", "sessions_end", ""},
	{"peer_closed", "server", "disconnect_packet", "established", "the broker sends DISCONNECT 0x00", held, "says-0x00", "", "sessions_end", ""},

	{"connection_reset", "unknown", "rst", "established", "a firewall begins to answer by RST", held, "reset-established", "", "sessions_end", ""},
	{"connection_reset", "unknown", "rst", "established", "the broker ends the connection by RST", held, "broker-rst", "", "sessions_end", ""},

	{"connection_refused", "server", "errno", "tcp", "nobody listens at the port", connects, "closed-port", "", "port_closed", ""},
	{"connection_refused", "server", "errno", "tcp", "there is no such unix socket", connects, "no-socket", "", "port_closed", ""},
	{"connection_refused", "server", "errno", "tcp", "a firewall answers the SYN by RST", connects, "reset-syn", "", "port_closed", ""},
	{"connection_refused", "server", "errno", "tcp", "a router answers the SYN by ICMP port unreachable", connects, "icmp-port", "", "port_closed", ""},
	{"connection_refused", "server", "http_status", "proxy", "the proxy (HAProxy) answers 502", proxied, "proxy-502", "", "proxy_fails", ""},

	{"network_timeout", "network", "deadline", "tcp", "a firewall drops the SYN", impatient, "dropped-syn", "", "host_silent", ""},
	{"network_timeout", "network", "errno", "established", "the path is cut, and TCP_USER_TIMEOUT is a second", stingy, "path-cut-user-timeout", "", "path_lost", ""},

	{"network_unreachable", "network", "errno", "tcp", "this machine has no route", connects, "no-route-here", "", "no_route", ""},
	{"network_unreachable", "network", "errno", "tcp", "a router has no route, and answers by ICMP", connects, "no-route-there", "", "no_route", ""},
	{"network_unreachable", "network", "errno", "tcp", "a firewall answers by ICMP administratively prohibited", connects, "icmp-prohibited", "", "no_route", ""},

	{"dns_error", "network", "resolver", "resolve", "the name does not exist (NXDOMAIN)", connects, "dns-nxdomain", "", "name_not_resolved", ""},
	{"dns_error", "network", "resolver", "resolve", "the resolver fails (SERVFAIL)", connects, "dns-servfail", "", "name_not_resolved", ""},
	{"dns_error", "network", "resolver", "resolve", "the resolver sends nothing", impatient, "dns-silent", "", "name_not_resolved", ""},

	{"tls_error", "server", "local", "tls", "the port speaks HTTP", connects, "tls-to-http", "", "wrong_protocol", ""},
	{"tls_error", "server", "tls_alert", "tls", "the client offers nothing above TLS 1.1", oldTLS, "old-tls", "", "tls_disagreement", ""},

	{"certificate_error", "server", "local", "tls", "the server's certificate has expired", connects, "expired", "", "certificate_expired", ""},
	{"certificate_error", "server", "local", "tls", "an unknown authority signed it", connects, "unknown-authority", "", "certificate_unknown_issuer", ""},
	{"certificate_error", "server", "local", "tls", "it is for another name", connects, "wrong-name", "", "certificate_wrong_name", ""},
	{"certificate_error", "server", "tls_alert", "tls", "the server demands a certificate, and we have none", connects, "no-client-certificate", "", "client_certificate_missing", ""},

	{"websocket_error", "server", "http_status", "websocket", "there is nothing at the path of the URL (404)", connects, "http-404", "", "wrong_protocol", ""},

	{"authentication_failed", "server", "http_status", "websocket", "HAProxy demands a password (401)", connects, "http-401", "", "credentials_refused", ""},
	{"authentication_failed", "server", "connack", "mqtt", "CONNACK 4, 3.1.1's bad user name or password", connects3, "connack-4", "", "credentials_refused", ""},
	{"authentication_failed", "server", "connack", "mqtt", "CONNACK 0x86, that of MQTT 5", connects, "connack-0x86", "", "credentials_refused", ""},

	{"not_authorized", "server", "connack", "mqtt", "Mosquitto knows the user, but not this password (0x87)", connects, "wrong-password", "", "connect_not_authorized", ""},
	{"not_authorized", "server", "connack", "mqtt", "NATS does (3.1.1: 5)", connects3, "wrong-password-nats", "", "connect_not_authorized", ""},
	{"not_authorized", "server", "suback", "established", "Mosquitto's dynamic security does not let us subscribe", publishes, "may-not-subscribe", "", "access_denied", ""},
	{"not_authorized", "server", "puback", "established", "Mosquitto's ACL does not let us publish", publishes, "may-not-publish", "", "access_denied", ""},

	{"banned", "server", "connack", "mqtt", "CONNACK 0x8A, as EMQX's ban list says", connects, "connack-0x8a", "", "banned", ""},

	{"session_taken_over", "server", "disconnect_packet", "established", "ejabberd accepts another client with our id (0x8E)", twins, "twins-ejabberd", "", "clients_collide", ""},

	{"admin_action", "server", "disconnect_packet", "established", "somebody disables our user at Mosquitto (0x98)", held, "disabled", "", "closed_by_admin", ""},

	{"redirected", "server", "http_status", "websocket", "HAProxy sends us elsewhere (302)", connects, "http-302", "", "redirected", ""},
	{"redirected", "server", "connack", "mqtt", "CONNACK 0x9D, server moved", connects, "connack-0x9d", "", "redirected", ""},
	{"redirected", "server", "disconnect_packet", "established", "DISCONNECT 0x9C, as EMQX's eviction says", held, "says-0x9c", "", "redirected", ""},

	{"lifetime_expired", "server", "disconnect_packet", "established", "DISCONNECT 0xA0, as VerneMQ's longest lifetime says", held, "says-0xa0", "", "lifetime_expired", ""},

	{"server_shutdown", "server", "disconnect_packet", "established", "mochi is stopped (0x8B)", held, "mochi-stops", "", "server_stops", ""},
	{"server_shutdown", "server", "disconnect_packet", "established", "a websocket gateway restarts, and says so (1012)", held, "gateway-restarts", "", "server_stops", ""},

	{"server_busy", "server", "http_status", "websocket", "HAProxy has no broker left (503)", connects, "http-503", "", "server_busy", ""},
	{"server_busy", "server", "connack", "mqtt", "CONNACK 3, 3.1.1's server unavailable", connects3, "connack-3", "", "server_busy", ""},

	{"rate_or_quota", "server", "http_status", "websocket", "HAProxy limits the rate (429)", connects, "http-429", "", "limit_exceeded", ""},
	{"rate_or_quota", "server", "connack", "mqtt", "CONNACK 0x9F, connection rate exceeded", connects, "connack-0x9f", "", "limit_exceeded", ""},
	{"rate_or_quota", "server", "disconnect_packet", "established", "DISCONNECT 0x97, quota exceeded", held, "says-0x97", "", "limit_exceeded", ""},

	{"protocol_error", "server", "local", "mqtt", "the port speaks HTTP", connects, "mqtt-to-http", "", "wrong_protocol", ""},
	{"flood", "server", "local", "established", "the broker sends PINGRESP without end", held, "floods", "", "flood", ""},
	{"protocol_error", "server", "disconnect_packet", "established", "the broker reports an error of ours, DISCONNECT 0x82", held, "says-0x82", "", "protocol_violated", ""},

	{"not_supported", "server", "connack", "mqtt", "NATS speaks only MQTT 3.1.1", connects, "mqtt5-to-nats", "", "not_supported", ""},

	{"other", "server", "disconnect_packet", "established", "the broker behind a websocket gateway dies (1011)", held, "gateway-alone", "", "other_failure", ""},
	{"other", "server", "disconnect_packet", "established", "DISCONNECT 0x83, which gives no reason", held, "says-0x83", "", "other_failure", ""},
	{"", "", "", "", "this machine's own firewall forbids it (EACCES), which says nothing about the broker", connects, "forbidden-here", "inconclusive", "", ""},

	// What answers at a port.
	{"connection_refused", "server", "rst", "mqtt", "the port is Mosquitto's TLS listener", connects, "plain-to-tls", "", "wrong_protocol", "instead of mqtt://"},
	{"connection_refused", "server", "fin", "mqtt", "the port is HAProxy's TLS listener", connects, "plain-to-haproxy-tls", "", "wrong_protocol", "speaks TLS"},
	{"connack_timeout", "server", "deadline", "mqtt", "the port is a web server that waits for the end of our line", connects, "waiting-http", "", "wrong_protocol", "speaks HTTP, not MQTT"},
	{"protocol_error", "server", "local", "mqtt", "the port is Mosquitto's websocket listener", connects, "plain-to-websocket", "", "wrong_protocol", "Use ws://"},
	{"connack_timeout", "server", "deadline", "mqtt", "the port is that of Redis", connects, "redis", "", "wrong_protocol", "speaks Redis"},
	{"protocol_error", "server", "local", "mqtt", "the port is that of SSH", connects, "ssh", "", "wrong_protocol", "speaks SSH"},
	{"protocol_error", "server", "local", "mqtt", "the port is that of NATS' own protocol", connects, "nats-own", "", "wrong_protocol", "the NATS protocol"},
	{"tls_error", "server", "rst", "tls", "the port is Mosquitto's without TLS", connects, "tls-to-plain", "", "wrong_protocol", "speaks MQTT without TLS"},
	{"tls_error", "server", "local", "tls", "the port is that of SSH, and we try TLS", connects, "tls-to-ssh", "", "wrong_protocol", "speaks SSH"},
	{"websocket_error", "server", "rst", "websocket", "the port is Mosquitto's without websockets", connects, "ws-to-plain", "", "wrong_protocol", "Use mqtt://"},
	{"connection_refused", "server", "rst", "mqtt", "HAProxy expects the PROXY protocol", connects, "proxy-protocol", "", "closed_before_answer", "PROXY protocol"},
	{"connection_refused", "server", "fin", "mqtt", "Mosquitto has as many connections as it may (max_connections)", connects, "full", "", "closed_before_answer", "connection limit"},
	{"tls_error", "server", "fin", "tls", "HAProxy finds no broker behind it, and closes before TLS", connects, "nothing-behind", "", "closed_before_tls", "nothing is behind the balancer"},
	{"handshake_timeout", "server", "fin", "tls", "HAProxy tries a broker for three seconds, and closes before TLS", connects, "dead-behind", "", "closed_after_wait", "finds no broker in time"},
	{"connack_timeout", "server", "fin", "mqtt", "the broker closes after 2.5 s, as RabbitMQ in a resource alarm after 10 s", connects, "alarm", "", "closed_after_wait", "resource alarm"},
	{"connack_timeout", "server", "deadline", "mqtt", "the same, and we wait for 2 s only", impatient, "alarm-impatient", "", "silent_server", "no CONNACK in time"},
	{"connack_timeout", "server", "deadline", "mqtt", "the port takes connections and says nothing in any protocol", connects, "mute-port", "", "silent_server", "is this an MQTT port"},

	// When a session ends.
	{"peer_closed", "unknown", "fin", "established", "the broker closes after our SUBSCRIBE, as AWS IoT does", publishes, "no-subscribe", "", "closed_after_subscribe", "after our SUBSCRIBE"},
	{"peer_closed", "unknown", "fin", "established", "the broker closes after our PUBLISH, as ThingsBoard does", publishes, "no-publish", "", "closed_after_publish", "after our PUBLISH"},
	{"connection_reset", "unknown", "rst", "established", "the broker closes without reading our PUBLISH, so its kernel resets", publishes, "unread-publish", "", "closed_after_publish", "after our PUBLISH"},
	{"protocol_error", "server", "disconnect_packet", "established", "DISCONNECT 0x95, packet too large", publishes, "says-0x95", "", "packet_too_large", "0x95"},
	{"peer_closed", "unknown", "fin", "established", "the broker closes 1.0 K after our last packet, which no keepalive explains", neverPings, "one-keepalive", "", "sessions_end", "s after our CONNECT"},
	{"peer_closed", "unknown", "fin", "established", "the broker ends each connection at an age of 3.5 s, while it answers pings", rises, "one-age", "", "connection_age_limit", "after 3.5 s"},
	{"peer_closed", "unknown", "fin", "established", "a balancer (HAProxy) cuts each connection that idles for 3 s", idles, "one-idle-time", "", "idle_limit", "idled for 3.0 s"},

	// What a broker refuses, and means.
	{"protocol_error", "server", "connack", "mqtt", "CONNACK 2, as Mosquitto 2.0.12 answers a keepalive above max_keepalive (3.1.1)", sluggish3, "max-keepalive", "", "client_refused", "or its keepalive of 20s"},

	// Large packets.
	{"handshake_timeout", "network", "deadline", "tls", "a router loses large packets to the broker (the ClientHello)", connects, "narrow-to-broker", "", "large_packets_lost", "MTU"},
	{"handshake_timeout", "network", "deadline", "tls", "a router loses large packets from the broker (its certificates)", connects, "narrow-from-broker", "", "large_packets_lost", "MTU"},
	{"ack_timeout", "network", "deadline", "established", "a router loses large packets to the broker (a PUBLISH of 3 KB)", publishesMuch, "narrow-publish", "", "large_packets_lost", "MTU"},
	{"pingresp_timeout", "network", "deadline", "established", "a router loses large packets from the broker (the same, delivered)", publishesMuch, "narrow-delivery", "", "large_packets_lost", "MTU"},

	// Certificates.
	{"certificate_error", "server", "local", "tls", "the server's certificate begins tomorrow", connects, "not-yet-valid", "", "certificate_not_yet_valid", "begins at"},
	{"certificate_error", "server", "local", "tls", "the server's certificate has signed itself", connects, "self-signed", "", "certificate_self_signed", "has signed itself"},
	{"certificate_error", "server", "local", "tls", "the server does not send its intermediate certificate", connects, "incomplete-chain", "", "certificate_incomplete", "sends only its own certificate"},
	{"certificate_error", "server", "local", "tls", "the server's certificate has a Common Name only", connects, "only-common-name", "", "certificate_wrong_name", "only its Common Name"},

	// Our own side.
	{"peer_closed", "unknown", "fin", "established", "Mosquitto takes the user name for the client id", crowd, "user-name-id", "", "clients_collide", "use_username_as_clientid"},
}
