package lab

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

// NotBefore sets the beginning of a certificate's validity, which then lasts for a day.
func NotBefore(begin time.Time) CertOption {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = begin, begin.Add(24*time.Hour) }
}

// Issued sets the beginning of a certificate's validity, and nothing else.
func Issued(at time.Time) CertOption {
	return func(c *x509.Certificate) { c.NotBefore = at }
}

// NoNames makes a certificate valid for no name: it only has a common name.
func NoNames() CertOption {
	return func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = nil, nil }
}

// IssuerURL says in a certificate where that of its issuer can be fetched, as public authorities do.
func IssuerURL(url string) CertOption {
	return func(c *x509.Certificate) { c.IssuingCertificateURL = []string{url} }
}

// Intermediate returns an authority whose certificate this one has signed. Its File is that of this
// authority, which is to be trusted.
func (ca *CA) Intermediate(t testing.TB, options ...CertOption) *CA {
	t.Helper()
	template := template("pingreq lab intermediate CA")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	for _, option := range options {
		option(template)
	}
	key := newKey(t)
	cert, _ := sign(t, template, ca.cert, key, ca.key)
	return &CA{File: ca.File, Pool: ca.Pool, cert: cert, key: key}
}

// Certificate returns the authority's own certificate, for a chain.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// SelfSigned returns a certificate for 127.0.0.1 that has signed itself, and nobody else.
func SelfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	template := template("self-signed.example")
	Names("localhost", "127.0.0.1")(template)
	key := newKey(t)
	cert, der := sign(t, template, template, key, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
}

// Again returns another certificate of an authority with the same name and key, signed by this one.
func (ca *CA) Again(t testing.TB, other *CA, options ...CertOption) *x509.Certificate {
	t.Helper()
	again := *other.cert
	for _, option := range options {
		option(&again)
	}
	cert, _ := sign(t, &again, ca.cert, other.key, ca.key)
	return cert
}
