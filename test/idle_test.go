package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/test/lab"
)

// idleLimit is the idle time after which the paths of these tests cut a connection.
const idleLimit = 7 * time.Second

// idlePlan returns a plan that probes a broker with a ladder around idleLimit.
func idlePlan(url string, keepalive time.Duration) plan {
	return plan{
		targets:  []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", url)},
		profiles: []string{fmt.Sprintf("{name: default, keepalive: %s, ping: {timeout: 3s}}", keepalive)},
		probes:   []string{"{name: idle, kind: idle, idle: {ladder: [2s, 4s, 6s, 8s, 10s]}}"},
	}
}

// probeIdle runs an idle probe once, inside a namespace unless it is nil. If the run is
// inconclusive because this machine was too slow, probeIdle runs it again.
func probeIdle(t *testing.T, within *lab.Namespace, p plan) (answer status.Result) {
	t.Helper()
	file := p.file(t)
	timers := watchTimers(t)
	for range 5 {
		start := time.Now()
		var out, problems bytes.Buffer
		cmd := exec.CommandContext(t.Context(), program, "probe", "--config.file="+file, "--output=json")
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &problems, patience
		execute := func() { _ = cmd.Run() } // a failed probe is an exit code, too
		if within == nil {
			execute()
		} else {
			within.Do(execute)
		}
		checkLog(t, problems.String())
		var got []status.Result
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 1 {
			t.Fatalf("%v: %s%s", err, &out, &problems)
		}
		if answer = got[0]; !strings.Contains(answer.Detail, ownLateness) && !(answer.Outcome == synthetic.Inconclusive && timers.Since(start) > 0) {
			break
		}
	}
	return answer
}

// fact returns a text of a result, or "".
func fact(r status.Result, name string) string {
	text, _ := r.Facts[name].(string)
	return text
}

// TestIdle finds the idle limits of real paths.
func TestIdle(t *testing.T) {
	t.Parallel()
	balanced := func(t *testing.T) (string, *lab.Namespace) {
		m := lab.StartMosquitto(t, lab.MosquittoOptions{})
		return lab.StartBalancer(t, lab.BalancerOptions{Server: strings.TrimPrefix(m.URL, "mqtt://"), ClientTimeout: idleLimit}).URL, nil
	}
	routed := func(limit func(*lab.RoutedNetwork, time.Duration)) func(t *testing.T) (string, *lab.Namespace) {
		return func(t *testing.T) (string, *lab.Namespace) {
			r := lab.NewRoutedNetwork(t)
			limit(r, idleLimit)
			return lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: r.Broker}).URL, r.Client
		}
	}
	const atLimit, above = `after (6\.[5-9]|7)[.0-9]*s`, `after at most 8[.0-9]*s`
	for _, tt := range []struct {
		name            string
		path            func(t *testing.T) (url string, within *lab.Namespace)
		keepalive       time.Duration
		outcome, reason string
		// Regular expressions; "": there must be no text.
		detail, survived, cut, recommended string
	}{
		{"balancer", balanced, 4 * time.Second, "success", "",
			`connections may idle for 6s and die ` + atLimit, `6s`, atLimit + ` idle: peer_closed \(unknown, fin\)`, `4s`},
		{"balancer, keepalive too long", balanced, 8 * time.Second, "failure", "path_cut",
			`connections die ` + atLimit + ` idle \(fin\)`, `6s`, atLimit, `4s`},
		{"forgetful router", routed((*lab.RoutedNetwork).ForgetIdle), 4 * time.Second, "success", "",
			`connections may idle for 6s and die ` + above, `6s`, above + ` idle: pingresp_timeout \(network, deadline\)`, `4s`},
		{"forgetful router, keepalive too long", routed((*lab.RoutedNetwork).ForgetIdle), 8 * time.Second, "failure", "path_cut",
			`connections die ` + above + ` idle \(deadline\)`, `6s`, above, `4s`},
		{"resetting router", routed((*lab.RoutedNetwork).ResetIdle), 4 * time.Second, "success", "",
			`connections may idle for 6s and die ` + above, `6s`, above + ` idle: connection_reset \(unknown, rst\)`, `4s`},
		{"no limit", func(t *testing.T) (string, *lab.Namespace) {
			return lab.StartMosquitto(t, lab.MosquittoOptions{}).URL, nil
		},
			4 * time.Second, "success", "", `no limit found up to 10s`, `10s`, ``, `8s`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, within := tt.path(t)
			got := probeIdle(t, within, idlePlan(url, tt.keepalive))
			if string(got.Outcome) != tt.outcome || got.Reason != tt.reason {
				t.Errorf("%s %s, want %s %s", got.Outcome, got.Reason, tt.outcome, tt.reason)
			}
			for _, text := range []struct{ name, got, want string }{
				{"detail", got.Detail, tt.detail}, {"survived", fact(got, "survived"), tt.survived},
				{"cut", fact(got, "cut"), tt.cut}, {"recommended keepalive", fact(got, "recommended_keepalive"), tt.recommended},
			} {
				if text.want == "" && text.got != "" || !regexp.MustCompile("^"+text.want).MatchString(text.got) {
					t.Errorf("%s: %q, want %q", text.name, text.got, text.want)
				}
			}
			if t.Failed() {
				t.Log(got.Facts)
			}
		})
	}
}

// TestIdleMetrics reads the metrics of an idle probe.
func TestIdleMetrics(t *testing.T) {
	t.Parallel()
	broker := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	balancer := lab.StartBalancer(t, lab.BalancerOptions{Server: broker.Addr().String(), ClientTimeout: idleLimit})
	p := idlePlan(balancer.URL, 4*time.Second)
	p.profiles = append(p.profiles, `{name: v311, protocol: "3.1.1", keepalive: 4s}`)
	p.probes = append(p.probes, "{name: old, kind: idle, profiles: [v311]}")
	const unsupported = "mqtt_probe_runs_total{probe=old,outcome=unsupported}"
	var m metrics
	for range 5 {
		a := startPlan(t, p)
		m = a.until(all(atLeast(1, "mqtt_probe_runs_total{probe=idle}"), atLeast(1, unsupported)))
		if m.sum("mqtt_probe_runs_total{probe=idle,outcome=inconclusive}") == 0 || !a.late() {
			break
		}
		a.Stop() // this machine was too slow
	}
	for name, want := range map[string][2]float64{
		"mqtt_probe_success":                       {1, 1},
		"mqtt_probe_idle_survived_seconds":         {6, 6},
		"mqtt_probe_idle_cut_seconds":              {6.5, 7.9},
		"mqtt_probe_recommended_keepalive_seconds": {4, 4},
		"mqtt_probe_keepalive_seconds":             {4, 4},
	} {
		if v := m.sum(name + "{probe=idle}"); v < want[0] || v > want[1] {
			t.Errorf("%s is %g, want %g to %g", name, v, want[0], want[1])
		}
	}
	var none []string
	if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total", "probe", "reason")); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
}

// TestIdleFrozen stops the agent until the balancer has cut all its connections, including the one
// that never idles.
func TestIdleFrozen(t *testing.T) {
	t.Parallel()
	broker := lab.StartBroker(t, lab.BrokerOptions{})
	balancer := lab.StartBalancer(t, lab.BalancerOptions{Server: broker.Addr().String(), ClientTimeout: idleLimit})
	a := startPlan(t, idlePlan(balancer.URL, 8*time.Second))
	clients(t, broker, 6)
	a.Signal(syscall.SIGSTOP)
	clients(t, broker, 0)
	a.Signal(syscall.SIGCONT)
	m := a.until(atLeast(1, "mqtt_probe_runs_total"))
	if diff := cmp.Diff([]string{"inconclusive"}, m.nonzero("mqtt_probe_runs_total", "outcome")); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if n := m.series("mqtt_probe_idle_cut_seconds"); n != nil {
		t.Errorf("our own lateness is blamed on the path:%s", m.show("mqtt_probe_idle_cut_seconds"))
	}
}

// TestIdleStopped ends the agent in the middle of a run. Nothing stays at the broker, and every
// connection ends in order.
func TestIdleStopped(t *testing.T) {
	t.Parallel()
	broker := lab.StartBroker(t, lab.BrokerOptions{})
	p := idlePlan(broker.URL(), 8*time.Second)
	p.probes = []string{"{name: idle, kind: idle, idle: {ladder: [1m, 2m, 5m]}}"}
	a := startPlan(t, p)
	clients(t, broker, 5)
	a.Stop()
	broker.WaitState(lab.BrokerState{})
	for _, e := range broker.Events("") {
		if e.Kind == lab.ClientLost {
			t.Errorf("%s was broken off", e.ClientID)
		}
	}
}

// clients waits until a broker has n clients.
func clients(t *testing.T, b *lab.Broker, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for len(b.State().Clients) != n {
		if time.Now().After(deadline) {
			t.Fatalf("the broker has clients %v, want %d", b.State().Clients, n)
		}
		time.Sleep(pollInterval)
	}
}
