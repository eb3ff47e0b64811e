package synthetic

import (
	"net/netip"
	"net/url"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Expected is how many series of one metric a probe has.
type Expected struct {
	Metric *Metric
	// Healthy is the number once the probe has run, while nothing fails.
	Healthy int
	// Most is the number after everything has happened that the probe can report.
	Most int
}

// Always says that the probe has n series of m as soon as it has run.
func (m *Metric) Always(n int) Expected { return Expected{m, n, n} }

// AtMost says that the probe has n series of m while nothing fails, and up to most series later.
func (m *Metric) AtMost(n, most int) Expected { return Expected{m, n, most} }

// Expected returns how many series the entry has of each metric: the common ones and those of its
// kind. The numbers come from the declarations, the options, the profile and the target.
func (e *Entry) Expected() []Expected {
	all := NewCommonMetrics().expected(e)
	for _, m := range e.Kind.Metrics {
		all = append(all, e.expected(m))
	}
	for _, x := range e.Kind.Series(e.Profile, e.Options) {
		for i := range all {
			if all[i].Metric.Name == x.Metric.Name {
				all[i] = x
			}
		}
	}
	return all
}

// expected returns what a declaration alone says: every series exists as soon as the probe has run.
func (e *Entry) expected(m *Metric) Expected {
	switch {
	case m.Name == phaseDuration:
		return m.Always(len(e.Phases()))
	case len(m.Labels) == 0:
		return m.Always(1)
	}
	return m.Always(len(m.Values()))
}

// expected returns how many series the common families have for an entry.
func (c *CommonMetrics) expected(e *Entry) []Expected {
	count := func(holds bool) int {
		if holds {
			return 1
		}
		return 0
	}
	secure := count(e.Secure())
	resumed := count(e.Secure() && e.Profile.TLS.Resumption)
	client := count(e.Secure() && e.Target.TLS.CertFile != "" && !e.Profile.TLS.WithoutClientCert)
	periodic := count(!e.Kind.Held())
	return []Expected{
		c.Info.Always(1), c.Interval.Always(periodic), c.Keepalive.Always(1), c.Success.Always(1), c.ConsecutiveFailures.Always(1),
		c.FailingSince.AtMost(0, 1), c.LastConclusive.Always(1), c.LastFailure.AtMost(0, 1), c.LastFailureInfo.AtMost(0, 1),
		c.Runs.AtMost(len(c.Runs.Zero), len(c.Runs.Values())), c.Failures.AtMost(0, len(e.Kind.Reasons)),
		c.RunDuration.AtMost(periodic, 1), // the run of a held session is its whole life
		c.TLSInfo.Always(secure), c.TLSResumed.Always(resumed), c.CertExpiry.Always(secure), c.CertLifetime.Always(secure),
		c.ClientCertExpiry.Always(client), c.ClientCertLifetime.Always(client),
	}
}

// Secure reports whether the transport of the entry has TLS.
func (e *Entry) Secure() bool {
	t := e.Transport()
	return t == "mqtts" || t == "wss"
}

// Phases returns the phases of a successful connect of the entry.
func (e *Entry) Phases() (phases []disconnect.Phase) {
	transport, dialled := e.Transport(), e.Target.URL
	if e.Profile.Proxy != "" {
		dialled = e.Profile.Proxy
	}
	if u, err := url.Parse(dialled); err == nil && transport != "unix" {
		if _, err := netip.ParseAddr(u.Hostname()); err != nil {
			phases = append(phases, disconnect.PhaseResolve)
		}
	}
	phases = append(phases, disconnect.PhaseTCP)
	if e.Profile.Proxy != "" {
		phases = append(phases, disconnect.PhaseProxy)
	}
	if e.Secure() {
		phases = append(phases, disconnect.PhaseTLS)
	}
	if transport == "ws" || transport == "wss" {
		phases = append(phases, disconnect.PhaseWebsocket)
	}
	return append(phases, disconnect.PhaseMQTT)
}
