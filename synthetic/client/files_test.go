package client

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/test/lab"
)

// TestFilesReplaced reads a password, a certificate with its key, and a CA while they are replaced.
// Files that are complete in time are used. Files that stay broken cause an error.
func TestFilesReplaced(t *testing.T) {
	ca := lab.NewCA(t)
	before, after := ca.Client(t), ca.Client(t)
	oldCert, oldKey, newCert, newKey := probetest.ContentOf(t, before.CertFile), probetest.ContentOf(t, before.KeyFile), probetest.ContentOf(t, after.CertFile), probetest.ContentOf(t, after.KeyFile)
	trusted := probetest.ContentOf(t, ca.File)
	type files struct{ password, cert, key, ca []byte } // nil: missing
	whole := files{[]byte("secret\n"), newCert, newKey, trusted}
	old := files{[]byte("old"), oldCert, oldKey, trusted}
	half := func(change func(*files)) files { f := whole; change(&f); return f }
	for _, tt := range []struct {
		name  string
		first files
		then  files // a while later
		late  bool  // after the client has given up
		want  files // what is used; the zero value means nothing
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
		{name: "half of the key, for good", first: half(func(f *files) { f.key = newKey[:100] }), then: whole, late: true, fault: "do not contain a complete certificate and its key"},
		{name: "no key, for good", first: half(func(f *files) { f.key = nil }), then: whole, late: true, fault: "no such file"},
		{name: "no password, for good", first: half(func(f *files) { f.password = nil }), then: whole, late: true, fault: "cannot be read: no such file"},
		{name: "empty password, for good", first: half(func(f *files) { f.password = []byte{} }), then: whole, late: true, fault: "is empty: it should hold the password"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			target := synthetic.Target{Name: "plant", URL: "mqtts://127.0.0.1", Username: "u", PasswordFile: filepath.Join(dir, "password"),
				TLS: synthetic.TargetTLS{CAFile: filepath.Join(dir, "ca"), CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}}
			put := func(f files) {
				for name, content := range map[string][]byte{target.PasswordFile: f.password, target.TLS.CertFile: f.cert, target.TLS.KeyFile: f.key, target.TLS.CAFile: f.ca} {
					if content != nil {
						probetest.Overwrite(t, name, content)
					}
				}
			}
			synctest.Test(t, func(t *testing.T) {
				c, err := New(synthetic.Env{Target: &target}, new(synthetic.DefaultProfile()))
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
				o, err := c.Options(t.Context(), "")
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
					t.Errorf("the wrong certificate is used: %v", err)
				}
			})
		})
	}
}

// TestFilesStopped checks that the client stops reading when the run stops.
func TestFilesStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(synthetic.Env{Target: &synthetic.Target{Name: "plant", URL: "mqtt://127.0.0.1", PasswordFile: filepath.Join(t.TempDir(), "none")}}, new(synthetic.DefaultProfile()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), filePatience/4)
		defer cancel()
		start := time.Now()
		if _, err := c.Options(ctx, ""); err == nil || !strings.Contains(err.Error(), "password_file") || time.Since(start) > filePatience/4 {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
