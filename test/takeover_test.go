package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/netfault"
	"github.com/pingreq/pingreq/test/lab"
)

// endpoint is a listener of a broker.
type endpoint struct {
	name, url string
	more      string   // further keys of the target
	login     []string // user and password, where the broker demands them
}

// persistentBroker is a broker that keeps connections and sessions by client id.
type persistentBroker struct {
	name      string
	start     func(t *testing.T) []endpoint
	profiles  []string
	misorders bool // may send again, after newer messages, what it had sent to a dead connection
}

// The profiles have client ids that these tests know, and sessions that would last.
const (
	v5Profile   = `{name: v5, keepalive: 5s, clean_start: false, session_expiry: 1h, client_id: "{target}-{probe}-{role}-{profile}"}`
	v311Profile = `{name: v311, protocol: "3.1.1", keepalive: 5s, clean_start: false, client_id: "{target}-{probe}-{role}-{profile}"}`
)

func startMosquittoOfAllKinds(t *testing.T) []endpoint {
	b := lab.StartMosquitto(t, lab.MosquittoOptions{})
	return []endpoint{{"plain", b.URL, "", nil}, {"tls", b.TLS, trust(b.CA), nil}, {"ws", b.WS, "", nil}}
}

func startNATS(t *testing.T) []endpoint {
	return []endpoint{{"nats", lab.StartNATS(t, lab.NATSOptions{}).URL, "", nil}}
}

func startRabbitMQ(t *testing.T) []endpoint {
	return []endpoint{{"rabbitmq", lab.StartRabbitMQ(t).URL, "", nil}}
}

func startEjabberd(t *testing.T) []endpoint {
	e := lab.StartEjabberd(t)
	login := fmt.Sprintf("username: %q, password_file: %q", e.Username, writeFile(t, "password", e.Password))
	return []endpoint{{"ejabberd", e.URL, login, []string{e.Username, e.Password}}}
}

// firstRuns starts an agent and waits until each of its n probes has done its first run. It starts
// again if this machine was too slow for that to mean anything.
func firstRuns(t *testing.T, p plan, n int) (a *agent, m metrics) {
	t.Helper()
	for range 5 {
		a = startPlan(t, p)
		a.until(atLeast(float64(n), "mqtt_probe_runs_total"))
		m = a.scrape() // that of the last run may have come in the middle of the first one
		if !strings.Contains(a.Log(), ownLateness) {
			break
		}
		a.Stop()
	}
	return a, m
}

// run starts the broker, and an agent with a probe of it. The probe's text has a %s for its
// profiles.
func (b *persistentBroker) run(t *testing.T, probe string) (a *agent, endpoints []endpoint, m metrics) {
	t.Helper()
	endpoints = b.start(t)
	p := plan{profiles: []string{v5Profile, v311Profile}, probes: []string{fmt.Sprintf(probe, strings.Join(b.profiles, ", "))}}
	for _, e := range endpoints {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100, %s}", e.name, e.url, e.more))
	}
	a, m = firstRuns(t, p, len(endpoints)*len(b.profiles))
	if deaf := netfault.Supported(netfault.Deaf) == nil; deaf && strings.Contains(a.Log(), "half-open clients vanish in mode") {
		t.Errorf("a better mode was not used, though this process may use it:\n%s", a.Log())
	}
	return a, endpoints, m
}

// nothingLeft checks that the broker keeps no session of the clients of a probe.
func (b *persistentBroker) nothingLeft(t *testing.T, endpoints []endpoint, probe string, roles ...string) {
	t.Helper()
	for _, e := range endpoints {
		for _, profile := range b.profiles {
			for _, role := range roles {
				id := strings.Join([]string{e.name, probe, role, profile}, "-")
				if hasSession(t, endpoints[0].url, id, e.login...) {
					t.Errorf("a session of %s is left", id)
				}
			}
		}
	}
}

// TestTakeover connects a second client beside a live one and beside a half-open one.
func TestTakeover(t *testing.T) {
	t.Parallel()
	both := []string{"v5", "v311"}
	for _, b := range []persistentBroker{
		{"Mosquitto", startMosquittoOfAllKinds, both, false},
		{"NATS", startNATS, []string{"v311"}, false},
		{"RabbitMQ", startRabbitMQ, []string{"v311"}, false},
		{"ejabberd", startEjabberd, both, false},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			a, endpoints, m := b.run(t, "{name: takeover, kind: takeover, profiles: [%s]}")
			a.blameless(m, "")
			for _, victim := range []string{"live", "half_open"} {
				for _, e := range endpoints {
					took := fmt.Sprintf("mqtt_probe_takeover_duration_seconds{victim=%s,target=%s}", victim, e.name)
					if n, want := m.sum(took), float64(len(b.profiles)); n != want {
						t.Errorf("%s has %g values, want %g", took, n, want)
					}
				}
			}
			b.nothingLeft(t, endpoints, "takeover", "victim")
		})
	}
}

// TestTakeoverFaults runs against brokers that refuse the second client, or keep both.
func TestTakeoverFaults(t *testing.T) {
	t.Parallel()
	brokers := map[string]*lab.Broker{}
	p := plan{
		profiles: []string{v5Profile, v311Profile},
		probes: []string{"{name: takeover, kind: takeover, profiles: [v5, v311], takeover: {close_timeout: 1s}}",
			"{name: gone, kind: takeover, profiles: [v5, v311], takeover: {victims: [half_open]}}"},
	}
	for name, o := range map[string]lab.BrokerOptions{
		"standard": {},
		"reset":    {Ending: lab.EndRST},
		"refused":  {Takeover: lab.TakeoverRefused},
		"both":     {Takeover: lab.TakeoverBoth},
	} {
		b := lab.StartBroker(t, o)
		brokers[name] = b
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100}", name, b.URL()))
	}
	_, m := firstRuns(t, p, 4*2*2)
	of := func(metric string) []string { return m.nonzero(metric, "target", "probe", "profile", "reason") }
	want := []string{"both takeover v311 not_taken_over", "both takeover v5 not_taken_over",
		"refused gone v311 protocol_error", "refused gone v5 protocol_error", "refused takeover v311 protocol_error", "refused takeover v5 protocol_error"}
	if diff := cmp.Diff(want, of("mqtt_probe_failures_total")); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	want = []string{"both gone", "reset gone", "reset takeover", "standard gone", "standard takeover"}
	if diff := cmp.Diff(want, m.nonzero("mqtt_probe_success", "target", "probe")); diff != "" {
		t.Errorf("successes (-want +got):\n%s", diff)
	}
	for _, b := range brokers {
		b.WaitState(lab.BrokerState{})
	}
}
