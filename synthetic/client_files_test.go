package synthetic

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// overwrite writes a file as an editor or cp does: over the one that is there.
func overwrite(t *testing.T, to string, content []byte) {
	t.Helper()
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Error(err)
	}
}

func contentOf(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFilesReplaced reads a password, a pair and a CA while they are replaced: what is whole in good time is used, and
// what stays broken is told.
func TestFilesReplaced(t *testing.T) {
	ca := lab.NewCA(t)
	before, after := ca.Client(t), ca.Client(t)
	oldCert, oldKey, newCert, newKey := contentOf(t, before.CertFile), contentOf(t, before.KeyFile), contentOf(t, after.CertFile), contentOf(t, after.KeyFile)
	trusted := contentOf(t, ca.File)
	type files struct{ password, cert, key, ca []byte } // nil: missing
	whole := files{[]byte("secret\n"), newCert, newKey, trusted}
	old := files{[]byte("old"), oldCert, oldKey, trusted}
	half := func(change func(*files)) files { f := whole; change(&f); return f }
	for _, tt := range []struct {
		name  string
		first files
		then  files // a while later
		late  bool  // too late
		want  files // what is used; the zero value: none
		fault string
	}{
		{name: "nothing happens", first: old, then: old, want: old},
		{name: "all at once", first: whole, then: whole, want: whole},
		{name: "new certificate, old key", first: half(func(f *files) { f.key = oldKey }), then: whole, want: whole},
		{name: "old certificate, new key", first: half(func(f *files) { f.cert = oldCert }), then: whole, want: whole},
		{name: "half of the certificate", first: half(func(f *files) { f.cert = newCert[:100] }), then: whole, want: whole},
		{name: "no key yet", first: half(func(f *files) { f.key = nil }), then: whole, want: whole},
		{name: "empty CA", first: half(func(f *files) { f.ca = []byte{} }), then: whole, want: whole},
		{name: "no password yet", first: half(func(f *files) { f.password = nil }), then: whole, want: whole},
		{name: "empty password", first: half(func(f *files) { f.password = []byte("\n") }), then: whole, want: whole},
		{name: "new certificate, old key, for good", first: half(func(f *files) { f.key = oldKey }), then: whole, late: true, fault: "does not belong to the certificate"},
		{name: "half of the key, for good", first: half(func(f *files) { f.key = newKey[:100] }), then: whole, late: true, fault: "no complete certificate with its key"},
		{name: "no key, for good", first: half(func(f *files) { f.key = nil }), then: whole, late: true, fault: "no such file"},
		{name: "no password, for good", first: half(func(f *files) { f.password = nil }), then: whole, late: true, fault: "password_file: open"},
		{name: "empty password, for good", first: half(func(f *files) { f.password = []byte{} }), then: whole, late: true, fault: "is empty: it should hold the password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			target := Target{Name: "plant", URL: "mqtts://127.0.0.1", Username: "u", PasswordFile: filepath.Join(dir, "password"),
				TLS: TargetTLS{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}}
			put := func(f files) {
				for name, content := range map[string][]byte{target.PasswordFile: f.password, target.TLS.CertFile: f.cert, target.TLS.KeyFile: f.key, target.TLS.CAFile: f.ca} {
					if content != nil {
						overwrite(t, name, content)
					}
				}
			}
			synctest.Test(t, func(t *testing.T) {
				c, err := newClient(Env{Target: &target}, new(DefaultProfile()))
				if err != nil {
					t.Fatal(err)
				}
				put(tt.first)
				while := filePatience / 2
				if tt.late {
					while = 2 * filePatience
				}
				var swap sync.WaitGroup
				swap.Go(func() {
					time.Sleep(while)
					put(tt.then)
				})
				start := time.Now()
				o, err := c.options(t.Context(), "")
				took := time.Since(start)
				swap.Wait()
				if tt.fault != "" {
					if err == nil || !strings.Contains(err.Error(), tt.fault) || took > filePatience {
						t.Errorf("after %s: %v, want %q", took, err, tt.fault)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got, want := string(o.Password), strings.TrimSpace(string(tt.want.password)); got != want {
					t.Errorf("password %q, want %q", got, want)
				}
				pair, err := tls.X509KeyPair(tt.want.cert, tt.want.key)
				if err != nil || !slices.Equal(o.TLS.Certificates[0].Certificate[0], pair.Certificate[0]) {
					t.Errorf("another certificate, %v", err)
				}
			})
		})
	}
}

// TestFilesStopped gives up when the run does.
func TestFilesStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := newClient(Env{Target: &Target{Name: "plant", URL: "mqtt://127.0.0.1", PasswordFile: filepath.Join(t.TempDir(), "none")}}, new(DefaultProfile()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), filePatience/4)
		defer cancel()
		start := time.Now()
		if _, err := c.options(ctx, ""); err == nil || !strings.Contains(err.Error(), "password_file") || time.Since(start) > filePatience/4 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}

// TestFilesSwappedUnderProbes replaces certificate, key and password of running probes by others, with a long break in
// between. Nothing of that is the broker's fault.
func TestFilesSwappedUnderProbes(t *testing.T) {
	ca := lab.NewCA(t)
	before, after := ca.Client(t, lab.CommonName("before")), ca.Client(t, lab.CommonName("after"))
	newCert, newKey := contentOf(t, after.CertFile), contentOf(t, after.KeyFile)
	password := filepath.Join(t.TempDir(), "password")
	overwrite(t, password, []byte("before"))

	seen := make(chan string, 1000) // who came with which password
	script := func(c *lab.Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		seen <- c.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName + " " + c.Password
		return c.Discard()
	}
	b := lab.StartScriptedBroker(t, script, lab.ScriptedBrokerOptions{TLS: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: ca.Pool, Certificates: []tls.Certificate{ca.Server(t).TLS}}})
	target := &Target{Name: "plant", URL: b.URL(), Username: "u", PasswordFile: password,
		TLS: TargetTLS{CAFile: ca.File, CertFile: before.CertFile, KeyFile: before.KeyFile}}
	sink := newLedger()
	r := testRunner(sink, &watch{})
	defer r.Close()
	id := Identity{"plant", "connect", "connect", "default"}
	p := build(t, connectKind(), Env{Agent: "a", Identity: id, Target: target}, DefaultProfile(), nil)
	schedule := Schedule{Every: filePatience * 3 / 2, Timeout: filePatience * 3 / 2}
	if err := r.Start(Job{ID: id, Schedule: schedule, Probes: []Probe{p}}); err != nil {
		t.Fatal(err)
	}
	// until waits for a run that begins after this and ends like that.
	until := func(outcome Outcome, detail string) {
		t.Helper()
		start := time.Now()
		for deadline := time.After(time.Minute); ; {
			sink.mu.Lock()
			found := slices.ContainsFunc(sink.reports, func(r Report) bool {
				return r.Start.After(start) && r.Outcome == outcome && strings.Contains(r.Detail, detail)
			})
			sink.mu.Unlock()
			if found {
				return
			}
			select {
			case <-deadline:
				t.Fatalf("no run is %s: %q; the last: %+v", outcome, detail, sink.last(t))
			case <-time.After(20 * time.Millisecond):
			}
		}
	}

	until(Success, "let in")
	overwrite(t, target.TLS.CertFile, newCert)
	overwrite(t, password, nil)
	until(Inconclusive, "password_file")
	overwrite(t, password, []byte("after"))
	until(Inconclusive, "does not belong to the certificate")
	overwrite(t, target.TLS.KeyFile, newKey)
	until(Success, "let in")

	r.Close()
	for _, r := range sink.reports {
		if r.Outcome == Failure {
			t.Errorf("the broker is blamed: %s: %s", r.Reason(), r.Detail)
		}
	}
	b.Close()
	close(seen)
	var came []string
	for who := range seen {
		came = append(came, who)
	}
	if diff := cmp.Diff([]string{"before before", "after after"}, slices.Compact(came)); diff != "" {
		t.Errorf("who came (-want +got):\n%s", diff)
	}
}
