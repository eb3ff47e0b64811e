// Package events reads the messages that brokers publish about their clients. It counts connects,
// failed connects and disconnects, by the reasons of
// [github.com/pingreq/pingreq/synthetic/disconnect].
//
// A [Dialect] names the topics of one kind of broker. Its [Parser] turns a message into an [Event].
// A [Broker] counts the events of one broker. The [Collector] exports the counts of all targets.
// The package has no network code: the owner of the connection subscribes to the dialect's filters
// and passes the messages on.
//
// # What counts
//
// A [Connect] is a CONNECT that the broker accepted. A [Disconnect] is the end of such a
// connection. A [ConnectFailure] is an attempt that ended before that: a wrong password, bytes that
// are not MQTT, a failed TLS handshake, and also the port check of a load balancer. Failures have a
// metric of their own. Otherwise a port check every two seconds would hide what happens to the
// clients. Many brokers name no client in a failure. For those brokers the failures include our own
// negative tests.
//
// The initiators are those of package disconnect: [disconnect.ByClient] is the client that the
// event is about. A bare FIN or RST has the initiator unknown, because a device between client and
// broker can send it too. If a broker closes a connection because the client broke a rule or a
// limit, the initiator is the server.
//
// One closing is one event, even if the broker reports it twice. A retained message is not an
// event. A message that cannot be read is counted and dropped.
//
// # Nothing personal
//
// No client identifier, user name or address leaves a parser, neither in an event nor in an error.
// To recognise repeated reports, a parser keeps a few hashes for a short time. Their key is never
// stored.
//
// # Decisions
//
// Some broker messages can be read in more than one way. These are the choices:
//
//	Mosquitto, "not authorised"                       authentication_failed: Mosquitto logs it for a
//	                                                  wrong password and for a missing one; an ACL
//	                                                  that refuses a topic ends no connection
//	Mosquitto, no client id in the line, or the       connect failure
//	client's address in its place
//	Mosquitto, "exceeded timeout" without a client id idle_timeout: no CONNECT came
//	Mosquitto, OpenSSL Error, then a closing          one event, certificate_error if a certificate
//	                                                  is the cause; the initiator is the side that
//	                                                  found the fault: an alert came from the client
//	Mosquitto, "Protocol error." of a known client    connection_reset if no OpenSSL Error came
//	                                                  before it: Mosquitto logs an RST under TLS
//	                                                  like this
//	Mosquitto, "unexpected eof" of a known client     peer_closed: a FIN without close_notify
//	Mosquitto, out of memory; no sockets left         server_busy
//	Mosquitto 2.0, websockets                         peer_closed: the log reports a closing by the
//	                                                  broker as one by the client; only clean ends
//	                                                  and takeovers are reported correctly
//	Mosquitto, a takeover over a websocket            one event, although 2.0 logs the old
//	                                                  connection's end again
//	EMQX, idle_timeout                                idle_timeout: no CONNECT came
//	EMQX, ssl_upgrade_timeout                         handshake_timeout
//	EMQX, auth_expired, expired, maximum_connect_time lifetime_expired
//	NanoMQ, 0, 80, 8e and unknown codes               other: NanoMQ uses them for several causes
//	NanoMQ, 8b                                        peer_closed: NanoMQ sends it for everything
//	                                                  that the peer's socket did
//	AWS, AUTH_ERROR, FORBIDDEN_ACCESS                 not_authorized: TLS has already verified who
//	                                                  the client is
//	AWS, SERVER_ERROR                                 other by server
//	AWS, SERVER_INITIATED_DISCONNECT                  server_shutdown
//	aedes                                             other by unknown: aedes reports no reason
package events
