package test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestResume lets clients come back to sessions in which messages wait.
func TestResume(t *testing.T) {
	t.Parallel()
	both := []string{"v5", "v311"}
	for _, b := range []persistentBroker{
		{"Mosquitto", startMosquittoOfAllKinds, both, false},
		{"NATS", startNATS, []string{"v311"}, true},
		{"RabbitMQ", startRabbitMQ, []string{"v311"}, true},
		{"ejabberd", startEjabberd, both, false},
	} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			probe := fmt.Sprintf("{name: resume, kind: resume, profiles: [%%s], resume: {ordered: %v}}", !b.misorders)
			a, endpoints, m := b.run(t, probe)
			a.blameless(m, "")
			sessions := float64(len(endpoints) * len(b.profiles))
			for key, want := range map[string]float64{"messages_total{result=delivered}": 20 * sessions, "messages_total{result=lost}": 0,
				"messages_total{result=duplicated}": 0, "session_present": sessions, "duration_seconds": sessions} {
				if got := m.sum("mqtt_probe_resume_" + key); got != want {
					t.Errorf("%s is %g, want %g", key, got, want)
				}
			}
			if n := m.sum("mqtt_probe_resume_messages_total{result=reordered}"); n > 0 && !b.misorders {
				t.Errorf("%g messages came after later ones", n)
			}
			b.nothingLeft(t, endpoints, "resume", "client", "publisher")
		})
	}
}

// TestResumeFaults runs against brokers that do not keep what they promised.
func TestResumeFaults(t *testing.T) {
	t.Parallel()
	brokers := map[string]*lab.Broker{}
	p := plan{
		profiles: []string{v5Profile, v311Profile},
		probes:   []string{"{name: resume, kind: resume, profiles: [v5, v311], resume: {messages: 12, delivery_timeout: 4s}}"},
	}
	for name, o := range map[string]lab.BrokerOptions{
		"drops":      {Redeliver: lab.Dropping(2, 5, 11)},
		"duplicates": {Redeliver: lab.Duplicating(0, 7)},
		"reverses":   {Redeliver: lab.Reversing()},
		"refuses":    {Takeover: lab.TakeoverRefused},
	} {
		b := lab.StartBroker(t, o)
		brokers[name] = b
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, connect_rate: 100}", name, b.URL()))
	}
	_, m := firstRuns(t, p, 4*2)
	var want, got []string
	for _, profile := range []string{"v311", "v5"} {
		want = append(want, "drops "+profile+" message_lost", "refuses "+profile+" protocol_error", "reverses "+profile+" message_reordered")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, m.nonzero("mqtt_probe_failures_total", "target", "profile", "reason")); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	for _, profile := range []string{"v5", "v311"} {
		for _, target := range []string{"drops", "duplicates", "refuses", "reverses"} {
			of := m.values("result", fmt.Sprintf("mqtt_probe_resume_messages_total{target=%s,profile=%s}", target, profile))
			got = append(got, fmt.Sprintf("%s: %g delivered, %g lost, %g duplicated, %g reordered", target, of["delivered"], of["lost"], of["duplicated"], of["reordered"]))
		}
	}
	each := []string{"drops: 9 delivered, 3 lost, 0 duplicated, 0 reordered", "duplicates: 12 delivered, 0 lost, 2 duplicated, 0 reordered",
		"refuses: 0 delivered, 0 lost, 0 duplicated, 0 reordered", "reverses: 12 delivered, 0 lost, 0 duplicated, 11 reordered"}
	if diff := cmp.Diff(slices.Concat(each, each), got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	for _, b := range brokers {
		b.WaitState(lab.BrokerState{})
	}
}

// TestResumeStop stops the agent while its clients are away. It also kills an agent: the session
// that this leaves behind expires.
func TestResumeStop(t *testing.T) {
	t.Parallel()
	start := func() (*agent, *lab.Mosquitto) {
		broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
		a := startForExit(t, "--config.file="+plan{
			targets:  []string{fmt.Sprintf("{name: m, url: %q, connect_rate: 100}", broker.URL)},
			profiles: []string{v5Profile, v311Profile},
			probes: []string{
				"{name: away, kind: resume, profiles: [v5, v311], resume: {away: 1h, session_expiry: 2h}}",
				"{name: there, kind: resume, profiles: [v5], resume: {settle: 1h, session_expiry: 3s}}",
			},
		}.file(t))
		for _, id := range []string{"m-away-client-v5", "m-away-client-v311"} {
			broker.WaitLog("Sending SUBACK to " + id)
		}
		broker.WaitLog("Received PUBACK from m-there-client-v5")
		return a, broker
	}

	killed, broker := start()
	killed.Kill()
	broker.WaitLog("Expiring client m-there-client-v5 due to timeout") // cleans up after an agent that is killed
	if left := sessionsLeft(t, broker); len(left) != 2 {
		t.Errorf("an agent that was killed has left the sessions %q, want two: can this test see them?", left)
	}

	stopped, broker := start()
	stopped.Signal(syscall.SIGTERM)
	stopped.WaitLog(exitCode + "0\n")
	if left := sessionsLeft(t, broker); len(left) > 0 {
		t.Errorf("the agent has left %d sessions: %v", len(left), left)
	}
}
