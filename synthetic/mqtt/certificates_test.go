package mqtt

import (
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/test/lab"
)

// securePort starts a broker with a certificate and further ones behind it, and returns options to
// connect to it that trust ca.
func securePort(t *testing.T, ca *lab.CA, leaf tls.Certificate, more ...[]byte) Options {
	t.Helper()
	leaf.Certificate = append(leaf.Certificate[:1:1], more...)
	b := lab.StartScriptedBroker(t, lab.Responder{}.Serve, lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{leaf}}})
	return Options{URL: &url.URL{Scheme: "mqtts", Host: b.Addr().String()}, ClientID: "c", TLS: &tls.Config{RootCAs: ca.Pool}}
}

// TestMerelySentExpired has a server that sends an expired certificate which nobody needs, as many did
// with the cross-signed roots of AddTrust (2020) and DST X3 (2021). What counts is what verifies.
func TestMerelySentExpired(t *testing.T) {
	ca := lab.NewCA(t)
	old := lab.NewCA(t).Intermediate(t, lab.Expired()).Certificate()
	good := ca.Server(t)
	s := dial(t, securePort(t, ca, good.TLS, old.Raw))
	defer s.Abort()
	f := s.Account().TLS
	if !f.EarliestExpiry.Equal(good.Leaf.NotAfter) || !f.SentExpiry.Equal(old.NotAfter) || f.Lifetime != good.Leaf.NotAfter.Sub(good.Leaf.NotBefore) {
		t.Errorf("expires %s, sent %s, lifetime %s; want %s and %s", f.EarliestExpiry, f.SentExpiry, f.Lifetime, good.Leaf.NotAfter, old.NotAfter)
	}
	if c := f.Certificate; c == nil || c.Chain != 2 || c.Subject != "localhost" || c.Issuer != "pingreq lab CA" || len(c.Names) != 3 || !strings.Contains(c.String(), "for localhost, 127.0.0.1, ::1, issued by pingreq lab CA") {
		t.Errorf("%+v: %s", c, c)
	}
}

// TestLongestLivedChain has a leaf that two certificates of one intermediate authority verify. The one
// that ends first does not count.
func TestLongestLivedChain(t *testing.T) {
	ca := lab.NewCA(t)
	soon := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	between := ca.Intermediate(t)
	again := ca.Again(t, between, lab.NotAfter(soon))
	s := dial(t, securePort(t, ca, between.Server(t, lab.NotAfter(soon.Add(10*time.Hour))).TLS, again.Raw, between.Certificate().Raw))
	defer s.Abort()
	if f := s.Account().TLS; !f.EarliestExpiry.After(soon) || !f.SentExpiry.Equal(soon) {
		t.Errorf("expires %s, sent %s", f.EarliestExpiry, f.SentExpiry)
	}
}

// TestCommonName connects to a server whose certificate has a Common Name only.
func TestCommonName(t *testing.T) {
	ca := lab.NewCA(t)
	for _, tt := range []struct {
		name        string
		leaf        *lab.Certificate
		opts, right bool
	}{
		{"not asked for", ca.Server(t, lab.NoNames(), lab.CommonName("127.0.0.1")), false, false},
		{"right", ca.Server(t, lab.NoNames(), lab.CommonName("127.0.0.1")), true, true},
		{"wrong", ca.Server(t, lab.NoNames(), lab.CommonName("other.example")), true, false},
		{"names count where there are some", ca.Server(t, lab.Names("other.example"), lab.CommonName("127.0.0.1")), true, false},
		{"names as usual", ca.Server(t), true, true},
		{"unknown issuer", lab.NewCA(t).Server(t, lab.NoNames(), lab.CommonName("127.0.0.1")), true, false},
		{"expired", ca.Server(t, lab.Expired(), lab.NoNames(), lab.CommonName("127.0.0.1")), true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := securePort(t, ca, tt.leaf.TLS)
			o.VerifyCommonName = tt.opts
			s, err := Dial(t.Context(), o)
			if s != nil {
				if f := s.Account().TLS; !f.EarliestExpiry.Equal(tt.leaf.Leaf.NotAfter) {
					t.Errorf("expires %s", f.EarliestExpiry)
				}
				s.Abort()
			}
			end, _ := errors.AsType[*End](err)
			if (err == nil) != tt.right || err != nil && (end.Reason != disconnect.CertificateError || end.When.Certificate == "") {
				t.Errorf("%v", err)
			}
		})
	}
}
