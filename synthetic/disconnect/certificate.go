package disconnect

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// CertificateFault is what is wrong with a certificate. Its values are bounded, so it can be a label.
type CertificateFault string

// The faults of certificates.
const (
	CertificateExpired             CertificateFault = "expired"
	CertificateNotYetValid         CertificateFault = "not_yet_valid"
	CertificateWrongName           CertificateFault = "wrong_name"
	CertificateUnknownIssuer       CertificateFault = "unknown_issuer"
	CertificateMissingIntermediate CertificateFault = "missing_intermediate"
	CertificateSelfSigned          CertificateFault = "self_signed"
	CertificateOther               CertificateFault = "other"
	// ClientCertificateMissing: the server demands a certificate, and we have none.
	ClientCertificateMissing CertificateFault = "client_missing"
	// ClientCertificateExpired: the server says that our certificate has expired.
	ClientCertificateExpired CertificateFault = "client_expired"
	// ClientCertificateRefused: the server does not accept our certificate.
	ClientCertificateRefused CertificateFault = "client_refused"
)

var certificateFaults = [...]CertificateFault{CertificateExpired, CertificateNotYetValid, CertificateWrongName, CertificateUnknownIssuer, CertificateMissingIntermediate,
	CertificateSelfSigned, CertificateOther, ClientCertificateMissing, ClientCertificateExpired, ClientCertificateRefused}

// CertificateFaults lists every fault, in the order of the documentation.
func CertificateFaults() []CertificateFault { return slices.Clone(certificateFaults[:]) }

// verificationFault returns what is wrong with the server's certificates, and says it for humans to
// read. sent are the certificates that the server sent.
func verificationFault(err error, sent []*x509.Certificate) (CertificateFault, string) {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired && e.Cert != nil {
		name := certificateName(e.Cert)
		if now := time.Now(); !e.Cert.NotBefore.IsZero() && now.Before(e.Cert.NotBefore) {
			return CertificateNotYetValid, fmt.Sprintf("x509: certificate is not yet valid: that of %s begins at %s", name, day(e.Cert.NotBefore))
		}
		return CertificateExpired, fmt.Sprintf("x509: certificate has expired: that of %s, at %s", name, day(e.Cert.NotAfter))
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok && e.Certificate != nil {
		return CertificateWrongName, fmt.Sprintf("x509: certificate is valid for %s, not %s", certificateNames(e.Certificate), clean(e.Host, maxText))
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if len(sent) == 0 {
			return CertificateUnknownIssuer, "x509: certificate signed by unknown authority"
		}
		leaf, last := sent[0], sent[len(sent)-1]
		switch {
		case len(sent) == 1 && selfSigned(leaf):
			return CertificateSelfSigned, fmt.Sprintf("x509: certificate signed by unknown authority: %s has signed itself", certificateName(leaf))
		case len(sent) == 1 && len(leaf.IssuingCertificateURL) > 0:
			return CertificateMissingIntermediate, fmt.Sprintf("x509: certificate signed by unknown authority: the server sends only its own certificate, without that of its issuer %s", clean(leaf.Issuer.CommonName, maxText))
		}
		return CertificateUnknownIssuer, fmt.Sprintf("x509: certificate signed by unknown authority: %s", clean(last.Issuer.CommonName, maxText))
	}
	return CertificateOther, err.Error()
}

// alertFault returns what an alert of the server says about our certificate.
func alertFault(number byte) CertificateFault {
	switch number {
	case 45:
		return ClientCertificateExpired
	case 116, 41:
		return ClientCertificateMissing
	}
	return ClientCertificateRefused
}

func selfSigned(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// certificateName returns the name of a certificate for humans to read.
func certificateName(c *x509.Certificate) string {
	switch {
	case c.Subject.CommonName != "":
		return clean(c.Subject.CommonName, maxText)
	case len(c.DNSNames) > 0:
		return clean(c.DNSNames[0], maxText)
	}
	return "the server"
}

// certificateNames returns the names for which a certificate is valid, at most three of them.
func certificateNames(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, a := range c.IPAddresses {
		names = append(names, a.String())
	}
	switch {
	case len(names) == 0 && c.Subject.CommonName != "":
		return "no name at all (only its Common Name is " + clean(c.Subject.CommonName, maxText) + ", which counts no longer)"
	case len(names) == 0:
		return "no name at all"
	case len(names) > 3:
		names = append(names[:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return clean(strings.Join(names, ", "), maxText)
}

// day prints a time of a certificate.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
