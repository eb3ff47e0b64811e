package diagnosis

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	// recent is how long the end of a session says something of the present.
	recent = 10 * time.Minute
	// collisionSlack is how far the end of a session may be from the connect that caused it, besides
	// the time of the connect itself.
	collisionSlack = 20 * time.Millisecond
	// oneEvent is within which time sessions end that one event ends: a broker that dies, or a connection
	// that many sessions share. Clients that take over each other take longer for as many ends, since each
	// waits before it connects again.
	oneEvent = 100 * time.Millisecond
	// leastCollisions is at how many moments sessions must end to make a pattern.
	leastCollisions = 3
)

// ended is the end of a session of a probe.
type ended struct {
	probe *Probe
	*End
}

// ends returns the ends of sessions within a time, which match if match is not nil.
func (f *Facts) ends(within time.Duration, match func(*End) bool) (all []ended) {
	for i := range f.Probes {
		p := &f.Probes[i]
		for j := range p.Ends {
			if e := &p.Ends[j]; f.Now.Sub(e.Time) <= within && (match == nil || match(e)) {
				all = append(all, ended{p, e})
			}
		}
	}
	return all
}

// wordless reports whether a session ended in a way in which brokers end a session that was taken
// over: without a reason, or with that one.
func wordless(e *End) bool {
	switch disconnect.Reason(e.Reason) {
	case disconnect.SessionTakenOver, disconnect.PeerClosed, disconnect.ConnectionReset:
		return true
	}
	return false
}

// collided pairs the ends with the connects of other clients of ours that came at these moments. A connect
// takes over one session: the sessions that ended beside it at the same moment need another reason.
func (f *Facts) collided(es []ended) (hits []ended, by []*synthetic.Connect) {
	used := make([]bool, len(f.Connects))
	for _, e := range inOrder(es) {
		for i := range f.Connects {
			c := &f.Connects[i]
			same := c.Who.Probe == e.probe.ID && c.Who.Slot == e.Slot
			if !used[i] && !same && !e.Time.Before(c.From.Add(-collisionSlack)) && !e.Time.After(c.To.Add(collisionSlack)) {
				used[i] = true
				hits, by = append(hits, e), append(by, c)
				break
			}
		}
	}
	return hits, by
}

// inOrder returns the ends in the order of their times.
func inOrder(es []ended) []ended {
	return slices.SortedFunc(slices.Values(es), func(a, b ended) int { return a.Time.Compare(b.Time) })
}

// moments counts the times at which sessions ended, where all that end within oneEvent after the first of
// them are one, however many there are.
func moments(es []ended) (n int) {
	var began time.Time
	for _, e := range inOrder(es) {
		if began.IsZero() || e.Time.Sub(began) > oneEvent {
			n, began = n+1, e.Time
		}
	}
	return n
}

// byChance returns the part of the ends that would meet a connect if they came at random.
func (f *Facts) byChance() float64 {
	if len(f.Connects) < 2 {
		return 1
	}
	span := f.Connects[len(f.Connects)-1].To.Sub(f.Connects[0].From)
	var busy time.Duration
	for _, c := range f.Connects {
		busy += c.To.Sub(c.From) + 2*collisionSlack
	}
	if span <= 0 {
		return 1
	}
	return min(1, busy.Seconds()/span.Seconds())
}

// atLeast returns the probability of at least k hits in n tries, each with probability p.
func atLeast(k, n int, p float64) (sum float64) {
	for i := k; i <= n; i++ {
		c := 1.
		for j := range i {
			c = c * float64(n-j) / float64(i-j)
		}
		sum += c * math.Pow(p, float64(i)) * math.Pow(1-p, float64(n-i))
	}
	return sum
}

// unlikely is the probability below which something is no coincidence.
const unlikely = 0.001

// covering returns the failures of the probes with these ends.
func (f *Facts) covering(es []ended) (covers []failing) {
	for _, x := range f.failures() {
		for _, e := range es {
			if e.probe == x.probe && !x.Connecting() {
				covers = append(covers, x)
				break
			}
		}
	}
	return covers
}

// first returns the time of the first end.
func first(es []ended) (t time.Time) {
	for _, e := range es {
		if t.IsZero() || e.Time.Before(t) {
			t = e.Time
		}
	}
	return t
}

// owners names the probes with these ends.
func owners(es []ended) string {
	var ps []*Probe
	seen := map[*Probe]bool{}
	for _, e := range es {
		if !seen[e.probe] {
			seen[e.probe] = true
			ps = append(ps, e.probe)
		}
	}
	return some(names(ps))
}

// collisionsExplain are the causes that sessions seem to have that are taken over all the time.
var collisionsExplain = []string{CauseOther, "session_lost", "messages_lost", "not_taken_over", "delivery_slow", "will_missing", "halfopen_early", "closed_after_subscribe", "closed_after_publish",
	"connection_age_limit", "idle_limit", "sessions_restarted"}

// ownRules are about what we do ourselves.
func ownRules() []Rule {
	return []Rule{
		{
			Cause: "agent_fault", Title: "pingreq itself failed", Own: true,
			Shows:  "The code of a probe panicked. This says nothing about the target.",
			Advice: "Look into the log of the agent, and report the stack trace.",
			judge: failureRule(func(_ *Facts, x failing) bool { return x.Reason == string(disconnect.Panic) },
				func(_ *Facts, x failing) string {
					return "a probe of pingreq itself failed: this says nothing about the target"
				}),
		},
		{
			Cause: "clients_collide", Explains: collisionsExplain, Title: "Our own clients end each other's sessions", Own: true,
			Shows:  "Sessions of this agent end at the moments at which other clients of this agent connect, much more often than by chance. So the broker takes them for one client.",
			Advice: "Check whether the broker uses the user name as client identifier (Mosquitto: use_username_as_clientid), then whether a profile gives several clients the same client_id.",
			Steps: []string{"With use_username_as_clientid, every client needs a user name of its own, which pingreq cannot have: give it a listener without that option.",
				"A fixed client_id of a profile serves one session only: use a template with {hash}, or client_ids."},
			Alternatives: []string{"a profile with one client_id for several clients", "a limit of one connection for each user or address"},
			judge:        clientsCollide,
		},
		{
			Cause: "client_id_shared", Explains: collisionsExplain, Title: "Somebody else uses our client identifiers", Own: true,
			Shows:  "Sessions are taken over, and no client of this agent connected at these moments. MQTT 5 brokers say so (0x8E). With 3.1.1, sessions that end again and again within seconds, although the broker accepts other clients, look like this.",
			Advice: "Look for a second agent with the same agent.id, or with the same client_ids: each agent needs its own.",
			Steps:  []string{"The broker's log names the address of the other client.", "Pods of one deployment must not share agent.id: leave it out, and each takes its host name."},
			judge:  clientIDShared,
		},
	}
}

func clientsCollide(f *Facts) *finding {
	all := f.ends(recent, wordless)
	hits, connects := f.collided(all)
	var by []string
	for _, c := range connects {
		by = append(by, c.Who.Probe.Probe)
	}
	n := len(hits)
	told := 0 // hits that the broker itself calls takeovers
	for _, e := range hits {
		if e.Reason == string(disconnect.SessionTakenOver) {
			told++
		}
	}
	if told == 0 && (moments(hits) < leastCollisions || n*5 < len(all)*4 || atLeast(n, len(all), f.byChance()) > unlikely) {
		return nil
	}
	x := &finding{covers: f.covering(hits), since: first(hits), state: Degraded,
		sentence: fmt.Sprintf("our own clients end each other's sessions: %d of the latest %d ends came as another client of ours connected", n, len(all))}
	if f.Target.Username && (f.Broker == nil || f.Broker.Software == "" || f.Broker.Software == "mosquitto") {
		x.sentence += "; the broker probably uses the user name as client identifier"
	}
	x.evidence = []string{fmt.Sprintf("%d of %d ends of sessions of %s came while another client of this agent connected (of %s); by chance it would be %.1f", n, len(all), owners(hits), some(distinct(by)), f.byChance()*float64(len(all)))}
	x.evidence = append(x.evidence, evidenceOf(f, x.covers)...)
	return x
}

// distinct returns the different texts, in their order.
func distinct(texts []string) (out []string) {
	seen := map[string]bool{}
	for _, t := range texts {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}

const (
	// duelWithin is the time within which a duel of two clients with one identifier shows.
	duelWithin = 3 * time.Minute
	// duelAge is the age that the sessions of a duel do not reach, because each side reconnects soon.
	duelAge = 15 * time.Second
	// duelEnds is at how many moments sessions must end without a word to make a duel.
	duelEnds = 4
)

func clientIDShared(f *Facts) *finding {
	told := f.ends(recent, func(e *End) bool { return e.Reason == string(disconnect.SessionTakenOver) })
	if len(told) > 0 && !f.mostlyOurs(told) {
		return &finding{covers: f.covering(told), since: first(told), state: Degraded,
			sentence: "another client takes over our sessions: a second agent probably uses our client identifiers",
			evidence: []string{fmt.Sprintf("the broker says so (0x8E) of %s of %s, and no other client of this agent connected then", plural(len(told), "session"), owners(told))}}
	}
	byBroker := 0
	for _, t := range f.Told {
		if t.Reason == disconnect.SessionTakenOver && f.Now.Sub(t.Time) <= recent && !f.metConnect(t.Time) {
			byBroker++
		}
	}
	if silent := f.ends(recent, wordless); byBroker >= leastFlaps && len(silent) >= leastFlaps {
		return &finding{covers: f.covering(silent), since: first(silent), state: Degraded,
			sentence: "another client takes over our sessions: a second agent probably uses our client identifiers",
			evidence: []string{fmt.Sprintf("%d sessions of %s ended without a word, and the broker's events or log call %d of them taken over", len(silent), owners(silent), byBroker)}}
	}
	silent := f.ends(duelWithin, func(e *End) bool {
		return wordless(e) && e.When.Age > 0 && e.When.Age < duelAge && e.Time.After(f.Mended)
	})
	if moments(silent) < duelEnds || f.mostlyOurs(silent) || f.oneAnswer(silent) || !f.othersConnect(silent) {
		return nil
	}
	return &finding{covers: f.covering(silent), since: first(silent), state: Degraded,
		sentence:     fmt.Sprintf("%d sessions were accepted and closed again within %s without a word, while other clients of ours may stay: probably another client uses the same identifiers", len(silent), ago(duelAge)),
		evidence:     []string{fmt.Sprintf("%d ends of sessions of %s in the last %s, after %s", len(silent), owners(silent), ago(duelWithin), ages(silent))},
		alternatives: []string{"the broker or a balancer closes these sessions for a reason that is in its log", "a limit of connections for each user or address"}}
}

// mostlyOurs reports whether most ends came as another client of ours connected.
func (f *Facts) mostlyOurs(es []ended) bool {
	hits, _ := f.collided(es)
	return 2*len(hits) > len(es)
}

// oneAnswer reports whether all of these ends answer the same kind of packet, or came at one age.
func (f *Facts) oneAnswer(es []ended) bool {
	var ages []time.Duration
	one := true
	for _, e := range es {
		ages = append(ages, e.When.Age)
		one = one && answers(&e.When, es[0].When.Sent)
	}
	_, sameAge := same(ages)
	return one || sameAge && distinctMoments(es) >= leastSame
}

// answers reports whether an end came right after a SUBSCRIBE or PUBLISH of ours.
func answers(w *disconnect.Circumstances, sent disconnect.PacketType) bool {
	return w.Sent == sent && w.Answers() && (sent == disconnect.Subscribe || sent == disconnect.Publish)
}

// othersConnect reports whether the target has accepted clients of ours since the first of these ends.
func (f *Facts) othersConnect(es []ended) bool {
	n := len(f.Connects)
	return n > 0 && f.Connects[n-1].To.After(first(es)) || len(f.succeededSince(first(es))) > 0
}

// ages lists the ages of sessions at their ends.
func ages(es []ended) string {
	var out []string
	for _, e := range es {
		out = append(out, ago(e.When.Age))
	}
	if len(out) > maxEvidence {
		out = append(out[:maxEvidence], "…")
	}
	return strings.Join(out, ", ")
}
