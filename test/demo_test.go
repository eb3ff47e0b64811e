package test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestDemo runs `pingreq demo` as a newcomer does, and checks that it shows what it promises, in its output and in the
// metrics.
func TestDemo(t *testing.T) {
	t.Parallel()
	c := forExit(t, "demo", "--duration=45s", "--web.listen-address=127.0.0.1:0")
	c.ReadyLog = []string{"/metrics   what Prometheus scrapes"}
	c.Env = []string{"TMPDIR=" + t.TempDir()} // also when it is killed
	demo := &agent{Daemon: lab.Start(t, c), t: t, transport: &http.Transport{DisableKeepAlives: true}}
	demo.url = regexp.MustCompile(`http://[0-9.:]+`).FindString(demo.Log())
	demo.scrape() // what it prints is there

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
			"mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds{target=expiring,probe=connect,profile=default}")))
	if left := m.least("mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds{target=expiring}") - float64(time.Now().Unix()); left > 86400 {
		t.Errorf("the certificate expires in %g s, want less than a day", left)
	}
	if diff := cmp.Diff([]string{"half-open detection_early"}, m.nonzero("mqtt_probe_failures_total{target=hasty}", "probe", "reason")); diff != "" {
		t.Errorf("failures at hasty (-want +got):\n%s", diff)
	}
	var none []string
	if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total{target=balancer,profile=default}", "probe", "reason")); diff != "" {
		t.Errorf("failures at balancer with a short keepalive (-want +got):\n%s", diff)
	}
	for _, well := range []string{"healthy-mqtt", "healthy-mqtts", "healthy-ws", "healthy-wss", "expiring", "locked"} {
		if diff := cmp.Diff(none, m.nonzero("mqtt_probe_failures_total{target="+well+"}", "probe", "reason")); diff != "" {
			t.Errorf("failures at %s (-want +got):\n%s", well, diff)
		}
	}

	demo.WaitLog(exitCode)
	checkLog(t, demo.Log())
	for _, want := range []string{
		"Everything was seen after ",
		"  healthy   21 of 21 probes succeed\n",
		"            half-open client: the broker noticed after ",
		"  zombie    zombie: pings are answered, publishes are not",
		"  expiring  certificate expires ",
		"disconnected: admin_action, initiator server, evidence disconnect_packet",
		"disconnected: peer_closed, initiator unknown, evidence fin",
		"  locked    anonymous client refused as expected: not_authorized",
		"  hasty     half-open client: the broker noticed after ",
		"clients that are slow but alive are thrown off",
		"  balancer  disconnected with keepalive 60s: peer_closed, initiator unknown, evidence fin",
		"connections may idle for 15s and die after 20",
		"use a keepalive of 12s",
		exitCode + "0\n",
	} {
		if !strings.Contains(demo.Log(), want) {
			t.Errorf("the output lacks %q:\n%s", want, demo.Log())
		}
	}
}
