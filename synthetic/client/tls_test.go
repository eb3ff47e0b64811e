package client

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/test/lab"
)

func TestTLSOfTargetAndProfile(t *testing.T) {
	ca := lab.NewCA(t)
	cert := ca.Client(t)
	target := synthetic.Target{Name: "plant", URL: "mqtts://localhost", TLS: synthetic.TargetTLS{CAFile: ca.File, CertFile: cert.CertFile, KeyFile: cert.KeyFile, ServerName: "broker"}}
	for _, tc := range []struct {
		name   string
		change func(*synthetic.Target, *synthetic.Profile)
		fault  string // part of the error; "" = none
	}{
		{"no change", func(*synthetic.Target, *synthetic.Profile) {}, ""},
		{"no such CA file", func(t *synthetic.Target, _ *synthetic.Profile) { t.TLS.CAFile += "x" }, "tls.ca_file"},
		{"no PEM in it", func(t *synthetic.Target, _ *synthetic.Profile) { t.TLS.CAFile = cert.KeyFile }, "contains no PEM certificate"},
		{"key of another", func(tg *synthetic.Target, _ *synthetic.Profile) { tg.TLS.KeyFile = ca.Client(t).KeyFile }, "tls.key_file"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tg, p := target, synthetic.DefaultProfile()
			tc.change(&tg, &p)
			c, err := New(synthetic.Env{Target: &tg}, &p)
			if err == nil {
				_, err = c.Options(t.Context(), "")
			}
			if (err == nil) != (tc.fault == "") || err != nil && !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%s: %v", tc.name, err)
			}
		})
	}
	p := synthetic.DefaultProfile()
	p.TLS = synthetic.ProfileTLS{MinVersion: "1.2", MaxVersion: "1.2", CipherSuites: []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"}, Curves: []string{"P256"}, ALPN: []string{"mqtt"}, WithoutClientCert: true}
	c, err := New(synthetic.Env{Target: &target}, &p)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.tls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MinVersion != 0x303 || cfg.MaxVersion != 0x303 || len(cfg.CipherSuites) != 1 || len(cfg.CurvePreferences) != 1 || len(cfg.Certificates) != 0 || len(cfg.NextProtos) != 1 || cfg.ServerName != "broker" {
		t.Errorf("%+v", cfg)
	}
	for _, bad := range []synthetic.ProfileTLS{{MinVersion: "1.4"}, {CipherSuites: []string{"NULL"}}, {Curves: []string{"P1"}}} {
		p.TLS = bad
		if _, err := New(synthetic.Env{Target: &target}, &p); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
