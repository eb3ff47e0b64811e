package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// CertificateFacts are what a server's certificate says.
type CertificateFacts struct {
	// Subject and Issuer are the common names, or the whole names if there are none.
	Subject, Issuer string
	// Names are the names and addresses for which it is valid, at most five of them.
	Names []string
	// NotBefore and NotAfter limit its validity.
	NotBefore, NotAfter time.Time
	// Chain is how many certificates the server sent.
	Chain int
}

// namesKept is how many names of a certificate are kept, and nameKept how many bytes of a name.
const (
	namesKept = 5
	nameKept  = 100
)

// String returns one line for humans to read.
func (c *CertificateFacts) String() string {
	s := c.Subject
	if len(c.Names) > 0 {
		s += " for " + strings.Join(c.Names, ", ")
	}
	if c.Issuer != c.Subject {
		s += ", issued by " + c.Issuer
	} else {
		s += ", issued by itself"
	}
	days := time.Until(c.NotAfter).Hours() / 24
	left := fmt.Sprintf("%.0f days left", days)
	switch {
	case days < 0:
		left = "expired"
	case days < 3:
		left = fmt.Sprintf("%.1f days left", days)
	}
	return s + fmt.Sprintf(", valid from %s to %s (%s), chain of %d", day(c.NotBefore), day(c.NotAfter), left, c.Chain)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02") }

// noteCertificates records what the certificates of a handshake say. sent are those that the server
// sent, and verified are the chains that verified. What expires is the chain that lives longest, since
// clients accept any of them; what was merely sent may be an old cross-signed certificate.
func (f *TLSFacts) noteCertificates(sent []*x509.Certificate, verified [][]*x509.Certificate) {
	if len(sent) == 0 {
		return
	}
	leaf := sent[0]
	f.Certificate = &CertificateFacts{Subject: name(leaf.Subject.CommonName, leaf.Subject.String()), Issuer: name(leaf.Issuer.CommonName, leaf.Issuer.String()),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Chain: len(sent)}
	for _, n := range leaf.DNSNames {
		f.Certificate.Names = append(f.Certificate.Names, name(n, ""))
	}
	for _, a := range leaf.IPAddresses {
		f.Certificate.Names = append(f.Certificate.Names, a.String())
	}
	if n := len(f.Certificate.Names); n > namesKept {
		f.Certificate.Names = append(f.Certificate.Names[:namesKept-1], fmt.Sprintf("%d more", n-namesKept+1))
	}
	first := earliest(sent)
	f.SentExpiry = first.NotAfter
	var best *x509.Certificate
	for _, chain := range verified {
		if c := earliest(chain); c != nil && (best == nil || c.NotAfter.After(best.NotAfter)) {
			best = c
		}
	}
	if best == nil {
		best = first
	}
	f.EarliestExpiry, f.Lifetime = best.NotAfter, best.NotAfter.Sub(best.NotBefore)
}

// name returns a name of a certificate, printable and not too long.
func name(s, otherwise string) string {
	if s == "" {
		s = otherwise
	}
	return disconnect.Clean(s, nameKept)
}

// earliest returns the certificate that expires first.
func earliest(certs []*x509.Certificate) (first *x509.Certificate) {
	for _, c := range certs {
		if first == nil || c.NotAfter.Before(first.NotAfter) {
			first = c
		}
	}
	return first
}

// verifyCommonName verifies a server's certificates as old clients do: if the certificate has no Subject
// Alternative Name, its Common Name must be the name. It returns the chains that verified.
func verifyCommonName(cfg *tls.Config, sent []*x509.Certificate) ([][]*x509.Certificate, error) {
	if len(sent) == 0 {
		return nil, errors.New("tls: the server sent no certificate")
	}
	leaf, o := sent[0], x509.VerifyOptions{Roots: cfg.RootCAs, Intermediates: x509.NewCertPool()}
	for _, c := range sent[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := leaf.Verify(o)
	if err == nil && len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses)+len(leaf.URIs) > 0 {
		err = leaf.VerifyHostname(cfg.ServerName)
	} else if err == nil && !strings.EqualFold(leaf.Subject.CommonName, cfg.ServerName) {
		err = x509.HostnameError{Certificate: leaf, Host: cfg.ServerName}
	}
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: sent, Err: err}
	}
	return chains, nil
}
