package test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDemo runs `pingreq demo` as a newcomer does. It checks the output and the metrics against
// what the demo promises.
func TestDemo(t *testing.T) {
	t.Parallel()
	inTime(t, nil, func() (*agent, []string) { return watchDemo(t) })

	out, problems, exit := run(t, "demo", "--duration=1s", "--web.listen-address=127.0.0.1:0")
	if exit != 0 || !strings.Contains(out, "\nSeen in ") {
		t.Errorf("a demo of one second ends with exit code %d:\n%s%s", exit, out, problems)
	}
}

// watchDemo runs a demo until everything was seen, and stops it. It returns what is wrong.
func watchDemo(t *testing.T) (demo *agent, wrong []string) {
	t.Helper()
	c := forExit(t, "demo", "--web.listen-address=127.0.0.1:0")
	c.Env = []string{"TMPDIR=" + t.TempDir()} // also when it is killed
	demo = start(t, c, "/metrics   what Prometheus scrapes", func(log string) string {
		return regexp.MustCompile(`http://[0-9.:]+`).FindString(log)
	})
	failf := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	demo.scrape() // the printed address works

	healthy := func(m metrics) string {
		const success = "mqtt_probe_success"
		for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
			of := "{target=healthy-" + scheme + "}"
			if n := len(m.series("mqtt_probe_info" + of)); n == 0 || m.sum(success+of) != float64(n) {
				return fmt.Sprintf("not all of %d probes succeed:%s", n, m.show(success+of))
			}
		}
		return ""
	}
	printed := func(metrics) string { // the metrics are updated before the screen
		for _, want := range []string{
			"Everything was seen after ",
			"  dropper   disconnected: admin_action, initiator server, evidence disconnect_packet\n",
			"  dropper   disconnected: peer_closed, initiator unknown, evidence fin\n",
			"use a keepalive of 12s\n",
			"this profile is safe (keepalive 5s)\n",
		} {
			if !strings.Contains(demo.Log(), want) {
				return fmt.Sprintf("the output lacks %q", want)
			}
		}
		return ""
	}
	m := demo.until(all(healthy,
		atLeast(2, "mqtt_probe_sessions{target=hasty,profile=default,state=connected}", "mqtt_probe_sessions{target=balancer,profile=default,state=connected}"),
		atLeast(12, "mqtt_probe_recommended_keepalive_seconds{target=balancer,profile=ka60}"),
		atLeast(1, "mqtt_probe_zombies_total{target=zombie}", "mqtt_probe_zombie_reconnects_total{target=zombie}",
			"mqtt_probe_session_disconnects_total{target=dropper,reason=admin_action,initiator=server,evidence=disconnect_packet}",
			"mqtt_probe_session_disconnects_total{target=dropper,reason=peer_closed,initiator=unknown,evidence=fin}",
			"mqtt_probe_success{target=locked,kind=refuse}",
			"mqtt_probe_halfopen_verdicts_total{target=healthy-mqtt,verdict=on_time}",
			"mqtt_probe_halfopen_verdicts_total{target=hasty,verdict=early}",
			"mqtt_probe_session_disconnects_total{target=balancer,profile=ka60,reason=peer_closed,initiator=unknown,evidence=fin}",
			"mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds{target=expiring,probe=connect,profile=default}"),
		printed))
	if left := m.least("mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds{target=expiring}") - float64(time.Now().Unix()); left > 86400 {
		failf("the certificate expires in %g s, want less than a day", left)
	}
	if diff := cmp.Diff([]string{"half-open detection_early"}, m.nonzero("mqtt_probe_failures_total{target=hasty}", "probe", "reason")); diff != "" {
		failf("failures at hasty (-want +got):\n%s", diff)
	}
	var none []string
	if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total{target=balancer,profile=default}", "probe", "reason")); diff != "" {
		failf("failures at balancer with a short keepalive (-want +got):\n%s", diff)
	}
	for _, well := range []string{"healthy-mqtt", "healthy-mqtts", "healthy-ws", "healthy-wss", "expiring", "locked"} {
		if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total{target="+well+"}", "probe", "reason")); diff != "" {
			failf("failures at %s (-want +got):\n%s", well, diff)
		}
	}

	demo.Signal(syscall.SIGTERM)
	demo.WaitLog(exitCode)
	log := demo.Log()
	checkLog(t, log)
	for _, want := range []string{
		"  healthy   21 of 21 probes succeed\n",
		"            half-open client: the broker noticed after ",
		"  zombie    zombie: pings are answered, publishes are not",
		"  expiring  certificate expires ",
		"  locked    anonymous client refused as expected: not_authorized",
		"  hasty     half-open client: the broker noticed after ",
		"clients that are slow but alive are disconnected",
		"  balancer  disconnected with keepalive 60s: peer_closed, initiator unknown, evidence fin",
		exitCode + "0\n",
	} {
		if !strings.Contains(log, want) {
			failf("the output lacks %q:\n%s", want, log)
		}
	}
	if s := secondsIn(log, `Everything was seen after (\S+) s\.`); s > 45 { // it promises 40 s, and checks twice a second
		failf("all of it was seen after %g s only:\n%s", s, log)
	}
	// The balancer starts its 20 s when it passes a packet on. The client starts its measurement
	// when it reads that packet, which is later. It may also read the end of the connection late.
	// Both delays are shorter than a second; otherwise the run is inconclusive.
	for _, limit := range []string{`connections may idle for 15s and die after (\S+)s \(fin\)`, `connections die after (\S+)s idle \(fin\)`} {
		if s := secondsIn(log, limit); !(s > 19 && s < 21) {
			failf("the output does not say %s with 19 to 21 s:\n%s", limit, log)
		}
	}
	return demo, wrong
}

// secondsIn returns the number that the expression's group finds in a text, 0 if there is none.
func secondsIn(text, expression string) float64 {
	match := regexp.MustCompile(expression).FindStringSubmatch(text)
	if match == nil {
		return 0
	}
	s, _ := strconv.ParseFloat(match[1], 64) // 0 if it is no number
	return s
}
