// Package disconnect says why an MQTT connection was refused or ended.
//
// It defines a bounded vocabulary, the rules that turn an observation into it, and a plain sentence
// for each word, written for somebody who was woken at three in the morning. It does no input or
// output and imports no other package of this module. An [Observation] of plain facts goes into
// [Classify], and an [Ending] comes out.
//
// # Words
//
// A [Reason] is why a connection was refused or ended. A [Finding] is what a probe found wrong
// although no connection ended. [Evidence] is how we know. A [Phase] is how far the connection had
// come.
//
// The [Initiator] is the side from which the end came: the side that refused or closed, if that can
// be known. If we closed because something was missing or wrong (an answer in time, a valid packet,
// a valid certificate), it is the side that should have sent it. An ending by [ByClient] other than
// [ClientDisconnect] is the fault of our own side and says nothing about the server: see
// [Ending.Local].
//
// # Order of the evidence
//
// The first kind of evidence that applies decides:
//
//  1. a packet from the server with a failure code, or its DISCONNECT
//  2. that we ended the connection on purpose
//  3. malformed input ([ErrProtocol])
//  4. a DISCONNECT of our own, or the deadline that made us send it
//  5. the HTTP status of a refused websocket or proxy
//  6. a websocket close frame
//  7. the resolver, the SOCKS proxy
//  8. TLS: alerts, certificates, records
//  9. the operating system's error number (before any deadline, because ETIMEDOUT also reports
//     itself as a timeout)
//  10. FIN and close_notify
//  11. a deadline of ours
//  12. our own cancelled context or closed socket
//  13. what is left, by phase
//
// # Decisions
//
// Where the standards or the brokers leave a choice, this was decided:
//
//	seen                                            reason, initiator, evidence
//	----------------------------------------------  ------------------------------------------------
//	CONNACK below 0x80, in either version           the codes of 3.1.1: a server that supports only
//	                                                3.1.1 answers an MQTT 5 CONNECT with its own
//	                                                code 1 (not_supported)
//	CONNACK from 0x80, in either version            the codes of MQTT 5: the two ranges do not
//	                                                overlap
//	CONNACK 3, 0x88, 0x89                           server_busy: the server answers, so it is
//	                                                running
//	CONNACK 2, 0x85                                 protocol_error: the client identifier breaks a
//	                                                rule of the server
//	CONNACK 6 (aedes: keep alive limit)             not_supported: a valid request that this server
//	                                                refuses
//	CONNACK 0x10 (NATS: Will at QoS 2)              not_supported, like 0x9B in MQTT 5
//	CONNACK 0x8D (ejabberd)                         keepalive_timeout
//	0x9A 0x9B 0x9E 0xA1 0xA2 in any packet          not_supported: the code names the missing
//	                                                feature, and the remedy is to do without it; the
//	                                                packet itself is valid
//	0x80, 0x83 and codes that MQTT does not define  other: the server does not say why
//	SUBACK 0x80 in 3.1.1                            not_authorized: 3.1.1 has no other failure code,
//	                                                and a malformed filter ends the connection
//	                                                instead
//	DISCONNECT below 0x80 from the server           peer_closed by server: it closed in order and
//	                                                gave no reason
//	DISCONNECT to a 3.1.1 client (mochi)            by the codes of MQTT 5
//	DISCONNECT of our own, 00 04 80 83 98           client_disconnect by client
//	DISCONNECT of our own, any other code           the code's reason by server: it is a complaint
//	                                                about the server
//	websocket close frame                           evidence disconnect_packet: it is the peer's own
//	                                                closing message
//	close frame 1000 or without a code              a close without a reason: peer_closed by server,
//	                                                or the result of the rules for a FIN below
//	close frame 1008, 3003                          not_authorized: "policy" is mostly a missing
//	                                                permission
//	close frame 1006, 1015                          never sent: the socket decides
//	close frame 1011, 4000 and up, unknown          other by server; 1014 websocket_error; 3008
//	                                                idle_timeout
//	HTTP status of a proxy other than 401 403 407   connection_refused by server; 504
//	429 503 and 3xx                                 network_timeout by network
//	resolver: any failure                           dns_error by network: the resolver is neither
//	                                                the client nor the broker
//	SOCKS reply                                     evidence errno: it passes on the error of the
//	                                                proxy's own connect
//	remote alert 42 to 46, 48, 116                  certificate_error by server, in any phase: TLS
//	                                                1.3 refuses a client certificate only on the
//	                                                first read after the handshake
//	remote alert 49 access_denied                   not_authorized: the certificate was valid, but
//	                                                its owner is not allowed in
//	remote alert 40 handshake_failure               tls_error: in TLS 1.2 also a missing client
//	                                                certificate; the detail says so
//	our own verification fails                      certificate_error by server, evidence local: the
//	                                                server owed a certificate that we can verify
//	our own alert                                   the alert's reason by unknown, evidence local
//	system's root certificates cannot be loaded     other by client, evidence local
//	plain bytes instead of TLS                      tls_error by server, evidence local
//	FIN, close_notify or RST in the TLS handshake   tls_error by server: whether the same refusal
//	                                                shows as FIN or RST depends on chance, because
//	                                                the kernel sends RST if unread bytes were left
//	the same in the websocket handshake             websocket_error by server
//	the same before CONNACK, no byte received       connection_refused by server (Mosquitto at
//	                                                max_connections)
//	the same after part of a CONNACK                as in an established session
//	FIN, close_notify or RST, idle for K or more    keepalive_timeout by server; by client if our
//	                                                own timers were late
//	close_notify otherwise                          peer_closed by server: only the TLS peer can
//	                                                have sent it
//	FIN otherwise                                   peer_closed by unknown; by server on a unix
//	                                                socket
//	RST, EPIPE otherwise                            connection_reset by unknown; by server on a unix
//	                                                socket
//	RST after FIN or close_notify                   the first sign of the end counts
//	ENOENT on a unix socket                         connection_refused by server
//	EACCES, EPERM on a unix socket                  not_authorized by server: it set the socket's
//	                                                permissions
//	EACCES, EPERM on TCP                            other by client, evidence local: this machine's
//	                                                own firewall or policy
//	EMFILE ENFILE EADDRNOTAVAIL EADDRINUSE ENOBUFS  other by client, evidence local
//	ENOMEM EAFNOSUPPORT
//	deadline, bytes not acknowledged                by network
//	the same, if they were sent just now            by server: the packet whose answer is overdue is
//	                                                not among them
//	deadline, all acknowledged                      by server; also for a full window whose probes
//	                                                are answered
//	deadline, TCP_INFO unknown                      by unknown; by server on a unix socket
//	deadline, our own timers late                   by client
//	deadline in resolve, tcp                        dns_error (resolver), network_timeout: by
//	                                                network
//	deadline in proxy                               network_timeout by unknown, by network if not
//	                                                acknowledged
//	timeout error with no deadline named            the deadline of the phase; network_timeout when
//	                                                established
//	nothing at all                                  other by unknown, evidence local
package disconnect

//go:generate go run ../../internal/gendocs -reasons ../../docs/reasons.md
