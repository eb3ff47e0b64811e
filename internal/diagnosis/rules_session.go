package diagnosis

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

const (
	// leastSame is how many ends with one age, or one idle time, make a limit.
	leastSame = 3
	// flapWithin is how long after its latest end a probe counts as flapping.
	flapWithin = 5 * time.Minute
	// leastFlaps is how many ends make a probe flap.
	leastFlaps = 2
	// atOnce is how far apart ends with one cause may be.
	atOnce = 1500 * time.Millisecond
)

// silentEnd reports whether a session ended without a word for which a limit may be the reason.
func silentEnd(e *End) bool {
	switch disconnect.Reason(e.Reason) {
	case disconnect.PeerClosed, disconnect.ConnectionReset:
		return e.When.Age > 0
	}
	return false
}

// same reports whether durations differ by no more than a second or 4 %, and returns the median.
func same(ds []time.Duration) (time.Duration, bool) {
	if len(ds) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(ds))
	median := sorted[len(sorted)/2]
	return median, sorted[len(sorted)-1]-sorted[0] <= max(time.Second, median/25)
}

// limit is what a series of ends of one probe has in common.
type limit struct {
	ends       []ended
	age, idle  time.Duration
	sameAge    bool
	sameIdle   bool
	pinged     bool // the sessions exchanged pings before they ended
	neverSpoke bool // nothing was exchanged between CONNACK and the end
}

// limits returns the series of ends, one for each probe with enough of them.
func (f *Facts) limits() (all []limit) {
	for i := range f.Probes {
		p := &f.Probes[i]
		var l limit
		var ages, idles []time.Duration
		l.pinged, l.neverSpoke = true, true
		for j := range p.Ends {
			e := &p.Ends[j]
			if !silentEnd(e) || !e.Time.After(f.Mended) || f.Now.Sub(e.Time) > recent+3*e.When.Age {
				continue
			}
			l.ends = append(l.ends, ended{p, e})
			idle := min(e.When.SentAgo, e.When.Silence)
			ages, idles = append(ages, e.When.Age), append(idles, idle)
			l.pinged = l.pinged && e.When.PingsAnswered > 0
			l.neverSpoke = l.neverSpoke && e.When.PingsAnswered == 0 && e.When.Age-idle < time.Second
		}
		if distinctMoments(l.ends) < leastSame {
			continue
		}
		l.age, l.sameAge = same(ages)
		l.idle, l.sameIdle = same(idles)
		all = append(all, l)
	}
	return all
}

// distinctMoments counts the times at which sessions ended, where those that end within atOnce after
// another count once, however long that goes on: so many does a broker close one by one when it stops.
func distinctMoments(es []ended) (n int) {
	var last time.Time
	for _, e := range inOrder(es) {
		if last.IsZero() || e.Time.Sub(last) > atOnce {
			n++
		}
		last = e.Time
	}
	return n
}

// causeSessionsEnd is the cause of sessions that end when nothing shows why.
const causeSessionsEnd = "sessions_end"

// sessionRules are about what the ends of several sessions have in common.
func sessionRules() []Rule {
	return []Rule{
		{
			Cause: "connection_age_limit", Title: "Sessions end at one age",
			Shows:        "At least three sessions of a probe ended without a word at the same age, although pings were answered until then.",
			Advice:       "Look for a longest connection time: of the broker, of a balancer (timeout tunnel, maximum connection age), or of the token that the clients log in with.",
			Alternatives: []string{"a token that expires", "a longest connection age of a balancer or gateway", "a longest lifetime of a session at the broker"},
			judge: func(f *Facts) *finding {
				for _, l := range f.limits() {
					if l.sameAge && l.age > 3*time.Second && !l.neverSpoke {
						return &finding{covers: f.covering(l.ends), since: first(l.ends), state: Degraded,
							sentence: fmt.Sprintf("sessions end at one age, %s after the connect, although pings are answered until then", ago(l.age)),
							evidence: []string{fmt.Sprintf("%d sessions of %s ended after %s, without a word", len(l.ends), owners(l.ends), ages(l.ends))}}
					}
				}
				return nil
			},
		},
		{
			Cause: "idle_limit", Title: "Sessions end at one idle time",
			Shows:        "At least three sessions of a probe ended without a word after the same time without traffic, which is shorter than their keepalive.",
			Advice:       "Use a keepalive of at most 0.8 times that time, or raise the idle limit of the balancer, firewall or NAT on the path.",
			Steps:        []string{"Run the probe kind idle: it measures the limit and recommends a keepalive.", "If the broker itself has a shorter keepalive than ours, the time is about 1.5 times that: then set keepalive_bounds of the target."},
			Alternatives: []string{"an idle limit on the path", "a shorter keepalive of the broker itself"},
			judge: func(f *Facts) *finding {
				for _, l := range f.limits() {
					if l.sameIdle && l.idle > 2*time.Second && (l.neverSpoke || !l.sameAge) {
						return &finding{covers: f.covering(l.ends), since: first(l.ends), state: Degraded,
							sentence: fmt.Sprintf("sessions end when they have idled for %s: something on the path, or the broker itself, has an idle limit", ago(l.idle)),
							evidence: []string{fmt.Sprintf("%d sessions of %s ended after %s without traffic; their keepalive is %s", len(l.ends), owners(l.ends), ago(l.idle), l.ends[0].Keepalive)}}
					}
				}
				return nil
			},
		},
		{
			Cause: "sessions_restarted", Title: "All sessions ended at once",
			Shows:        "Several sessions that began at different times ended within a second and a half.",
			Advice:       "Check whether the broker or a proxy in front of it restarted or was reloaded.",
			Alternatives: []string{"a restart of the broker", "a reload of a proxy or balancer", "a short cut of the path"},
			judge: func(f *Facts) *finding {
				es := f.together()
				covers := f.covering(es)
				if len(es) == 0 || len(covers) == 0 {
					return nil
				}
				return &finding{covers: covers, since: first(es), state: Degraded,
					sentence: fmt.Sprintf("%d sessions ended at once: the broker or a proxy in front of it restarted", len(es)),
					evidence: evidenceOf(f, covers)}
			},
		},
		{
			Cause: causeSessionsEnd, Title: "Sessions keep ending",
			Shows:        "Sessions of a probe ended at least twice in ten minutes, lately within five, and nothing shows why.",
			Advice:       "Look into the broker's log for the moments of these ends, then at balancers on the path.",
			Alternatives: []string{"the broker closes them", "a balancer, firewall or NAT closes them"},
			judge: func(f *Facts) *finding {
				// Those that an outage ended are explained by it.
				es := f.ends(recent, func(e *End) bool { return e.Reason != string(disconnect.Zombie) && e.Time.After(f.Mended) })
				flapping := slices.DeleteFunc(slices.Clone(es), func(e ended) bool {
					n, last := 0, time.Time{}
					for _, x := range es {
						if x.probe == e.probe && x.Slot == e.Slot {
							n, last = n+1, x.Time
						}
					}
					return n < leastFlaps || f.Now.Sub(last) > flapWithin
				})
				if covers := f.endedOnly(es); len(flapping) == 0 && len(covers) == 0 {
					return nil
				} else if len(flapping) == 0 {
					return &finding{covers: covers, sentence: fmt.Sprintf("%s ended: %s", sessionsOf(len(covers)), brief(covers[0].Detail)), state: Degraded}
				}
				last := flapping[len(flapping)-1]
				return &finding{covers: f.endedOnly(es), since: first(flapping), state: Degraded,
					sentence: fmt.Sprintf("sessions keep ending: %d of %s in the last %s, the latest by %s", len(flapping), owners(flapping), ago(f.Now.Sub(first(flapping))), last.Reason),
					evidence: []string{fmt.Sprintf("%s: ends after %s", owners(flapping), ages(flapping))}}
			},
		},
	}
}

func sessionsOf(n int) string {
	if n == 1 {
		return "a session"
	}
	return fmt.Sprintf("sessions of %d probes", n)
}

// endedOnly returns failures of sessions that ended without anything that explains it.
func (f *Facts) endedOnly(es []ended) (covers []failing) {
	for _, x := range f.covering(es) {
		if x.Ending != nil && (x.Ending.Reason == disconnect.PeerClosed || x.Ending.Reason == disconnect.ConnectionReset) {
			covers = append(covers, x)
		}
	}
	return covers
}

// together returns the latest ends that came at once, if there are at least two of sessions that began
// at different times.
func (f *Facts) together() []ended {
	es := f.ends(recent, nil)
	if len(es) < 2 {
		return nil
	}
	es = inOrder(es)
	last := es[len(es)-1].Time
	at := slices.DeleteFunc(slices.Clone(es), func(e ended) bool { return last.Sub(e.Time) > atOnce })
	if len(at) < 2 {
		return nil
	}
	seen := map[*Probe]bool{}
	for _, e := range at {
		seen[e.probe] = true
	}
	var ages []time.Duration
	for _, e := range at {
		ages = append(ages, e.When.Age)
	}
	if _, one := same(ages); one && len(seen) < 2 {
		return nil // an age limit looks the same
	}
	return at
}
