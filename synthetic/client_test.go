package synthetic

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pingreq/pingreq/test/lab"
)

func TestClientIDs(t *testing.T) {
	env := Env{Agent: "fra-1", Identity: Identity{"plant", "session", "hold", "default"}}
	id := env.clientID("", "")
	if !regexp.MustCompile(`^pingreq-[0-9a-f]{15}$`).MatchString(id) {
		t.Errorf("%q is not pingreq-hash of 23 bytes", id)
	}
	if again := env.clientID("", ""); again != id {
		t.Errorf("%q, then %q: ids must be stable", id, again)
	}
	seen := map[string]bool{id: true}
	for _, change := range []func(*Env) string{
		func(e *Env) string { e.Agent = "fra-2"; return "" },
		func(e *Env) string { e.Identity.Target = "other"; return "" },
		func(e *Env) string { e.Identity.Probe = "other"; return "" },
		func(e *Env) string { e.Identity.Profile = "other"; return "" },
		func(e *Env) string { e.Slot = 1; return "" },
		func(*Env) string { return "publisher" },
	} {
		e := env
		role := change(&e)
		if other := e.clientID("", role); seen[other] {
			t.Errorf("%q is used twice: agents or probes would take over each other", other)
		} else {
			seen[other] = true
		}
	}
	env.ClientIDPrefix = "a-very-long-prefix"
	if id := env.clientID("", ""); len(id) != 23 || !strings.HasPrefix(id, "a-very-lon-") {
		t.Errorf("%q", id)
	}
	if id := env.clientID("dev-{agent}-{slot}", ""); id != "dev-fra-1-0" {
		t.Errorf("template gives %q", id)
	}
}

func TestTLSOfTargetAndProfile(t *testing.T) {
	ca := lab.NewCA(t)
	cert := ca.Client(t)
	target := Target{Name: "plant", URL: "mqtts://localhost", TLS: TargetTLS{CAFile: ca.File, CertFile: cert.CertFile, KeyFile: cert.KeyFile, ServerName: "broker"}}
	for _, tc := range []struct {
		name   string
		change func(*Target, *Profile)
		fault  string // part of the error; "" = none
	}{
		{"as it is", func(*Target, *Profile) {}, ""},
		{"no such CA file", func(t *Target, _ *Profile) { t.TLS.CAFile += "x" }, "tls.ca_file"},
		{"no PEM in it", func(t *Target, _ *Profile) { t.TLS.CAFile = cert.KeyFile }, "holds no PEM certificate"},
		{"key of another", func(tg *Target, _ *Profile) { tg.TLS.KeyFile = ca.Client(t).KeyFile }, "tls.key_file"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tg, p := target, DefaultProfile()
			tc.change(&tg, &p)
			c, err := newClient(Env{Target: &tg}, &p)
			if err == nil {
				_, err = c.options(t.Context(), "")
			}
			if (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%s: %v", tc.name, err)
			}
		})
	}
	p := DefaultProfile()
	p.TLS = ProfileTLS{MinVersion: "1.2", MaxVersion: "1.2", CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, Curves: []string{"P256"}, WithoutClientCert: true}
	c, err := newClient(Env{Target: &target}, &p)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.tls()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MinVersion != 0x303 || cfg.MaxVersion != 0x303 || len(cfg.CipherSuites) != 1 || len(cfg.CurvePreferences) != 1 || len(cfg.Certificates) != 0 || cfg.ServerName != "broker" {
		t.Errorf("%+v", cfg)
	}
	for _, bad := range []ProfileTLS{{MinVersion: "1.4"}, {CipherSuites: []string{"NULL"}}, {Curves: []string{"P1"}}} {
		p.TLS = bad
		if _, err := newClient(Env{Target: &target}, &p); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

func TestKindsAreWellDeclared(t *testing.T) {
	for _, k := range Kinds() {
		if k.Name == "" || k.Help == "" || k.New == nil || k.Options == nil || k.Cost == nil {
			t.Errorf("kind %q is incomplete", k.Name)
		}
		if held := k.Schedule.Every == 0; held != (k.Keep != nil) || held != (k.Backoff != nil) {
			t.Errorf("kind %s: a held kind has Keep and Backoff, a periodic one an interval", k.Name)
		}
		if k.Cost(DefaultProfile(), k.Options()) == (Cost{}) {
			t.Errorf("kind %s costs nothing", k.Name)
		}
		if _, err := k.New(Env{Target: &Target{Name: "x", URL: "http://x"}}, new(DefaultProfile()), k.Options()); err == nil {
			t.Errorf("kind %s takes an http URL", k.Name)
		}
	}
	if _, ok := KindByName("session"); !ok {
		t.Error("kind session cannot be found")
	}
}
