package diagnosis

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// found matches failures with one of these findings.
func found(findings ...disconnect.Finding) func(*Facts, failing) bool {
	return func(_ *Facts, x failing) bool { return slices.Contains(findings, disconnect.Finding(x.Reason)) }
}

// findingRules are about what probes find wrong where no connection ended.
func findingRules() []Rule {
	return []Rule{
		{
			Cause: "unshared_brokers", Explains: []string{"session_lost", "not_taken_over", "messages_lost", "will_missing"}, Title: "Several brokers that do not share their sessions are behind one address",
			Shows:  "Two answers cannot come from one broker: a client with the same identifier did not take the session over, a session that was just left is not known, or a message published here does not reach a subscriber there, while a client that publishes to itself is served well.",
			Advice: "Check whether the balancer at %s spreads clients over brokers that are no cluster, or whose cluster link is down.",
			Steps:  []string{"Make the balancer choose the broker by client identifier or source address, or join the brokers to a cluster.", "Compare what the brokers say of themselves: $SYS, uptime, number of clients."},
			judge:  unshared,
		},
		{
			Cause: "zombie", Title: "Sessions answer pings and swallow publishes",
			Shows:  "On one connection the broker answered a PINGREQ, and before and after it acknowledged or delivered no publish.",
			Advice: "Look at the broker's log and send queues. Devices stay in this state until they reconnect.",
			judge: func(f *Facts) *finding {
				x := failureRule(found(disconnect.Zombie), says("sessions at %s answer pings and swallow publishes (zombies)"))(f)
				es := f.ends(recent, func(e *End) bool { return e.Reason == string(disconnect.Zombie) })
				if x == nil && len(es) >= leastFlaps && f.Now.Sub(es[len(es)-1].Time) <= flapWithin {
					x = &finding{sentence: says("sessions at %s turn into zombies again and again: they answer pings and swallow publishes until they reconnect")(f, failing{}),
						state: Degraded, since: first(es), evidence: []string{fmt.Sprintf("%d zombies of %s in the last %s", len(es), owners(es), ago(f.Now.Sub(first(es))))}}
				}
				return x
			},
		},
		{
			Cause: "messages_lost", Title: "Messages are lost, doubled or out of order",
			Shows:  "Numbered messages did not arrive, arrived more than once, or in another order.",
			Advice: "Look at the broker's drop counters and queue limits, then at bridges and cluster links.",
			judge: failureRule(found(disconnect.MessageLost, disconnect.MessageDuplicated, disconnect.MessageReordered),
				detailed("messages through %s do not arrive as they should (%s)")),
		},
		{
			Cause: "delivery_slow", Title: "Messages do not arrive in time",
			Shows:  "A published message did not reach its subscriber within the limit.",
			Advice: "Look at the broker's load and queues, then at bridges and cluster links on the way.",
			judge:  failureRule(found(disconnect.DeliveryTimeout), detailed("messages through %s do not arrive in time (%s)")),
		},
		{
			Cause: "session_lost", Title: "The broker loses sessions that it promised to keep",
			Shows:  "A client came back in time, and the broker had discarded its session.",
			Advice: "Check whether the broker restarted without persistence, then its limit for session expiry.",
			judge:  failureRule(found(disconnect.SessionLost), detailed("%s loses sessions that it promised to keep (%s)")),
		},
		{
			Cause: "not_taken_over", Title: "Two clients with one identifier stay connected",
			Shows:  "The broker accepted a second client with the same identifier, and kept the first one.",
			Advice: "Check whether a balancer sends them to brokers that do not share their sessions, then the health of the cluster.",
			judge:  failureRule(found(disconnect.NotTakenOver), detailed("%s serves two clients with one identifier (%s)")),
		},
		{
			Cause: "halfopen_undetected", Title: "Dead clients are noticed late or never",
			Shows:  "The Will of a client that vanished came after the limit, or never.",
			Advice: "Look at the broker's keepalive settings and load, then for a balancer that keeps dead connections open.",
			judge:  failureRule(found(disconnect.DetectionLate, disconnect.Undetected), detailed("%s notices dead clients too late (%s)")),
		},
		{
			Cause: "halfopen_early", Title: "Living clients may be kicked: dead ones are noticed too early",
			Shows:  "The Will of a client that vanished came before 1.5 times its keepalive.",
			Advice: "Look at the broker's keepalive factor and timer settings.",
			judge:  failureRule(found(disconnect.DetectionEarly), detailed("%s gives silent clients up too early (%s)")),
		},
		{
			Cause: "path_cuts_idle", Title: "The path cuts idle connections",
			Shows:  "Connections with different keepalives were cut at the same idle time.",
			Advice: "Use a keepalive shorter than the idle limits of balancers, firewalls and NAT on the path.",
			judge:  failureRule(found(disconnect.PathCut), detailed("something on the path to %s cuts idle connections (%s)")),
		},
		{
			Cause: "will_missing", Title: "Wills are not delivered",
			Shows:  "A connection broke, and its Will did not reach a subscriber.",
			Advice: "Check the access rules for the topic of the Will, then the broker's handling of Wills.",
			judge:  failureRule(found(disconnect.WillMissing), detailed("%s does not deliver Wills (%s)")),
		},
		{
			Cause: "forbidden_accepted", Title: "The broker accepts what it must refuse",
			Shows:  "A client that must be refused was let in, or may do what it must not.",
			Advice: "Treat this as a security problem: look at what changed in listeners, users and access rules.",
			judge:  failureRule(found(disconnect.UnexpectedAcceptance), detailed("%s accepts what it must refuse (%s)")),
		},
		{
			Cause: "refused_differently", Title: "The broker refuses for another reason than expected",
			Shows:  "A client that must be refused was refused, and not for an expected reason.",
			Advice: "Compare the detail with expect of the probe: the rule that should refuse may not have been checked.",
			judge:  failureRule(found(disconnect.WrongRefusal), detailed("%s refuses for another reason than expected (%s)")),
		},
	}
}

// unshared looks for two answers that cannot come from one broker. Access rules explain what does not
// reach another client, unless messages arrive that a client publishes to itself.
func unshared(f *Facts) *finding {
	x := &finding{}
	delivers, twice := "", false
	for i := range f.Probes {
		p := &f.Probes[i]
		for _, s := range p.Signs {
			switch {
			case s.Kind == synthetic.SignDelivers && p.Failure == nil:
				delivers = p.name() + ": messages that a client publishes to itself arrive, so no access rule forbids them"
			case s.Kind == synthetic.SignUnshared && p.Failure != nil:
				x.covers = append(x.covers, failing{p, p.Failure})
				x.evidence = append(x.evidence, p.name()+": "+s.Detail)
				twice = twice || p.Failure.Reason == string(disconnect.NotTakenOver)
			}
		}
	}
	if several := len(x.covers) > 1; !(several && (delivers != "" || twice) || len(x.covers) == 1 && twice && delivers != "") {
		return nil
	}
	if delivers != "" {
		x.evidence = append(x.evidence, delivers)
	}
	x.sentence = says("behind %s are several brokers that do not share their sessions")(f, failing{})
	if len(x.covers) == 1 {
		x.sentence = says("behind %s are probably several brokers that do not share their sessions")(f, failing{})
	}
	return x
}

// certificate returns what the certificate of the server says.
func (f *Facts) certificate() string {
	for i := range f.Probes {
		if t := f.Probes[i].TLS; t != nil && t.Certificate != nil {
			return t.Certificate.String()
		}
	}
	return ""
}

// certificateSoon is how long before its end a certificate is worth a remark.
const certificateSoon = 14 * 24 * time.Hour

// remarks are about what is no fault.
func remarks(f *Facts) (out []string) {
	seen := map[string]bool{}
	add := func(s string) {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	for i := range f.Probes {
		p := &f.Probes[i]
		for _, s := range p.Signs {
			if s.Kind != synthetic.SignUnshared && s.Kind != synthetic.SignDelivers {
				add(s.Detail)
			}
		}
		if p.TLS != nil && !p.TLS.EarliestExpiry.IsZero() {
			switch left := p.TLS.EarliestExpiry.Sub(f.Now); {
			case left > 0 && left < certificateSoon && (p.TLS.Lifetime == 0 || left < p.TLS.Lifetime/3):
				add(fmt.Sprintf("a certificate of the server expires in %s", ago(left)))
			}
			if p.TLS.SentExpiry.Before(f.Now) && p.TLS.EarliestExpiry.After(f.Now) {
				add("the server also sends a certificate that has expired, and that clients need not use")
			}
		}
	}
	if f.Broker != nil && f.Broker.Refused != "" {
		add("$SYS is refused: " + f.Broker.Refused)
	}
	if es := f.together(); len(es) > 1 && len(f.failures()) == 0 {
		add(fmt.Sprintf("%d sessions ended at once %s ago, and came back", len(es), ago(f.Now.Sub(es[len(es)-1].Time))))
	}
	return out
}
