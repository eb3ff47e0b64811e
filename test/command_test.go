package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// run runs pingreq until it ends.
func run(t testing.TB, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, err bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	ours := func(v string) bool { return strings.HasPrefix(v, "PINGREQ_") } // set for these tests, not for the program
	cmd.Env = append(slices.DeleteFunc(os.Environ(), ours), "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = &out, &err
	cmd.WaitDelay = patience
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	checkLog(t, err.String())
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// runInTime is like run, but runs again if this machine was too slow for the answer to mean
// anything.
func runInTime(t testing.TB, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	for range 5 {
		if stdout, stderr, exit = run(t, args...); !strings.Contains(stdout, ownLateness) {
			break
		}
	}
	return stdout, stderr, exit
}

// TestServeURLs watches brokers that are given by their URLs only.
func TestServeURLs(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	urls := []string{broker.URL, broker.TLS, broker.WSS, broker.Unix}
	a := startAgent(t, append(urls, "--ca-file="+broker.CA.File, "--keepalive=2s", "--agent.id=e2e")...)
	m := a.until(all(
		atLeast(float64(4*len(urls)), "mqtt_probe_success"),
		atLeast(float64(len(urls)), "mqtt_probe_pings_total{probe=hold,outcome=answered}"),
		atLeast(float64(8*len(urls)), "mqtt_probe_messages_delivered_total{probe=echo}")))
	a.blameless(m, "")
	want := []string{"connect connect", "halfopen halfopen", "idle idle", "resume resume", "roundtrip roundtrip", "session echo", "session hold", "takeover takeover"}
	if diff := cmp.Diff(want, m.nonzero("mqtt_probe_info", "kind", "probe")); diff != "" {
		t.Errorf("the default suite (-want +got):\n%s", diff)
	}
}

// TestProbe runs `pingreq probe` once for each output format, and reads the output.
func TestProbe(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"device": "right"}})
	right, wrong := writeFile(t, "right", "right\n"), writeFile(t, "wrong", "wrong\n")
	nobody := fmt.Sprintf("mqtt://127.0.0.1:%d", lab.Port(t))
	name := strings.ReplaceAll(strings.TrimPrefix(broker.URL, "mqtt://"), ":", "-")
	for _, tt := range []struct {
		name string
		args []string
		exit int
		want []string // in the output, in this order
	}{
		{"table, all well", []string{broker.URL, "--username=device", "--password-file=" + right}, 0,
			[]string{"TARGET", "PROBE", "OUTCOME", "TIME", "DETAIL",
				name + "  connect    success", "phases: tcp ", ", mqtt ", ", total ", "hold       success", "ping: ", "echo       success",
				"roundtrip  success", "qos 0: 5 of 5 delivered", "qos 1: 5 of 5 delivered", "qos 2: 5 of 5 delivered"}},
		{"nagios, all well", []string{broker.URL, "--username=device", "--password-file=" + right, "--output=nagios"}, 0,
			[]string{"MQTT OK - 7 probes succeeded | '" + name + "/connect'=", "'" + name + "/roundtrip'="}},
		{"one kind", []string{broker.URL, "--username=device", "--password-file=" + right, "--kind=connect", "--output=nagios"}, 0,
			[]string{"MQTT OK - 1 probe succeeded | '" + name + "/connect'="}},
		{"table, wrong password", []string{broker.URL, "--username=device", "--password-file=" + wrong, "--kind=connect"}, 1,
			[]string{"connect  failure not_authorized", "CONNACK 0x87 Not authorized", "failed after"}},
		{"table, wrong password, 3.1.1", []string{broker.URL, "--username=device", "--password-file=" + wrong, "--kind=connect", "--protocol=3.1.1"}, 1,
			[]string{"connect  failure not_authorized", "CONNACK 0x05 Connection Refused, not authorized"}},
		{"table, nobody there", []string{nobody, "--kind=connect"}, 1,
			[]string{"connect  failure connection_refused", "connection refused"}},
		{"nagios, nobody there", []string{nobody, "--kind=connect", "--output=nagios"}, 2,
			[]string{"MQTT CRITICAL - ", "/connect: connection_refused (", ") | '"}},
		{"no target", nil, 2, nil},
		{"unknown kind", []string{broker.URL, "--kind=nonsense"}, 2, nil},
		{"unknown scheme", []string{"http://127.0.0.1"}, 2, nil},
		{"no such password file", []string{broker.URL, "--username=device", "--password-file=/nonexistent"}, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, problems, exit := runInTime(t, append([]string{"probe", "--hold=3s", "--keepalive=2s"}, tt.args...)...)
			if exit != tt.exit {
				t.Errorf("exit %d, want %d", exit, tt.exit)
			}
			rest := out
			for _, want := range tt.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Fatalf("%q is missing, or not in its place, in:\n%s%s", want, out, problems)
				}
				rest = after
			}
			if exit == 2 && tt.want == nil && (out != "" || !strings.HasPrefix(problems, "pingreq") && !strings.HasPrefix(problems, "command line")) {
				t.Errorf("a usage error belongs to standard error, with a remedy:\n%s%s", out, problems)
			}
			if strings.Contains(out+problems, "right\n") {
				t.Errorf("the password shows in:\n%s%s", out, problems)
			}
		})
	}
}

// TestProbeJSON reads the JSON of `pingreq probe` as a program would.
func TestProbeJSON(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	type answer struct {
		Kind, Probe, Profile, Outcome, Reason, Initiator, Evidence, Phase string

		Phases  map[string]float64 `json:"phases_seconds"`
		Elapsed float64            `json:"elapsed_seconds"`
		Start   time.Time
	}
	whole, broken := map[string]float64{"tcp": 1, "tls": 1, "mqtt": 1}, map[string]float64{"tcp": 1}
	refused := answer{Profile: "default", Outcome: "failure", Reason: "connection_refused", Initiator: "server", Evidence: "errno", Phase: "tcp", Phases: broken}
	of := func(kind, probe string, a answer) answer { a.Kind, a.Probe = kind, probe; return a }
	for _, tt := range []struct {
		name, url string
		exit      int
		want      []answer
	}{
		{"all well", broker.TLS, 0, []answer{
			{Kind: "connect", Probe: "connect", Profile: "default", Outcome: "success", Phases: whole},
			{Kind: "session", Probe: "hold", Profile: "default", Outcome: "success"},
			{Kind: "session", Probe: "echo", Profile: "default", Outcome: "success"},
			{Kind: "roundtrip", Probe: "roundtrip", Profile: "default", Outcome: "success", Phases: whole},
			{Kind: "halfopen", Probe: "halfopen", Profile: "default", Outcome: "success", Phases: whole},
			{Kind: "takeover", Probe: "takeover", Profile: "default", Outcome: "success", Phases: whole},
			{Kind: "resume", Probe: "resume", Profile: "default", Outcome: "success", Phases: whole},
		}},
		{"nobody there", fmt.Sprintf("mqtts://127.0.0.1:%d", lab.Port(t)), 1, []answer{
			of("connect", "connect", refused), of("session", "hold", refused), of("session", "echo", refused), of("roundtrip", "roundtrip", refused),
			of("halfopen", "halfopen", refused), of("takeover", "takeover", refused), of("resume", "resume", refused),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, problems, exit := runInTime(t, "probe", tt.url, "--ca-file="+broker.CA.File, "--output=json", "--hold=3s", "--keepalive=2s")
			if exit != tt.exit {
				t.Errorf("exit %d, want %d: %s", exit, tt.exit, problems)
			}
			var got []answer
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			for i := range got {
				if got[i].Elapsed <= 0 || time.Since(got[i].Start) > time.Hour {
					t.Errorf("%s: started %v, took %g s", got[i].Probe, got[i].Start, got[i].Elapsed)
				}
				got[i].Elapsed, got[i].Start = 0, time.Time{}
				for phase, took := range got[i].Phases {
					if took <= 0 {
						t.Errorf("%s: phase %s took %g s", got[i].Probe, phase, took)
					}
					got[i].Phases[phase] = 1
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
