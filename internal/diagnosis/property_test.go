package diagnosis

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// anyFailure reports whether a failure of the facts matches.
func anyFailure(f *Facts, match func(*Failure) bool) bool {
	return slices.ContainsFunc(f.Probes, func(p Probe) bool { return p.Failure != nil && match(p.Failure) })
}

// anyEnd counts the recent ends that match.
func anyEnd(f *Facts, match func(*End) bool) (n int) {
	for _, p := range f.Probes {
		for _, e := range p.Ends {
			if match(&e) {
				n++
			}
		}
	}
	return n
}

func reasonIs(reasons ...string) func(*Facts) bool {
	return func(f *Facts) bool {
		return anyFailure(f, func(x *Failure) bool { return slices.Contains(reasons, x.Reason) })
	}
}

func endingIs(match func(*disconnect.Ending) bool) func(*Facts) bool {
	return func(f *Facts) bool {
		return anyFailure(f, func(x *Failure) bool { return x.Ending != nil && match(x.Ending) })
	}
}

func certificateIs(fault disconnect.CertificateFault) func(*Facts) bool {
	return endingIs(func(e *disconnect.Ending) bool { return e.When.Certificate == fault })
}

// needs is what must be among the facts for each cause, in other words than those of the rules.
var needs = map[string]func(*Facts) bool{
	CauseHealthy: func(f *Facts) bool { return !anyFailure(f, func(*Failure) bool { return true }) },
	CauseCannotTell: func(f *Facts) bool {
		return slices.ContainsFunc(f.Probes, func(p Probe) bool { return p.Inconclusive != nil })
	},
	CauseNoResult: func(f *Facts) bool { return !anyFailure(f, func(*Failure) bool { return true }) },
	CauseOther:    func(f *Facts) bool { return anyFailure(f, func(*Failure) bool { return true }) },

	"agent_fault":     reasonIs("panic"),
	"clients_collide": func(f *Facts) bool { return len(f.Connects) > 0 && anyEnd(f, func(*End) bool { return true }) >= 3 },
	"client_id_shared": func(f *Facts) bool {
		return anyEnd(f, func(e *End) bool { return e.Reason == "session_taken_over" || e.When.Age < 15*time.Second }) > 0
	},

	"wrong_protocol":    endingIs(func(e *disconnect.Ending) bool { return e.When.Speaks != "" }),
	"name_not_resolved": reasonIs("dns_error"),
	"no_route":          reasonIs("network_unreachable"),
	"accept_queue_full": endingIs(func(e *disconnect.Ending) bool { return e.When.OthersAnswered }),
	"host_silent":       endingIs(func(e *disconnect.Ending) bool { return e.Reason == "network_timeout" && e.Phase == "tcp" }),
	"port_closed": endingIs(func(e *disconnect.Ending) bool {
		return e.Reason == "connection_refused" && e.Evidence == "errno" && e.Phase == "tcp"
	}),
	"proxy_fails": endingIs(func(e *disconnect.Ending) bool { return e.Phase == "proxy" }),

	"closed_after_wait": endingIs(func(e *disconnect.Ending) bool {
		return e.Evidence != "deadline" && (e.Reason == "connack_timeout" || e.Reason == "handshake_timeout")
	}),
	"closed_before_tls": endingIs(func(e *disconnect.Ending) bool { return e.Phase == "tls" && e.Evidence != "deadline" }),
	"tls_hello_refused": endingIs(func(e *disconnect.Ending) bool { return e.Phase == "tls" && e.Evidence != "deadline" }),
	"closed_before_answer": endingIs(func(e *disconnect.Ending) bool {
		return e.Evidence != "deadline" && (e.Phase == "mqtt" || e.Phase == "websocket")
	}),
	"large_packets_lost": endingIs(func(e *disconnect.Ending) bool { return e.When.LargeLost }),
	"path_lost":          endingIs(func(e *disconnect.Ending) bool { return e.Initiator == "network" }),
	"silent_server": endingIs(func(e *disconnect.Ending) bool {
		return e.Evidence == "deadline" && e.Phase != "established" && e.Initiator != "network"
	}),
	"tls_disagreement": reasonIs("tls_error"),
	"websocket_fails":  reasonIs("websocket_error"),

	"certificate_expired":        certificateIs(disconnect.CertificateExpired),
	"certificate_not_yet_valid":  certificateIs(disconnect.CertificateNotYetValid),
	"certificate_wrong_name":     certificateIs(disconnect.CertificateWrongName),
	"certificate_incomplete":     certificateIs(disconnect.CertificateMissingIntermediate),
	"certificate_self_signed":    certificateIs(disconnect.CertificateSelfSigned),
	"certificate_unknown_issuer": certificateIs(disconnect.CertificateUnknownIssuer),
	"client_certificate_missing": certificateIs(disconnect.ClientCertificateMissing),
	"client_certificate_expired": certificateIs(disconnect.ClientCertificateExpired),
	"client_certificate_refused": certificateIs(disconnect.ClientCertificateRefused),
	"certificate_unacceptable":   certificateIs(disconnect.CertificateOther),

	"client_refused":         endingIs(func(e *disconnect.Ending) bool { return e.Code == 2 || e.Code == 0x85 }),
	"credentials_refused":    reasonIs("authentication_failed"),
	"connect_not_authorized": endingIs(func(e *disconnect.Ending) bool { return e.Reason == "not_authorized" && e.Phase != "established" }),
	"access_denied":          endingIs(func(e *disconnect.Ending) bool { return e.Reason == "not_authorized" && e.Phase == "established" }),
	"banned":                 reasonIs("banned"),
	"server_busy":            reasonIs("server_busy"),
	"limit_exceeded":         reasonIs("rate_or_quota"),
	"redirected":             reasonIs("redirected"),
	"not_supported":          reasonIs("not_supported"),
	"packet_too_large":       endingIs(func(e *disconnect.Ending) bool { return e.Code == 0x95 || e.When.Sent == disconnect.Publish }),
	"protocol_violated":      reasonIs("protocol_error"),
	"flood":                  reasonIs("flood"),

	"closed_after_subscribe": endingIs(func(e *disconnect.Ending) bool {
		return e.When.Sent == disconnect.Subscribe && e.When.SentAgo < time.Second
	}),
	"closed_after_publish": endingIs(func(e *disconnect.Ending) bool {
		return e.When.Sent == disconnect.Publish && e.When.SentAgo < time.Second
	}),
	"broker_stuck":     endingIs(func(e *disconnect.Ending) bool { return e.Evidence == "deadline" && e.Initiator != "network" }),
	"keepalive_kick":   reasonIs("keepalive_timeout"),
	"idle_limit_told":  reasonIs("idle_timeout"),
	"server_stops":     reasonIs("server_shutdown"),
	"closed_by_admin":  reasonIs("admin_action"),
	"lifetime_expired": reasonIs("lifetime_expired"),

	"connection_age_limit": func(f *Facts) bool { return anyEnd(f, func(e *End) bool { return e.When.Age > 3*time.Second }) >= 3 },
	"idle_limit": func(f *Facts) bool {
		return anyEnd(f, func(e *End) bool { return e.When.SentAgo > 2*time.Second }) >= 3
	},
	"sessions_restarted": func(f *Facts) bool { return anyEnd(f, func(*End) bool { return true }) >= 2 },
	causeSessionsEnd:     func(f *Facts) bool { return anyEnd(f, func(*End) bool { return true }) >= 1 },

	"unshared_brokers": func(f *Facts) bool {
		n := 0
		for _, p := range f.Probes {
			n += len(p.Signs)
		}
		return n >= 2
	},
	"zombie": func(f *Facts) bool {
		return reasonIs("zombie")(f) || anyEnd(f, func(e *End) bool { return e.Reason == "zombie" }) >= 2
	},
	"messages_lost":       reasonIs("message_lost", "message_duplicated", "message_reordered"),
	"delivery_slow":       reasonIs("delivery_timeout"),
	"session_lost":        reasonIs("session_lost"),
	"not_taken_over":      reasonIs("not_taken_over"),
	"halfopen_undetected": reasonIs("detection_late", "undetected"),
	"halfopen_early":      reasonIs("detection_early"),
	"path_cuts_idle":      reasonIs("path_cut"),
	"will_missing":        reasonIs("will_missing"),
	"forbidden_accepted":  reasonIs("unexpected_acceptance"),
	"refused_differently": reasonIs("wrong_refusal"),
}

// TestNoAccusationWithoutEvidence diagnoses random mixtures of facts. A cause is named only if the
// facts have what it needs, and the state fits the facts.
func TestNoAccusationWithoutEvidence(t *testing.T) {
	for _, c := range append([]string{CauseHealthy}, causes()...) {
		if needs[c] == nil {
			t.Fatalf("the test does not know what %s needs", c)
		}
	}
	rules := Rules()
	seen := map[string]int{}
	for seed := range uint64(20_000) {
		f := randomFacts(rand.New(rand.NewPCG(seed, 13)))
		d := diagnose(rules, &f)
		seen[d.Cause]++
		for _, c := range append([]Other{{d.Cause, d.Sentence}}, d.Also...) {
			if !needs[c.Cause](&f) {
				t.Fatalf("seed %d: %s without evidence: %s", seed, c.Cause, c.Sentence)
			}
			if c.Sentence == "" {
				t.Fatalf("seed %d: %s without a sentence", seed, c.Cause)
			}
		}
		failing := len(f.failures()) > 0
		switch {
		case failing && !d.Failing():
			t.Fatalf("seed %d: something fails, and the target is %s", seed, d.State)
		case d.State == Down && len(f.succeededSince(d.Since)) > 0:
			t.Fatalf("seed %d: down, but %d probes have succeeded since", seed, len(f.succeededSince(d.Since)))
		case d.State == Healthy && d.Probes.Unknown > 0:
			t.Fatalf("seed %d: healthy, and %d probes are not known", seed, d.Probes.Unknown)
		case d.Failing() && (d.Since.IsZero() || d.Since.After(f.Now) || len(d.Evidence) == 0):
			t.Fatalf("seed %d: %s since %s, evidence %q", seed, d.Cause, d.Since, d.Evidence)
		}
	}
	for c := range needs {
		if seen[c] == 0 {
			t.Logf("%s never won", c)
		}
	}
}

// randomFacts returns a mixture of facts that need not make sense.
func randomFacts(r *rand.Rand) Facts {
	f := Facts{Now: exampleNow, Target: Target{Name: "plant", Scheme: pick(r, "mqtt", "mqtts", "ws", "wss"), Address: "broker.example:1883", Username: r.IntN(2) == 0}}
	back := func() time.Time { return f.Now.Add(-time.Duration(r.Int64N(int64(20 * time.Minute)))) }
	if r.IntN(4) == 0 {
		f.Mended = back()
	}
	for _, name := range []string{"connect", "hold", "echo", "roundtrip", "halfopen", "takeover"}[:1+r.IntN(6)] {
		p := f.probe(name)
		switch r.IntN(6) {
		case 0, 1:
			p.Succeeding, p.LastSuccess = 1, back()
		case 2, 3:
			p.Failing = 1
			e := randomEnding(r)
			p.Failure = &Failure{Reason: string(e.Reason), Phase: e.Phase, Ending: &e, Detail: "detail", Time: back(), Count: 1 + r.IntN(5)}
			if r.IntN(3) == 0 {
				p.Failure.Ending, p.Failure.Reason, p.Failure.Phase = nil, string(pick(r, disconnect.Findings()...)), disconnect.PhaseEstablished
			}
			p.Failure.Since = p.Failure.Time.Add(-time.Duration(r.Int64N(int64(time.Minute))))
		case 4:
			p.Inconclusive = &Inconclusive{Since: back(), Count: 1 + r.IntN(5), Detail: "why"}
		}
		if p.Held {
			for range r.IntN(endsKept) {
				e := randomEnding(r)
				p.Ends = append(p.Ends, End{Time: back(), Reason: string(e.Reason), Initiator: e.Initiator, Evidence: e.Evidence, When: e.When, Keepalive: 30 * time.Second})
			}
			slices.SortFunc(p.Ends, func(a, b End) int { return a.Time.Compare(b.Time) })
		}
		if r.IntN(5) == 0 {
			f.sign(name, "a sign")
		}
	}
	for range r.IntN(20) {
		at := back()
		f.Connects = append(f.Connects, synthetic.Connect{Who: synthetic.Borrower{Probe: f.id(pick(r, "connect", "hold", "echo"))}, From: at, To: at.Add(time.Duration(r.Int64N(int64(50 * time.Millisecond))))})
	}
	slices.SortFunc(f.Connects, func(a, b synthetic.Connect) int { return a.To.Compare(b.To) })
	return f
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomEnding(r *rand.Rand) disconnect.Ending {
	e := disconnect.Ending{Reason: pick(r, disconnect.Reasons()...), Initiator: pick(r, disconnect.Initiators()...), Evidence: pick(r, disconnect.Evidences()...),
		Phase: pick(r, disconnect.Phases()...), Code: pick(r, -1, -1, -1, 2, 0x85, 0x95, 0x87)}
	span := func() time.Duration {
		return pick(r, time.Millisecond, time.Second, 5*time.Second, 20*time.Second, 30*time.Second)
	}
	e.When = disconnect.Circumstances{Age: span(), Sent: pick(r, 0, disconnect.Connect, disconnect.Subscribe, disconnect.Publish, disconnect.Pingreq), SentSize: r.IntN(1 << 20),
		SentAgo: span(), Silence: span(), PingsAnswered: r.IntN(3), OthersAnswered: r.IntN(20) == 0, LargeLost: r.IntN(20) == 0}
	if r.IntN(15) == 0 {
		e.When.Speaks = pick(r, disconnect.Protocols()...)
	}
	if r.IntN(8) == 0 {
		e.When.Certificate = pick(r, disconnect.CertificateFaults()...)
	}
	return e
}
