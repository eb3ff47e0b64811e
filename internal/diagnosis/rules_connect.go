package diagnosis

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// waited returns how long the server took to close a connection that it did not answer.
func waited(x failing) time.Duration {
	w := x.Ending.When
	if w.SentAgo > 0 {
		return w.SentAgo
	}
	return w.Age
}

// owedByServer reports whether the server, or what stands for it, owes the answer that is missing.
func owedByServer(x failing) bool {
	return x.Ending.Initiator != disconnect.ByNetwork && x.Ending.Initiator != disconnect.ByClient
}

// connectRules are about connections that are opened and not answered.
func connectRules() []Rule {
	// closedFirst matches connections that were closed at once, before anything came.
	closedFirst := func(phases ...disconnect.Phase) func(*Facts, failing) bool {
		return func(_ *Facts, x failing) bool {
			e := x.Ending
			if e == nil || x.Speaks() != "" || !slices.Contains(phases, x.Phase) || !slices.Contains(append(closes, disconnect.FromDisconnectPacket), e.Evidence) {
				return false
			}
			return e.Reason == disconnect.ConnectionRefused || (e.Reason == disconnect.TLSError || e.Reason == disconnect.WebsocketError) && e.When.NothingCame()
		}
	}
	// otherTLS returns a probe that does TLS with the target.
	otherTLS := func(f *Facts) *Probe {
		for i := range f.Probes {
			if p := &f.Probes[i]; p.TLS != nil && p.TLS.Version != "" && p.Failure == nil && p.Succeeding > 0 {
				return p
			}
		}
		return nil
	}
	return []Rule{
		{
			Cause: "closed_after_wait", Title: "The server takes the CONNECT and closes after seconds without an answer",
			Shows:  "The connection was opened, and closed by the server seconds later, before any answer. A server that refuses a client does so at once, so this one wanted to answer and could not.",
			Advice: "Check the broker's log and its alarms: RabbitMQ in a memory or disk alarm closes new connections after 10 s.",
			Steps: []string{"A service that checks users or identifiers may not answer the broker in time.",
				"A balancer may wait for a broker behind it, and give up."},
			Alternatives: []string{"a resource alarm of the broker", "the service that checks its users does not answer", "a balancer that finds no broker in time"},
			judge: failureRule(func(f *Facts, x failing) bool {
				return is(disconnect.ConnackTimeout, "", closes...)(f, x) || is(disconnect.HandshakeTimeout, "", closes...)(f, x)
			}, func(f *Facts, x failing) string {
				return fmt.Sprintf("%s takes the connection and closes it %s later without any answer", f.Target.Address, ago(waited(x)))
			}),
		},
		{
			Cause: "closed_before_tls", Title: "The connection is closed before TLS begins",
			Shows:        "The connection was opened, and closed by the other side before it sent a byte of TLS. So this is no disagreement on TLS versions or ciphers.",
			Advice:       "Check whether a broker is behind the balancer at %s, and whether this port ends TLS.",
			Steps:        []string{"A balancer without a healthy broker behind it accepts and closes.", "A port that expects the PROXY protocol closes what comes without it.", "A plain MQTT port closes on a TLS ClientHello."},
			Alternatives: []string{"no broker behind the balancer", "a port without TLS", "a port that expects the PROXY protocol", "a connection limit"},
			judge:        failureRule(func(f *Facts, x failing) bool { return closedFirst(disconnect.PhaseTLS)(f, x) && otherTLS(f) == nil }, says("%s takes the connection and closes it before TLS begins: nothing is behind the balancer, or the port does not speak TLS")),
		},
		{
			Cause: "tls_hello_refused", Title: "The server closes the TLS handshake of one profile, and not of others",
			Shows:  "The server closed the connection right after the ClientHello of a profile, before it sent a byte of TLS. Another profile gets a TLS session there.",
			Advice: "Compare what the profiles offer: TLS versions, and tls.curves. A ClientHello with a post-quantum key share (X25519MLKEM768) needs two packets, which some old servers and middleboxes cannot take.",
			judge: failureRule(func(f *Facts, x failing) bool { return closedFirst(disconnect.PhaseTLS)(f, x) && otherTLS(f) != nil },
				func(f *Facts, x failing) string {
					return fmt.Sprintf("%s closes on the TLS ClientHello of %s, and serves %s", f.Target.Address, x.probe.name(), otherTLS(f).name())
				}),
		},
		{
			Cause: "closed_before_answer", Title: "The connection is closed before any answer",
			Shows:  "The connection was opened, and closed by the other side at once, before any answer to what pingreq sent first. pingreq also asked in TLS and HTTP, and nothing answered.",
			Advice: "Look into the log of the broker for this moment: it says why it closed.",
			Steps: []string{"A listener that expects the PROXY protocol closes what comes without it.", "A broker at its connection limit, or out of file descriptors, closes new connections.",
				"Some brokers close the connection of a client with an MQTT version, an identifier or credentials that they do not accept.", "A balancer without a healthy broker behind it accepts and closes."},
			Alternatives: []string{"a listener that expects the PROXY protocol", "a connection limit or a lack of file descriptors", "no broker behind the balancer"},
			judge:        failureRule(closedFirst(disconnect.PhaseMQTT, disconnect.PhaseWebsocket), says("%s takes the connection and closes it before any answer")),
		},
		{
			Cause: "large_packets_lost", Title: "Large packets do not arrive, small ones do",
			Shows:  "The connection was opened and small segments were acknowledged, but a full-sized segment of ours was sent again and again without an acknowledgement, or the server's large answer never came completely.",
			Advice: "Check the MTU on the path to %s: a tunnel or VPN needs a smaller MSS (MSS clamping), and ICMP \"fragmentation needed\" must pass.",
			Steps:  []string{"ping -M do -s 1472 HOST shows whether full-sized packets pass.", "Lower the MTU of this machine's interface for a test."},
			judge:  failureRule(largeLost, says("large packets on the path to %s are lost and small ones pass: the MTU of a link on the way is smaller than both sides believe")),
		},
		{
			Cause: "path_lost", Title: "The path to the server is cut",
			Shows:        "What pingreq sent on an open connection is not acknowledged by the other side's TCP: nothing of it arrives, or no answer comes back.",
			Advice:       "Check the path to %s: links, routers, firewalls and NAT on the way, then whether its host is up.",
			Steps:        []string{"If only some probes see it, one of several paths or balancers is broken.", "A firewall or NAT that forgot the connection drops what belongs to it."},
			Alternatives: []string{"the whole host is down"},
			judge: failureRule(func(_ *Facts, x failing) bool {
				i, e := x.By()
				return i == disconnect.ByNetwork && (e == disconnect.FromDeadline || e == disconnect.FromErrno) && x.Phase != disconnect.PhaseTCP && x.Phase != disconnect.PhaseResolve && x.Phase != disconnect.PhaseProxy
			}, says("the path to %s is cut: what we send on open connections is not acknowledged")),
		},
		{
			Cause: "silent_server", Explains: []string{"broker_stuck", "delivery_slow", "messages_lost"}, Title: "The server takes connections and says nothing",
			Shows:  "The connection was opened and what pingreq sent was acknowledged by the server's TCP, but no answer came. pingreq also asked whether the port speaks another protocol, and nothing answered.",
			Advice: "Check whether this is the MQTT port, then whether the broker's process is stopped, stuck or overloaded.",
			Steps: []string{"The kernel acknowledges for a process that stands still, so the host is up.", "A service that checks users may not answer the broker.",
				"A balancer may hold the connection of a broker that is gone.", "A server of another protocol may wait for more."},
			Alternatives: []string{"this is no MQTT port", "the service that checks the broker's users does not answer"},
			judge: failureRule(func(f *Facts, x failing) bool {
				return (is(disconnect.ConnackTimeout, "", disconnect.FromDeadline)(f, x) || is(disconnect.HandshakeTimeout, "", disconnect.FromDeadline)(f, x)) && x.Connecting() && owedByServer(x)
			}, func(f *Facts, x failing) string {
				what := "CONNECT"
				switch x.Phase {
				case disconnect.PhaseTLS:
					what = "the TLS handshake"
				case disconnect.PhaseWebsocket:
					what = "the request for a websocket"
				}
				if len(f.Connects) > 0 {
					return fmt.Sprintf("%s takes connections and does not answer %s any more: the broker is stopped, stuck or overloaded", f.Target.Address, what)
				}
				return fmt.Sprintf("%s takes connections and does not answer %s: is this an MQTT port? Or the broker is stopped, stuck or overloaded", f.Target.Address, what)
			}),
		},
		{
			Cause: "tls_disagreement", Title: "TLS cannot be set up",
			Shows:  "The TLS handshake failed with an alert, or one side found what the other sent unacceptable.",
			Advice: "Compare the TLS versions and cipher suites of the profile with those of the server.",
			Steps:  []string{"openssl s_client -connect ADDRESS shows what the server offers.", "Alert 70 is a disagreement on the version, alert 40 one on ciphers, or a demand for a client certificate."},
			judge: failureRule(func(f *Facts, x failing) bool {
				return is(disconnect.TLSError, "")(f, x) && !closedFirst(disconnect.PhaseTLS)(f, x)
			}, func(f *Facts, x failing) string {
				return fmt.Sprintf("TLS with %s cannot be set up (%s)", f.Target.Address, x.Detail)
			}),
		},
		{
			Cause: "websocket_fails", Title: "The websocket cannot be opened",
			Shows:  "The web server answers the request for a websocket with an error, or the websocket failed later.",
			Advice: "Check the path in the URL (many brokers use /mqtt), then the web server or proxy in front of the broker.",
			judge: failureRule(func(f *Facts, x failing) bool {
				return is(disconnect.WebsocketError, "")(f, x) && !closedFirst(disconnect.PhaseWebsocket)(f, x)
			}, func(f *Facts, x failing) string {
				return fmt.Sprintf("%s does not open a websocket (%s)", f.Target.Address, x.Detail)
			}),
		},
	}
}

// largeLost matches connections on which small segments were acknowledged and a large one was not.
func largeLost(_ *Facts, x failing) bool { return x.Ending != nil && x.Ending.When.LargeLost }

// certificateRules are about certificates.
func certificateRules() []Rule {
	server := func(cause, title string, fault disconnect.CertificateFault, shows, advice, sentence string, steps ...string) Rule {
		return Rule{Cause: cause, Title: title, Shows: shows, Advice: advice, Steps: steps,
			judge: failureRule(func(_ *Facts, x failing) bool { return x.Ending != nil && x.Ending.When.Certificate == fault },
				func(f *Facts, x failing) string { return fmt.Sprintf(sentence, f.Target.Address, x.Detail) })}
	}
	return []Rule{
		server("certificate_expired", "The server's certificate has expired", disconnect.CertificateExpired,
			"A certificate of the chain that the server sends is past its end.", "Renew the certificate of %s, and reload the broker: many brokers read it only at a start.",
			"the certificate of %s has expired (%s)", "Check whether the renewal ran and failed, or whether the broker still uses the old file."),
		server("certificate_not_yet_valid", "The server's certificate is not valid yet", disconnect.CertificateNotYetValid,
			"A certificate of the chain begins in the future, seen by the clock of this machine.", "Compare the clocks of this machine and of the one that issues certificates.",
			"the certificate of %s is not valid yet (%s)"),
		server("certificate_wrong_name", "The server's certificate is for another name", disconnect.CertificateWrongName,
			"The certificate verifies, but does not have the name that pingreq expects.", "Use a name of the certificate in the URL, or set tls.server_name of the target (--server-name).",
			"the certificate of %s is for another name (%s)", "A balancer may present the certificate of another service.", "A certificate with only a Common Name is not accepted any more: issue it with a Subject Alternative Name."),
		server("certificate_incomplete", "The server does not send its intermediate certificate", disconnect.CertificateMissingIntermediate,
			"The server sends only its own certificate, which no trusted authority has signed directly, and which names where the missing one can be fetched.", "Configure the broker to send its certificate with the intermediate ones (a \"full chain\").",
			"%s sends an incomplete chain of certificates (%s)", "Browsers often hide this fault, since they fetch what is missing. Devices do not."),
		server("certificate_self_signed", "The server's certificate is signed by itself", disconnect.CertificateSelfSigned,
			"The server sends one certificate, which is its own issuer and is not trusted.", "Trust it with tls.ca_file of the target (--ca-file), or have it signed by an authority that you trust.",
			"the certificate of %s is signed by itself, and not trusted here (%s)"),
		server("certificate_unknown_issuer", "The server's certificate has an unknown issuer", disconnect.CertificateUnknownIssuer,
			"No certificate that this machine trusts has signed the chain that the server sends.", "Give the certificate of the issuer in tls.ca_file of the target (--ca-file).",
			"the certificate of %s has an issuer that is not trusted here (%s)", "Check whether a proxy on the way replaces certificates.", "The server may omit an intermediate certificate."),
		server("client_certificate_missing", "The server demands a client certificate", disconnect.ClientCertificateMissing,
			"The server ended the handshake with the alert certificate_required.", "Set tls.cert_file and tls.key_file of the target (--cert-file, --key-file).",
			"%s demands a client certificate, and we sent none (%s)"),
		server("client_certificate_expired", "Our certificate has expired", disconnect.ClientCertificateExpired,
			"The server ended the handshake with the alert certificate_expired.", "Renew the client certificate (tls.cert_file of the target).",
			"%s says that our certificate has expired (%s)"),
		server("client_certificate_refused", "The server does not accept our certificate", disconnect.ClientCertificateRefused,
			"The server ended the handshake with an alert about our certificate, or about having none.", "Check whether the server trusts the issuer of our certificate, then whether it is revoked.",
			"%s does not accept our certificate, or demands one and got none (%s)"),
		server("certificate_unacceptable", "The server's certificate cannot be used", disconnect.CertificateOther,
			"The certificates of the server were read, and violate a rule of X.509.", "Look at the detail, and issue the certificate again.",
			"the certificate of %s cannot be used (%s)"),
	}
}
