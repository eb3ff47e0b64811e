package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certificate authority for one test.
type CA struct {
	// File is the authority's certificate, PEM.
	File string
	// Pool holds only the authority's certificate.
	Pool *x509.CertPool

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Certificate is an issued certificate with its private key (ECDSA P-256), in memory and in files.
type Certificate struct {
	TLS  tls.Certificate
	Leaf *x509.Certificate
	// CertFile, KeyFile and BundleFile are PEM files. The bundle holds certificate and key, as
	// HAProxy needs it.
	CertFile, KeyFile, BundleFile string
}

// CertOption changes a certificate before it is signed.
type CertOption func(*x509.Certificate)

// Names makes a certificate valid for these host names and IP addresses only.
func Names(names ...string) CertOption {
	return func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = nil, nil
		for _, name := range names {
			if ip := net.ParseIP(name); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, name)
			}
		}
	}
}

// NotAfter sets the end of a certificate's validity.
func NotAfter(end time.Time) CertOption {
	return func(c *x509.Certificate) {
		c.NotAfter = end
		if !c.NotBefore.Before(end) {
			c.NotBefore = end.Add(-time.Hour)
		}
	}
}

// Expired makes a certificate that ended an hour ago.
func Expired() CertOption { return NotAfter(time.Now().Add(-time.Hour)) }

// CommonName sets the subject's common name. Mosquitto can use it as the user name.
func CommonName(name string) CertOption {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

// NewCA returns a new certificate authority, valid for ten years.
func NewCA(t testing.TB) *CA {
	t.Helper()
	template := template("pingreq lab CA")
	template.NotAfter = template.NotBefore.AddDate(10, 0, 0)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	key := newKey(t)
	cert, der := sign(t, template, template, key, key)
	ca := &CA{
		File: filepath.Join(t.TempDir(), "ca.pem"),
		Pool: x509.NewCertPool(),
		cert: cert,
		key:  key,
	}
	ca.Pool.AddCert(cert)
	writePEM(t, ca.File, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

// Server issues a server certificate, by default for localhost, 127.0.0.1 and ::1, for a day.
func (ca *CA) Server(t testing.TB, options ...CertOption) *Certificate {
	t.Helper()
	return ca.issue(t, x509.ExtKeyUsageServerAuth, append([]CertOption{
		CommonName("localhost"),
		Names("localhost", "127.0.0.1", "::1"),
	}, options...))
}

// Client issues a client certificate, by default for the common name pingreq, for a day.
func (ca *CA) Client(t testing.TB, options ...CertOption) *Certificate {
	t.Helper()
	return ca.issue(t, x509.ExtKeyUsageClientAuth, append([]CertOption{CommonName("pingreq")}, options...))
}

func (ca *CA) issue(t testing.TB, usage x509.ExtKeyUsage, options []CertOption) *Certificate {
	t.Helper()
	template := template("")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	for _, option := range options {
		option(template)
	}
	key := newKey(t)
	leaf, der := sign(t, template, ca.cert, key, ca.key)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := &Certificate{
		TLS:        tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		Leaf:       leaf,
		CertFile:   filepath.Join(dir, "cert.pem"),
		KeyFile:    filepath.Join(dir, "key.pem"),
		BundleFile: filepath.Join(dir, "bundle.pem"),
	}
	certBlock := &pem.Block{Type: "CERTIFICATE", Bytes: der}
	keyBlock := &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}
	writePEM(t, c.CertFile, certBlock)
	writePEM(t, c.KeyFile, keyBlock)
	writePEM(t, c.BundleFile, certBlock, keyBlock)
	return c
}

func template(commonName string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: commonName},
		NotBefore: now.Add(-time.Hour),
		NotAfter:  now.Add(24 * time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t testing.TB, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (*x509.Certificate, []byte) {
	t.Helper()
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, der
}

func writePEM(t testing.TB, path string, blocks ...*pem.Block) {
	t.Helper()
	var text []byte
	for _, block := range blocks {
		text = append(text, pem.EncodeToMemory(block)...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
