package diagnosis

import (
	"cmp"
	"net/url"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Facts are what is known of a target at a moment.
type Facts struct {
	Now    time.Time
	Target Target
	Probes []Probe // sorted by name
	// Connects are the latest connects of all our clients that the target accepted, the oldest first.
	Connects []synthetic.Connect
	// Told are the latest words of the broker about the ends of our clients, the oldest first.
	Told []Told
	// Mended is when an outage was last found to be over: when a probe connected again that could not.
	Mended time.Time
	// OneShot reports that each probe runs only once, so that a run that could not tell anything is not
	// followed by another one.
	OneShot bool
	// Broker is what the broker says of itself. It is nil if nothing is known.
	Broker *Broker

	failed []failing // of all probes, once they are known
	looked bool      // they are
}

// Target is what the configuration says of a target.
type Target struct {
	Name string
	// Scheme and Address are those of the URL. Address is host:port, or the path of a unix socket.
	Scheme, Address string
	// Username reports whether our clients send a user name.
	Username bool
	// Insecure reports whether the certificate of the server is not verified.
	Insecure bool
}

// About returns what the configuration says of a target.
func About(t *synthetic.Target) Target {
	about := Target{Name: t.Name, Username: t.Username != "", Insecure: t.TLS.InsecureSkipVerify}
	about.Scheme, about.Address = split(t.URL)
	return about
}

// HostPort returns the host and the port of the address. The port is the default one if the URL has
// none.
func (t *Target) HostPort() (host, port string) {
	if t.Scheme == "unix" {
		return t.Address, ""
	}
	u := url.URL{Host: t.Address}
	return u.Hostname(), cmp.Or(u.Port(), mqtt.Schemes()[t.Scheme])
}

// URL returns the URL of the target with another scheme.
func (t *Target) URL(scheme string) string { return scheme + "://" + t.Address }

// Broker is what a broker says of itself.
type Broker struct {
	// Software is the name of the broker, such as "mosquitto". It is empty if that is not known.
	Software string
	// Refused says why `$SYS` may not be read. It is empty if it may be read.
	Refused string
}

// Told is why one of our clients was disconnected or refused, in the words of the broker.
type Told struct {
	Time   time.Time
	Reason disconnect.Reason
}

// Probe is what is known of a probe of a target.
type Probe struct {
	ID   synthetic.Identity
	Held bool
	// Interval is the time between two runs. For a held probe it is the time within which an attempt
	// to connect ends.
	Interval  time.Duration
	Keepalive time.Duration // of the profile
	Protocol  mqtt.Version
	// Sessions is 1 for a periodic probe. Succeeding and Failing count by the latest conclusive
	// outcome.
	Sessions, Succeeding, Failing int
	// LastSuccess is the time of the latest proof that the probe succeeds. It is zero if there was
	// none.
	LastSuccess time.Time
	// Failure is the latest failure. It is nil unless a session fails now.
	Failure *Failure
	// Inconclusive is set if the latest runs could not tell anything.
	Inconclusive *Inconclusive
	// Unsupported says what the broker does not offer, if the latest run found that.
	Unsupported string
	// Ends are the latest ends of sessions of a held probe that we did not want, the oldest first.
	Ends []End
	// Added is when the probe became part of the plan.
	Added time.Time
	// TLS has the facts of the latest handshake. It is nil if there was none.
	TLS *mqtt.TLSFacts
	// Signs are what the latest conclusive run found besides its outcome.
	Signs []synthetic.Sign
}

// Failure is a failed run.
type Failure struct {
	// Reason and Phase are those of the report.
	Reason string
	Phase  disconnect.Phase
	// Ending is nil for a finding.
	Ending *disconnect.Ending
	Detail string
	// Time is when the latest failure was found, and Began when its run began. Since is when the first
	// one began, of those that followed each other without a success. Count is their number.
	Time, Began, Since time.Time
	Count              int
}

// Speaks returns what the port speaks, if a failure found that it is not what we expect.
func (f *Failure) Speaks() disconnect.Protocol {
	if f.Ending == nil {
		return ""
	}
	return f.Ending.When.Speaks
}

// Connecting reports whether the failure prevented a session: it came before the broker had accepted
// the client.
func (f *Failure) Connecting() bool { return f.Phase != disconnect.PhaseEstablished }

// By returns the initiator and the evidence of an ending. Both are "" for a finding.
func (f *Failure) By() (disconnect.Initiator, disconnect.Evidence) {
	if f.Ending == nil {
		return "", ""
	}
	return f.Ending.Initiator, f.Ending.Evidence
}

// Inconclusive is a series of runs that could not tell anything.
type Inconclusive struct {
	// Since is when the first of them began. Count is their number.
	Since time.Time
	Count int
	// Detail says why the latest of them could not tell anything.
	Detail string
}

// End is how a held session ended that should have stayed connected.
type End struct {
	Time time.Time
	Slot int
	// Reason is the ending, or "zombie".
	Reason    string
	Initiator disconnect.Initiator
	Evidence  disconnect.Evidence
	When      disconnect.Circumstances
	Keepalive time.Duration // effective; 0 means that it is not known
}

// unknownAfter is how many intervals a probe may be unable to tell anything before it is unknown.
const unknownAfter = 3

// unknown reports whether it has not been known for too long how the target is for a probe.
func (f *Facts) unknown(p *Probe) bool {
	i := p.Inconclusive
	return i != nil && p.Failure == nil && (f.OneShot || !p.Held && i.Count >= unknownAfter || f.Now.Sub(i.Since) >= unknownAfter*p.Interval)
}

// failures returns the failures of all probes.
func (f *Facts) failures() []failing {
	if f.looked {
		return f.failed
	}
	var all []failing
	for i := range f.Probes {
		if p := &f.Probes[i]; p.Failure != nil {
			all = append(all, failing{p, p.Failure})
		}
	}
	f.failed, f.looked = all, true
	return all
}

// failing is a failure of a probe.
type failing struct {
	probe *Probe
	*Failure
}

// began returns when the oldest of the failures began.
func began(fs []failing) (t time.Time) {
	for _, f := range fs {
		if t.IsZero() || f.Since.Before(t) {
			t = f.Since
		}
	}
	return t
}

// succeededSince returns the probes that have succeeded after a time, and do not fail now.
func (f *Facts) succeededSince(t time.Time) (ps []*Probe) {
	for i := range f.Probes {
		if p := &f.Probes[i]; p.Succeeding > 0 && p.LastSuccess.After(t) {
			ps = append(ps, p)
		}
	}
	return ps
}

// calm reports whether nothing is wrong, and nothing was lately, so that the diagnosis does not change
// with time alone.
func (f *Facts) calm(d *Diagnosis) bool {
	if d.State != Healthy {
		return false
	}
	for i := range f.Probes {
		if p := &f.Probes[i]; p.Inconclusive != nil || len(p.Ends) > 0 || p.Pending() {
			return false
		}
	}
	return true
}

// Pending reports whether nothing is known of the probe yet.
func (p *Probe) Pending() bool {
	return p.Succeeding == 0 && p.Failing == 0 && p.Inconclusive == nil && p.Unsupported == ""
}

// unknowns returns the probes that have not been able to tell anything for too long.
func (f *Facts) unknowns() map[synthetic.Identity]Inconclusive {
	var all map[synthetic.Identity]Inconclusive
	for i := range f.Probes {
		if p := &f.Probes[i]; f.unknown(p) {
			if all == nil {
				all = map[synthetic.Identity]Inconclusive{}
			}
			all[p.ID] = *p.Inconclusive
		}
	}
	return all
}

// failingKinds returns the numbers of failing probes by kind.
func (f *Facts) failingKinds() map[string]int {
	kinds := map[string]int{}
	for i := range f.Probes {
		if f.Probes[i].Failing > 0 {
			kinds[f.Probes[i].ID.Kind]++
		}
	}
	return kinds
}

// counts counts the probes.
func (f *Facts) counts() (c Counts) {
	for i := range f.Probes {
		p := &f.Probes[i]
		c.All++
		switch {
		case p.Failing > 0:
			c.Failing++
		case f.unknown(p):
			c.Unknown++
		case p.Succeeding > 0:
			c.Succeeding++
		case p.Unsupported != "":
			c.Unsupported++
		default:
			c.Pending++
		}
	}
	return c
}
