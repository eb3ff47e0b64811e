// Package events reads what brokers publish about their clients, and counts who connects, who does not get in, and who
// leaves, by the reasons of [github.com/pingreq/pingreq/synthetic/disconnect].
//
// A [Dialect] knows the topics of one kind of broker, and its [Parser] turns a message into an [Event]. A [Target] counts
// the events of one broker, and the [Collector] exports the counts of all. There is no network in here: who owns the
// connection subscribes to the dialect's filters and hands the messages in.
//
// # What counts
//
// A [Connect] is a CONNECT that the broker accepted. A [Disconnect] is the end of such a connection. A [ConnectFailure]
// is an attempt that ended before: a wrong password, bytes that are not MQTT, a failed TLS handshake, and also the port
// check of a load balancer. They are kept apart, for a port checked every two seconds would bury what happens to the
// clients. Many brokers name no client in a failure, so that those of our own negative tests are among them.
//
// The sides are those of package disconnect: [disconnect.ByClient] is the client that the event is about. A bare FIN or
// RST has the initiator unknown, as it may come from whatever stands between the two. Where a broker closes because the
// client broke a rule or a limit, it is the server.
//
// One closing is one event, also where the broker tells twice. A retained message is no event. What cannot be read is
// counted and dropped.
//
// # Nothing personal
//
// No client identifier, user name or address leaves a parser, neither in an event nor in an error. To recognise what
// was told before, a parser keeps for a short time a few hashes, with a key that is never stored.
//
// # Decisions
//
// Where brokers leave a choice, this was chosen:
//
//	Mosquitto, "not authorised"                       authentication_failed: Mosquitto logs it for a wrong password and
//	                                                  for none; an ACL that refuses something ends no connection
//	Mosquitto, no client id in the line, or the       connect failure
//	client's address in its place
//	Mosquitto, "exceeded timeout" without a client id idle_timeout: no CONNECT came
//	Mosquitto, OpenSSL Error, then a closing          one event, certificate_error where a certificate is the matter;
//	                                                  initiator by who found fault: an alert came from the client
//	Mosquitto, "Protocol error." of a known client    connection_reset without an OpenSSL Error before it: that is how
//	                                                  Mosquitto words a RST under TLS
//	Mosquitto, "unexpected eof" of a known client     peer_closed: a FIN without close_notify
//	Mosquitto, out of memory; no sockets left         server_busy
//	Mosquitto 2.0, websockets                         a closing by the broker is logged as one by the client, so it is
//	                                                  peer_closed; only clean ends and takeovers are told truly
//	Mosquitto, a takeover over a websocket            one event, though 2.0 logs the old connection's end once more
//	EMQX, idle_timeout                                idle_timeout: no CONNECT came
//	EMQX, ssl_upgrade_timeout                         handshake_timeout
//	EMQX, auth_expired, expired, maximum_connect_time lifetime_expired
//	NanoMQ, 0, 80, 8e and what is not known           other: NanoMQ uses them for several things
//	NanoMQ, 8b                                        peer_closed: its code for whatever the peer's socket did
//	AWS, AUTH_ERROR, FORBIDDEN_ACCESS                 not_authorized: who the client is was settled by TLS before
//	AWS, SERVER_ERROR                                 other by server; SERVER_INITIATED_DISCONNECT server_shutdown
//	aedes                                             tells no reason: other by unknown
package events
