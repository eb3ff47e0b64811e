package diagnosis

import (
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// exampleNow is the moment of all examples.
var exampleNow = time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC)

// Example returns facts for which a cause is the diagnosis, for its page and for tests. ok is false if
// there is no such cause.
func Example(cause string) (f Facts, ok bool) {
	fill, ok := examples[cause]
	if !ok {
		return f, false
	}
	f = Facts{Now: exampleNow, Target: Target{Name: "plant", Scheme: "mqtt", Address: "broker.example:1883"}}
	fill(&f)
	return f, true
}

// examples make the facts of each cause.
var examples = map[string]func(*Facts){
	CauseHealthy: func(f *Facts) { f.well("connect", "hold", "echo") },
	CauseCannotTell: func(f *Facts) {
		f.well("hold").dark("connect", 84, 21*time.Minute, "target plant: open /etc/pingreq/plant.password: no such file or directory")
	},
	CauseNoResult: func(f *Facts) { f.idle("connect", "hold") },
	CauseOther: func(f *Facts) {
		f.well("hold").failing("connect", ends(disconnect.Other, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x83 Implementation specific error"))
	},

	"agent_fault": func(f *Facts) {
		f.well("hold").finding("connect", disconnect.Panic, "the probe panicked: see the log of the agent")
	},
	"clients_collide": func(f *Facts) {
		f.Target.Username = true
		f.well("connect")
		for i := range 6 {
			at := exampleNow.Add(-time.Duration(100-15*i) * time.Second)
			f.Connects = append(f.Connects, synthetic.Connect{Who: synthetic.Borrower{Probe: f.id("connect")}, From: at, To: at.Add(3 * time.Millisecond)})
			f.ended("hold", at.Add(2*time.Millisecond), disconnect.PeerClosed, disconnect.FromFIN, disconnect.Circumstances{Age: 14 * time.Second, Sent: disconnect.Connect, SentAgo: 14 * time.Second, Silence: 14 * time.Second})
		}
		f.failing("hold", ends(disconnect.PeerClosed, disconnect.ByUnknown, disconnect.FromFIN, disconnect.PhaseEstablished, "FIN 14 s after our CONNECT, connection 14 s old"))
	},
	"client_id_shared": func(f *Facts) {
		f.well("connect")
		for i := range 5 {
			f.ended("hold", exampleNow.Add(-time.Duration(40-8*i)*time.Second), disconnect.SessionTakenOver, disconnect.FromDisconnectPacket, disconnect.Circumstances{Age: 2 * time.Second})
		}
		f.failing("hold", ends(disconnect.SessionTakenOver, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x8E Session taken over"))
	},

	"wrong_protocol": func(f *Facts) {
		e := ends(disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseMQTT, "FIN before any answer to CONNECT, after 0.4 ms; the port speaks TLS")
		e.When.Speaks = disconnect.SpeaksTLS
		f.Target.Address = "broker.example:8883"
		f.all(e)
	},
	"name_not_resolved": func(f *Facts) {
		f.all(ends(disconnect.DNSError, disconnect.ByNetwork, disconnect.FromResolver, disconnect.PhaseResolve, "DNS: no such host"))
	},
	"no_route": func(f *Facts) {
		f.all(ends(disconnect.NetworkUnreachable, disconnect.ByNetwork, disconnect.FromErrno, disconnect.PhaseTCP, "connect: no route to host"))
	},
	"accept_queue_full": func(f *Facts) {
		e := ends(disconnect.NetworkTimeout, disconnect.ByUnknown, disconnect.FromDeadline, disconnect.PhaseTCP, "no TCP connection in time, but it answers our other connections: its queue of new connections may be full")
		e.When.OthersAnswered = true
		f.well("hold", "echo").failing("connect", e)
	},
	"host_silent": func(f *Facts) {
		f.all(ends(disconnect.NetworkTimeout, disconnect.ByNetwork, disconnect.FromDeadline, disconnect.PhaseTCP, "no TCP connection in time"))
	},
	"port_closed": func(f *Facts) {
		f.all(ends(disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromErrno, disconnect.PhaseTCP, "connect: connection refused"))
	},
	"proxy_fails": func(f *Facts) {
		f.all(ends(disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromHTTPStatus, disconnect.PhaseProxy, "HTTP 502 Bad Gateway from the proxy"))
	},

	"closed_after_wait": func(f *Facts) {
		e := ends(disconnect.ConnackTimeout, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseMQTT, "FIN before any answer to CONNECT, after 10 s")
		e.When.Sent, e.When.SentAgo, e.When.Age = disconnect.Connect, 10*time.Second, 10*time.Second
		f.all(e)
	},
	"closed_before_tls": func(f *Facts) {
		f.Target.Scheme, f.Target.Address = "mqtts", "broker.example:8883"
		f.all(closedTLS())
	},
	"tls_hello_refused": func(f *Facts) {
		f.Target.Scheme, f.Target.Address = "mqtts", "broker.example:8883"
		f.well("connect-classic").failing("connect", closedTLS())
		f.probe("connect-classic").TLS = &mqtt.TLSFacts{Version: "TLS 1.3"}
	},
	"closed_before_answer": func(f *Facts) {
		f.all(ends(disconnect.ConnectionRefused, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseMQTT, "FIN before any answer to CONNECT, after 0.5 ms"))
	},
	"large_packets_lost": func(f *Facts) {
		e := ends(disconnect.HandshakeTimeout, disconnect.ByNetwork, disconnect.FromDeadline, disconnect.PhaseTLS, "the handshake did not finish in time: 2 segments not acknowledged, retransmitted 5 times")
		e.When.LargeLost = true
		f.all(e)
	},
	"path_lost": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.PingrespTimeout, disconnect.ByNetwork, disconnect.FromDeadline, disconnect.PhaseEstablished, "no PINGRESP in time: 2 segments not acknowledged, retransmitted 4 times"))
	},
	"silent_server": func(f *Facts) {
		f.all(ends(disconnect.ConnackTimeout, disconnect.ByServer, disconnect.FromDeadline, disconnect.PhaseMQTT, "no CONNACK in time: everything sent is acknowledged"))
	},
	"tls_disagreement": func(f *Facts) {
		f.well("connect").failing("connect-tls11", ends(disconnect.TLSError, disconnect.ByServer, disconnect.FromTLSAlert, disconnect.PhaseTLS, "tls: alert 70 protocol version not supported"))
	},
	"websocket_fails": func(f *Facts) {
		f.Target.Scheme = "ws"
		f.all(ends(disconnect.WebsocketError, disconnect.ByServer, disconnect.FromHTTPStatus, disconnect.PhaseWebsocket, "HTTP 404 Not Found"))
	},

	"certificate_expired":        certificateExample(disconnect.CertificateExpired, "x509: certificate has expired: that of broker.example, at 2026-05-04 00:00 UTC"),
	"certificate_not_yet_valid":  certificateExample(disconnect.CertificateNotYetValid, "x509: certificate is not yet valid: that of broker.example begins at 2026-05-05 00:00 UTC"),
	"certificate_wrong_name":     certificateExample(disconnect.CertificateWrongName, "x509: certificate is valid for other.example, not broker.example"),
	"certificate_incomplete":     certificateExample(disconnect.CertificateMissingIntermediate, "x509: certificate signed by unknown authority: the server sends only its own certificate, without that of its issuer Example CA"),
	"certificate_self_signed":    certificateExample(disconnect.CertificateSelfSigned, "x509: certificate signed by unknown authority: broker.example has signed itself"),
	"certificate_unknown_issuer": certificateExample(disconnect.CertificateUnknownIssuer, "x509: certificate signed by unknown authority: Example CA"),
	"client_certificate_missing": certificateExample(disconnect.ClientCertificateMissing, "tls: alert 116 certificate required"),
	"client_certificate_expired": certificateExample(disconnect.ClientCertificateExpired, "tls: alert 45 expired certificate"),
	"client_certificate_refused": certificateExample(disconnect.ClientCertificateRefused, "tls: alert 42 bad certificate"),
	"certificate_unacceptable":   certificateExample(disconnect.CertificateOther, "x509: a root or intermediate certificate is not authorized to sign for this name"),

	"client_refused": func(f *Facts) {
		e := ends(disconnect.ProtocolError, disconnect.ByServer, disconnect.FromConnack, disconnect.PhaseMQTT, "CONNACK 0x02 Connection Refused, identifier rejected")
		e.Code = 2
		f.all(e)
	},
	"credentials_refused": func(f *Facts) {
		f.all(refusal(disconnect.AuthenticationFailed, 0x86, "CONNACK 0x86 Bad User Name or Password"))
	},
	"connect_not_authorized": func(f *Facts) { f.all(refusal(disconnect.NotAuthorized, 0x87, "CONNACK 0x87 Not authorized")) },
	"access_denied": func(f *Facts) {
		f.well("connect", "hold").failing("echo", ends(disconnect.NotAuthorized, disconnect.ByServer, disconnect.FromSuback, disconnect.PhaseEstablished, "SUBACK 0x87 Not authorized"))
	},
	"banned":         func(f *Facts) { f.all(refusal(disconnect.Banned, 0x8a, "CONNACK 0x8A Banned")) },
	"server_busy":    func(f *Facts) { f.all(refusal(disconnect.ServerBusy, 0x89, "CONNACK 0x89 Server busy")) },
	"limit_exceeded": func(f *Facts) { f.all(refusal(disconnect.RateOrQuota, 0x9f, "CONNACK 0x9F Connection rate exceeded")) },
	"redirected":     func(f *Facts) { f.all(refusal(disconnect.Redirected, 0x9d, "CONNACK 0x9D Server moved")) },
	"not_supported": func(f *Facts) {
		f.well("connect-v311").failing("connect", refusal(disconnect.NotSupported, 0x84, "CONNACK 0x84 Unsupported Protocol Version"))
	},
	"packet_too_large": func(f *Facts) {
		e := ends(disconnect.ProtocolError, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x95 Packet too large")
		e.Code = 0x95
		f.well("connect", "hold").failing("roundtrip", e)
	},
	"protocol_violated": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished, "protocol error: PUBLISH with QoS 3"))
	},
	"flood": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.Flood, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished, "a flood: for 4 seconds more than 1000 packets a second"))
	},

	"closed_after_subscribe": func(f *Facts) {
		f.well("connect", "hold").failing("echo", answer(disconnect.Subscribe, 34, "FIN 2.1 ms after our SUBSCRIBE (34 bytes), connection 6 ms old"))
	},
	"closed_after_publish": func(f *Facts) {
		f.well("connect", "hold").failing("roundtrip", answer(disconnect.Publish, 120, "FIN 1.8 ms after our PUBLISH (120 bytes), connection 9 ms old"))
	},
	"broker_stuck": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.PingrespTimeout, disconnect.ByServer, disconnect.FromDeadline, disconnect.PhaseEstablished, "no PINGRESP in time: everything sent is acknowledged"))
	},
	"keepalive_kick": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.KeepaliveTimeout, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x8D Keep Alive timeout"))
	},
	"idle_limit_told": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.IdleTimeout, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "websocket close 3008 timeout"))
	},
	"server_stops": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.ServerShutdown, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x8B Server shutting down"))
	},
	"closed_by_admin": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.AdminAction, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0x98 Administrative action"))
	},
	"lifetime_expired": func(f *Facts) {
		f.well("connect").failing("hold", ends(disconnect.LifetimeExpired, disconnect.ByServer, disconnect.FromDisconnectPacket, disconnect.PhaseEstablished, "DISCONNECT 0xA0 Maximum connect time"))
	},

	"connection_age_limit": func(f *Facts) {
		f.well("connect", "hold")
		for i := range 4 {
			f.ended("hold", exampleNow.Add(-time.Duration(125-40*i)*time.Second), disconnect.PeerClosed, disconnect.FromFIN,
				disconnect.Circumstances{Age: 30 * time.Second, Sent: disconnect.Pingreq, SentAgo: time.Duration(2+i) * time.Second, Silence: time.Duration(2+i) * time.Second, PingsAnswered: 2})
		}
	},
	"idle_limit": func(f *Facts) {
		f.well("connect", "hold")
		for i := range 4 {
			f.ended("hold", exampleNow.Add(-time.Duration(125-40*i)*time.Second), disconnect.PeerClosed, disconnect.FromFIN,
				disconnect.Circumstances{Age: 20 * time.Second, Sent: disconnect.Connect, SentAgo: 20 * time.Second, Silence: 20 * time.Second})
		}
	},
	"sessions_restarted": func(f *Facts) {
		f.well("connect")
		for i, name := range []string{"hold", "echo"} {
			f.ended(name, exampleNow.Add(-2*time.Second), disconnect.PeerClosed, disconnect.FromFIN, disconnect.Circumstances{Age: time.Duration(40+30*i) * time.Minute, Sent: disconnect.Pingreq, SentAgo: time.Duration(3+i) * time.Second, PingsAnswered: 80})
			f.failing(name, ends(disconnect.PeerClosed, disconnect.ByUnknown, disconnect.FromFIN, disconnect.PhaseEstablished, "FIN, pings answered until then"))
		}
	},
	"sessions_end": func(f *Facts) {
		f.well("connect", "hold")
		for i, age := range []time.Duration{17 * time.Second, 81 * time.Second} {
			f.ended("hold", exampleNow.Add(-time.Duration(120-80*i)*time.Second), disconnect.PeerClosed, disconnect.FromFIN,
				disconnect.Circumstances{Age: age, Sent: disconnect.Pingreq, SentAgo: time.Duration(3+4*i) * time.Second, Silence: time.Duration(3+4*i) * time.Second, PingsAnswered: 2})
		}
	},

	"unshared_brokers": func(f *Facts) {
		f.well("connect", "hold").finding("takeover", disconnect.NotTakenOver, "the second client was accepted and the first one stayed").finding("resume", disconnect.SessionLost, "the session was gone after 0.2 s")
		f.sign("takeover", "two clients with one identifier stayed connected")
		f.sign("resume", "a session that had just been left was not known")
	},
	"zombie": func(f *Facts) {
		f.well("connect").finding("echo", disconnect.Zombie, "pings are answered, but acknowledgements of publishes are missing")
	},
	"messages_lost": func(f *Facts) {
		f.well("connect").finding("roundtrip", disconnect.MessageLost, "2 of 15 messages never arrived")
	},
	"delivery_slow": func(f *Facts) {
		f.well("connect").finding("roundtrip", disconnect.DeliveryTimeout, "4 of 15 messages did not arrive within 5s")
	},
	"session_lost": func(f *Facts) {
		f.well("connect").finding("resume", disconnect.SessionLost, "the broker discarded the session")
	},
	"not_taken_over": func(f *Facts) {
		f.well("connect").finding("takeover", disconnect.NotTakenOver, "the second client was accepted and the first one stayed")
	},
	"halfopen_undetected": func(f *Facts) {
		f.well("connect").finding("halfopen", disconnect.DetectionLate, "the broker noticed after 95s, 9.50 × the keepalive of 10s, after the limit of 32.5s")
	},
	"halfopen_early": func(f *Facts) {
		f.well("connect").finding("halfopen", disconnect.DetectionEarly, "the broker noticed after 11s, 1.10 × the keepalive of 10s, before the limit of 14s")
	},
	"path_cuts_idle": func(f *Facts) {
		f.well("connect").finding("idle", disconnect.PathCut, "idle connections are cut after 60s")
	},
	"will_missing": func(f *Facts) {
		f.well("connect").finding("halfopen", disconnect.WillMissing, "we reset the connection of a client, and its Will did not reach its subscriber")
	},
	"forbidden_accepted": func(f *Facts) {
		f.well("connect").finding("anonymous-refused", disconnect.UnexpectedAcceptance, "a client without credentials was accepted")
	},
	"refused_differently": func(f *Facts) {
		f.well("connect").finding("anonymous-refused", disconnect.WrongRefusal, "refused with server_busy, expected not_authorized")
	},
}

// ends is an ending of an example.
func ends(r disconnect.Reason, i disconnect.Initiator, e disconnect.Evidence, p disconnect.Phase, detail string) disconnect.Ending {
	return disconnect.Ending{Reason: r, Initiator: i, Evidence: e, Phase: p, Code: -1, Detail: detail}
}

// closedTLS is a close before TLS began.
func closedTLS() disconnect.Ending {
	e := ends(disconnect.TLSError, disconnect.ByServer, disconnect.FromFIN, disconnect.PhaseTLS, "FIN before any answer to the TLS ClientHello, after 0.5 ms")
	e.When.Age = 500 * time.Microsecond
	return e
}

// refusal is a CONNACK of an example.
func refusal(r disconnect.Reason, code int, detail string) disconnect.Ending {
	e := ends(r, disconnect.ByServer, disconnect.FromConnack, disconnect.PhaseMQTT, detail)
	e.Code = code
	return e
}

// answer is the end of a connection right after a packet of ours.
func answer(sent disconnect.PacketType, size int, detail string) disconnect.Ending {
	e := ends(disconnect.PeerClosed, disconnect.ByUnknown, disconnect.FromFIN, disconnect.PhaseEstablished, detail)
	e.When = disconnect.Circumstances{Age: 9 * time.Millisecond, Sent: sent, SentSize: size, SentAgo: 2 * time.Millisecond, Silence: 2 * time.Millisecond}
	return e
}

// certificateExample makes a target whose certificate, or ours, is not accepted.
func certificateExample(fault disconnect.CertificateFault, detail string) func(*Facts) {
	return func(f *Facts) {
		f.Target.Scheme, f.Target.Address = "mqtts", "broker.example:8883"
		e := ends(disconnect.CertificateError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseTLS, detail)
		e.When.Certificate = fault
		f.all(e)
	}
}

// id returns the identity of a probe of an example.
func (f *Facts) id(name string) synthetic.Identity {
	return synthetic.Identity{Target: f.Target.Name, Kind: name, Probe: name, Profile: "default"}
}

// probe returns a probe of an example, which it adds if it is not there.
func (f *Facts) probe(name string) *Probe {
	for i := range f.Probes {
		if f.Probes[i].ID.Probe == name {
			return &f.Probes[i]
		}
	}
	held := name == "hold" || name == "echo"
	f.Probes = append(f.Probes, Probe{ID: f.id(name), Held: held, Interval: 15 * time.Second, Keepalive: 30 * time.Second, Protocol: mqtt.V5, Sessions: 1})
	return &f.Probes[len(f.Probes)-1]
}

// well adds probes that succeed.
func (f *Facts) well(names ...string) *Facts {
	for _, n := range names {
		p := f.probe(n)
		p.Succeeding, p.LastSuccess = 1, exampleNow.Add(-5*time.Second)
	}
	return f
}

// idle adds probes without a result.
func (f *Facts) idle(names ...string) {
	for _, n := range names {
		f.probe(n)
	}
}

// dark adds a probe that has not been able to tell anything.
func (f *Facts) dark(name string, n int, lasts time.Duration, why string) {
	f.probe(name).Inconclusive = &Inconclusive{Since: exampleNow.Add(-lasts), Count: n, Detail: why}
}

// failing adds a probe that fails.
func (f *Facts) failing(name string, e disconnect.Ending) *Facts {
	p := f.probe(name)
	p.Succeeding, p.Failing = 0, 1
	p.Failure = &Failure{Reason: string(e.Reason), Phase: e.Phase, Ending: &e, Detail: e.Detail, Time: exampleNow.Add(-4 * time.Second), Since: exampleNow.Add(-64 * time.Second), Count: 5}
	return f
}

// all adds the usual probes, which all fail.
func (f *Facts) all(e disconnect.Ending) {
	for _, n := range []string{"connect", "hold", "echo", "roundtrip"} {
		f.failing(n, e)
	}
}

// finding adds a probe that fails with a finding.
func (f *Facts) finding(name string, what disconnect.Finding, detail string) *Facts {
	p := f.probe(name)
	p.Failing = 1
	p.Failure = &Failure{Reason: string(what), Phase: disconnect.PhaseEstablished, Detail: detail, Time: exampleNow.Add(-4 * time.Second), Since: exampleNow.Add(-64 * time.Second), Count: 3}
	return f
}

// ended adds the end of a session of a probe.
func (f *Facts) ended(name string, at time.Time, r disconnect.Reason, e disconnect.Evidence, when disconnect.Circumstances) {
	p := f.probe(name)
	p.Ends = append(p.Ends, End{Time: at, Reason: string(r), Evidence: e, Initiator: disconnect.ByUnknown, When: when, Keepalive: p.Keepalive})
}

// sign adds a sign that several brokers are behind the address.
func (f *Facts) sign(name, detail string) {
	p := f.probe(name)
	p.Signs = append(p.Signs, synthetic.Sign{Kind: synthetic.SignUnshared, Detail: detail})
}
