package disconnect

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// fromTLS handles the typed errors of crypto/tls and crypto/x509. It applies in every phase,
// because TLS 1.3 reports a refused client certificate only on the first read after the handshake.
func fromTLS(o *Observation) (Ending, bool) {
	if number, remote, ok := alert(o.Err); ok {
		if remote {
			e := ending(alertReason(number), ByServer, FromTLSAlert, describeAlert(number, true))
			if e.Reason == CertificateError {
				e.When.Certificate = alertFault(number)
			}
			return e, true
		}
		return ending(alertReason(number), ByUnknown, FromLocal, describeAlert(number, false)), true
	}
	if roots, ok := errors.AsType[x509.SystemRootsError](o.Err); ok {
		return ending(Other, ByClient, FromLocal, roots.Error()), true
	}
	if err := certificateError(o.Err); err != nil {
		var sent []*x509.Certificate
		if v, ok := errors.AsType[*tls.CertificateVerificationError](o.Err); ok {
			sent = v.UnverifiedCertificates
		}
		fault, detail := verificationFault(err, sent)
		e := ending(CertificateError, ByServer, FromLocal, detail)
		e.When.Certificate = fault
		return e, true
	}
	if record, ok := errors.AsType[tls.RecordHeaderError](o.Err); ok {
		e := ending(TLSError, ByServer, FromLocal, "tls: the answer is not TLS")
		if e.When.Speaks = plain(record.RecordHeader[:]); e.When.Speaks != "" {
			e.Detail += ", but " + e.When.Speaks.Name()
		}
		return e, true
	}
	return Ending{}, false
}

// certificateError returns the error of a failed verification in err, or nil if there is none.
func certificateError(err error) error {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.ConstraintViolationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.InsecureAlgorithmError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.UnhandledCriticalExtension](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	return nil
}

// plain returns which protocol the port speaks instead of TLS. header is the five bytes that should
// have been a TLS record header.
func plain(header []byte) Protocol {
	switch {
	case bytes.HasPrefix(header, []byte{byte(Connack) << 4, 0x02}), bytes.HasPrefix(header, []byte{byte(Disconnect) << 4}):
		return SpeaksMQTT
	}
	return Recognize(header)
}

// tlsText classifies errors of crypto/tls that have no type, by their text.
func tlsText(text string) (reason Reason, initiator Initiator) {
	if strings.Contains(text, "certificate") && !strings.Contains(text, "client certificate") {
		return CertificateError, ByServer
	}
	return TLSError, ByUnknown
}
