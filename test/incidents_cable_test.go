package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestIncidentLateBroker is about Mosquitto, which notices a pulled cable only after 1.5 ×
// keepalive and up to 7.1 s more. The halfopen probe measures this on a running broker without a
// cable to pull. A session with the same keepalive stays up meanwhile. Then the cable of a real
// device is pulled, and Mosquitto's log shows that it took as long. A device that is killed instead
// is noticed by the FIN that its kernel sends.
func TestIncidentLateBroker(t *testing.T) {
	lab.RequireNetAdmin(t)
	const slowly = "has exceeded timeout"
	incident(t, func(t *testing.T, pulled bool) (*agent, []string) {
		n := lab.NewRoutedNetwork(t)
		b := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: n.Broker})
		subscribe := func(from *lab.Namespace, id string) *lab.Daemon {
			d := from.Start(lab.Command{Path: lab.Require(t, "mosquitto_sub"), Args: []string{"-h", n.Broker.Addr.String(),
				"-p", fmt.Sprint(b.Port), "-i", id, "-k", "5", "-t", "none"}})
			b.WaitLog("Sending SUBACK to " + id)
			return d
		}
		subscribe(n.Router, "twin")
		device := subscribe(n.Client, "device")
		if pulled {
			n.Client.LinkDown()
		} else {
			device.Kill()
		}
		words := []string{slowly, "closed its connection"}
		end := endOf(t, b, "device", words)
		if log := b.Log(); slices.ContainsFunc(words, func(word string) bool { return strings.Contains(log, "Client twin "+word) }) {
			t.Error("the twin has ended, too")
		}
		if end == slowly {
			return nil, []string{end}
		}
		return nil, nil
	}, slowly)

	t.Run("as the probe measures it", func(t *testing.T) {
		t.Parallel()
		b := lab.StartMosquitto(t, lab.MosquittoOptions{})
		inTime(t, nil, func() (*agent, []string) {
			a := startPlan(t, plan{
				targets:  []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", b.URL)},
				profiles: []string{"{name: k2, keepalive: 2s}", "{name: k5, keepalive: 5s}"},
				probes: []string{
					"{name: half-open, kind: halfopen, profiles: [k2, k5], halfopen: {mode: deaf}}",
					"{name: hold, kind: session, profiles: [k2, k5]}",
				},
			})
			m := a.until(atLeast(2, "mqtt_probe_runs_total{probe=half-open}"))
			found := unwell(m, "target=broker")
			for profile, k := range map[string]float64{"k2": 2, "k5": 5} {
				of := "{mode=deaf,profile=" + profile + "}"
				least := float64(int(1.5 * k)) // Mosquitto counts in whole seconds
				took, ratio := m.sum("mqtt_probe_halfopen_last_detection_seconds"+of), m.sum("mqtt_probe_halfopen_grace_ratio"+of)
				if took <= least || took > least+7.1 || ratio != took/k {
					found = append(found, fmt.Sprintf("K = %g s: noticed after %g s, %g × K; want more than %g s and at most 7.1 s more", k, took, ratio, least))
				}
			}
			return a, found
		})
	})
}

// endOf waits until the broker's log shows how a client has ended, in one of these words.
func endOf(t *testing.T, b *lab.Mosquitto, id string, words []string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pollInterval) {
		for line := range strings.Lines(b.Log()) {
			for _, word := range words {
				if strings.Contains(line, "Client "+id+" "+word) {
					return word
				}
			}
		}
	}
	t.Fatalf("the broker does not say that %s has ended", id)
	return ""
}
