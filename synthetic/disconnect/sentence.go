package disconnect

var reasonSentences = map[Reason]string{
	ClientDisconnect:     "The client ended the connection on purpose. This is normal; if the client should have stayed connected, look at its own log.",
	KeepaliveTimeout:     "The server received nothing from the client for longer than the keepalive allows, so it closed the connection. Look first at whether the client sends its pings in time, then at the path between client and server.",
	IdleTimeout:          "The connection was closed because nothing was sent on it for longer than a server or balancer allows. Look first at the idle limits on the path, and use a keepalive shorter than the shortest of them.",
	PingrespTimeout:      "The server did not answer a PINGREQ with PINGRESP in time. Look first at whether the broker is stopped or overloaded, then at the path to it.",
	ConnackTimeout:       "The connection was opened, but the server did not answer CONNECT with CONNACK in time. Look first at the broker's load and at the service that checks its users.",
	AckTimeout:           "The server did not acknowledge a publish or subscribe in time. Look first at the broker's load and storage, then at its log for this moment.",
	HandshakeTimeout:     "TCP connected, but the TLS or websocket handshake did not finish in time. Look first at the server's load, then at whether that port speaks TLS or websocket at all.",
	PeerClosed:           "The other side closed the connection and gave no reason. Look first at the server's log for this moment, then at balancers on the path.",
	ConnectionReset:      "A TCP reset ended the connection. Look first at what was sent just before, since a server that closes without reading all of it resets the connection; then for a server that crashed, and for a firewall or balancer that dropped the connection.",
	ConnectionRefused:    "The server, or a device in front of it, does not accept the connection. Look first at whether the broker runs and listens there, then at its log and its connection limit.",
	NetworkTimeout:       "The server did not answer at the TCP level. Look first at whether its host is up, then at routes and firewalls on the way.",
	NetworkUnreachable:   "There is no route to the server's address. Look first at the links and routes of this machine, then at the network that the server is in.",
	DNSError:             "The server's name could not be resolved. Look first at whether the name is right, then at the resolver that this machine uses.",
	TLSError:             "TLS could not be set up, or failed later. Look first at the TLS versions and cipher suites of both sides, and at whether that port speaks TLS at all.",
	CertificateError:     "A certificate was not accepted. Look first at expiry, names and issuer, of the server's certificate and of the client's.",
	WebsocketError:       "The websocket could not be opened, or failed later. Look first at the path in the URL, then at the web server or proxy in front of the broker.",
	AuthenticationFailed: "The server did not accept the user name, password, token or authentication method. Look first at whether the credentials expired or were changed, then at the service that checks them.",
	NotAuthorized:        "The server does not allow what this client asked for. Look first at the access rules for its user, client id and topics, then at its credentials: many brokers also answer a wrong password like this.",
	Banned:               "The server has banned this client or its address. Look first at the broker's ban list and flapping protection.",
	SessionTakenOver:     "Another connection with the same client id took over the session. Look first for a second client with that id, then for a client that reconnects too soon.",
	AdminAction:          "Somebody closed the connection through the server's administration. Look first at who or what kicked clients at this moment.",
	Redirected:           "The server told the client to use another server. Look first at whether the cluster is being drained or the service has moved.",
	LifetimeExpired:      "The connection reached the longest lifetime that the server or its credentials allow. Look first at whether the client gets fresh credentials; connecting again should work.",
	ServerShutdown:       "The server announced that it stops or restarts. Look first at whether that was planned, then at the server's log.",
	ServerBusy:           "The server announced that it is unavailable or too busy. Look first at its load, memory and connection limit.",
	RateOrQuota:          "A rate limit or quota of the server was exceeded. Look first at which clients send or connect too much, then at the limit.",
	Flood:                "The server sent this client more packets or bytes than a client has to accept, so pingreq ended the session to protect itself. Look first at which subscriptions, bridges or access rules of the broker send foreign messages to this client, then at whether the server is the one you expect.",
	ProtocolError:        "One side found that the other violated the protocol. Look first at what the detail names, then at recent updates of either side.",
	NotSupported:         "The server does not offer what the client asked for, such as a protocol version, a QoS or a keepalive. Look first at the client's settings, then at what the server is configured to allow.",
	Other:                "The connection ended for a reason that pingreq does not classify. Look first at the detail, then at the server's log for this moment.",
}

var findingSentences = map[Finding]string{
	Zombie:               "The server still answers pings on this connection but no longer acknowledges or delivers publishes. Look first at the broker's log and send queues; devices stay in this state until they reconnect.",
	DeliveryTimeout:      "A message was published but did not reach the subscriber in time. Look first at the broker's load and queues, then at the bridge or cluster link on the way.",
	MessageLost:          "A message that should have arrived never arrived. Look first at the broker's drop counters and queue limits, then at the bridge or cluster link on the way.",
	MessageDuplicated:    "A message arrived more than once. Look first for a loop of bridges or overlapping subscriptions, then for acknowledgements that get lost.",
	MessageReordered:     "Messages did not arrive in the order in which they were published. Look first at bridges and cluster links, then at redelivery after a reconnect.",
	DetectionEarly:       "The server disconnected a silent client sooner than the keepalive allows, so it also disconnects devices that are slow but alive. Look first at the broker's keepalive factor and its timer settings.",
	DetectionLate:        "The server noticed a dead client later than it should. Look first at the broker's keepalive settings and load, then at a balancer that keeps dead connections open.",
	Undetected:           "The server did not notice a dead client before the run ended. Look first at whether the broker enforces keepalives, and whether it raises or ignores short ones.",
	WillMissing:          "A connection broke, but its Will did not reach the observer. Look first at the access rules for the Will's topic, then at the broker's handling of Wills.",
	PathCut:              "Something on the path cut the connection, not the broker. Look first at the idle limits of balancers, firewalls and NAT between here and the server.",
	SessionLost:          "The server discarded a session that it had promised to keep. Look first at whether the broker restarted without persistence, then at its limit for session expiry.",
	NotTakenOver:         "The server accepted a second client with the same id and kept the first one, so it now serves two clients with one id. Look first at whether a balancer sends them to brokers that do not share their sessions, then at the cluster's health.",
	UnexpectedAcceptance: "The server accepted what it must refuse. Treat this as a security problem: look first at what changed in its listeners, users and access rules.",
	WrongRefusal:         "The server refused what it must refuse, but not for an expected reason. Look first at the detail: the server may not have checked the rule that should have refused the client.",
	Panic:                "The probe's own code failed, which says nothing about the server. Look first at the agent's log and report the stack trace.",
}

var evidenceSentences = map[Evidence]string{
	FromDisconnectPacket: "The evidence is a DISCONNECT packet or a websocket close frame.",
	FromConnack:          "The evidence is the CONNACK.",
	FromSuback:           "The evidence is a SUBACK or UNSUBACK.",
	FromPuback:           "The evidence is the acknowledgement of a publish.",
	FromCloseNotify:      "The TLS connection was closed cleanly (close_notify), without a DISCONNECT.",
	FromFIN:              "The TCP connection was closed cleanly (FIN), without a DISCONNECT.",
	FromRST:              "The TCP connection was reset (RST).",
	FromTLSAlert:         "The TLS peer sent an alert.",
	FromDeadline:         "A deadline on this side passed.",
	FromErrno:            "The operating system or the proxy reported it.",
	FromResolver:         "The resolver reported it.",
	FromHTTPStatus:       "The evidence is the status of an HTTP answer.",
	FromEvent:            "The evidence is a client event of the broker.",
	FromLog:              "The evidence is the broker's log.",
	FromLocal:            "This side found the fault or ended the connection itself.",
}

// Sentence says in plain words what happened and where to look first. It returns "" for a value
// that is not one of [Reasons].
func (r Reason) Sentence() string { return reasonSentences[r] }

// Sentence says in plain words what was found and where to look first. It returns "" for a value
// that is not one of [Findings].
func (f Finding) Sentence() string { return findingSentences[f] }

// Sentence says in plain words how we know. It returns "" for a value that is not one of
// [Evidences].
func (e Evidence) Sentence() string { return evidenceSentences[e] }

// Sentence returns the reason's sentence and what initiator and evidence add to it.
func (e Ending) Sentence() string {
	s := e.Reason.Sentence()
	for _, more := range []string{e.side(), e.Evidence.Sentence()} {
		if more != "" {
			s += " " + more
		}
	}
	return s
}

// side returns what the initiator adds, or "" if the reason says everything.
func (e Ending) side() string {
	switch {
	case e.Local():
		return "The fault is on this side (late timers, no resources left, its own policy), so it says nothing about the server."
	case e.When.Speaks != "":
		return "The port speaks " + e.When.Speaks.Name() + ", and not what the URL demands: look at the scheme and the port of the URL."
	case e.Evidence == FromConnack && (e.Code == 2 || e.Code == 0x85):
		return "The broker refuses the client identifier, or the keepalive (Mosquitto answers so above max_keepalive): look at its rules for identifiers and at its longest keepalive."
	case e.Phase == PhaseTLS && e.When.NothingCame() && e.Evidence != FromDeadline:
		return "Nothing of TLS came before the close, so this is no disagreement on versions: nothing is behind the balancer, or the port does not speak TLS."
	case e.When.LargeLost:
		return "Large packets are lost on the way and small ones pass: the MTU of a link is smaller than both sides believe."
	case e.When.OthersAnswered:
		return "The host answers our other connections, so it is up: its queue of new connections may be full."
	case (e.Reason == PeerClosed || e.Reason == ConnectionReset) && e.Phase == PhaseEstablished && e.When.Answers() && (e.When.Sent == Subscribe || e.When.Sent == Publish):
		return "The end answers our " + e.When.Sent.String() + ": some servers close the connection of a client that does what their access rules or limits forbid."
	case e.Initiator == ByUnknown:
		return "The evidence does not show which side caused it."
	case e.Initiator == ByNetwork && e.Evidence == FromDeadline:
		return "The data that this side sent is not acknowledged: the path or the whole host is down."
	case e.Initiator == ByServer && e.Evidence == FromDeadline:
		return "The data that this side sent is acknowledged, so path and host are up: the broker is stopped or stuck, or a balancer holds a dead connection open."
	case e.Reason == CertificateError && e.Evidence == FromTLSAlert:
		return "The server refused the client's certificate, or requires one and got none."
	case e.Reason == CertificateError && e.Evidence == FromLocal:
		return "This side could not verify the server's certificate."
	case e.Reason == PeerClosed && e.Initiator == ByServer && e.Evidence == FromCloseNotify:
		return "The TLS peer itself closed the connection, not a device on the path."
	}
	return ""
}
