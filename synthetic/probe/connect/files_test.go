package connect

import (
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/test/lab"
)

// TestFilesSwappedUnderProbes replaces certificate, key and password of a running probe, with a
// long pause in between. No run may blame the broker.
func TestFilesSwappedUnderProbes(t *testing.T) {
	ca := lab.NewCA(t)
	before, after := ca.Client(t, lab.CommonName("before")), ca.Client(t, lab.CommonName("after"))
	newCert, newKey := probetest.ContentOf(t, after.CertFile), probetest.ContentOf(t, after.KeyFile)
	password := filepath.Join(t.TempDir(), "password")
	probetest.Overwrite(t, password, []byte("before"))

	seen := make(chan string, 1000) // common name and password of each connect
	script := func(c *lab.Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		seen <- c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName + " " + c.Password
		return c.Discard()
	}
	b := lab.StartScriptedBroker(t, script, lab.ScriptedBrokerOptions{TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: ca.Pool, Certificates: []tls.Certificate{ca.Server(t).TLS}}})
	target := &synthetic.Target{Name: "plant", URL: b.URL(), Username: "u", PasswordFile: password,
		TLS: synthetic.TargetTLS{CAFile: ca.File, CertFile: before.CertFile, KeyFile: before.KeyFile}}
	sink := probetest.NewLedger()
	r := synthetic.NewRunner(sink, nil, &synthetic.Lateness{}, slog.New(slog.DiscardHandler))
	defer r.Close()
	id := synthetic.Identity{Target: "plant", Kind: "connect", Probe: "connect", Profile: "default"}
	p := probetest.Build(t, Kind(), synthetic.Env{Agent: "a", Identity: id, Target: target}, synthetic.DefaultProfile(), nil)
	// The timeout is longer than a client waits for files that are being replaced.
	schedule := synthetic.Schedule{Every: 1500 * time.Millisecond, Timeout: 1500 * time.Millisecond}
	if err := r.Start(synthetic.Job{Entry: synthetic.Entry{ID: id, Schedule: schedule}, Probes: []synthetic.Probe{p}}); err != nil {
		t.Fatal(err)
	}
	// until waits for a run that begins after now, with this outcome and detail.
	until := func(outcome synthetic.Outcome, detail string) {
		t.Helper()
		start := time.Now()
		for deadline := time.After(time.Minute); ; {
			found := slices.ContainsFunc(sink.All(), func(r synthetic.Report) bool {
				return r.Start.After(start) && r.Outcome == outcome && strings.Contains(r.Detail, detail)
			})
			if found {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("no run is %s with %q; the latest is %+v", outcome, detail, sink.Last(t))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}

	until(synthetic.Success, "connected after")
	probetest.Overwrite(t, target.TLS.CertFile, newCert)
	probetest.Overwrite(t, password, nil)
	until(synthetic.Inconclusive, "password_file")
	probetest.Overwrite(t, password, []byte("after"))
	until(synthetic.Inconclusive, "does not belong to the certificate")
	probetest.Overwrite(t, target.TLS.KeyFile, newKey)
	until(synthetic.Success, "connected after")

	r.Close()
	for _, r := range sink.Reports {
		if r.Outcome == synthetic.Failure {
			t.Errorf("the broker is blamed: %s: %s", r.Reason(), r.Detail)
		}
	}
	b.Close()
	close(seen)
	var logins []string
	for login := range seen {
		logins = append(logins, login)
	}
	if diff := cmp.Diff([]string{"before before", "after after"}, slices.Compact(logins)); diff != "" {
		t.Errorf("logins (-want +got):\n%s", diff)
	}
}
