package disconnect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
)

// alertNumbers maps the text of a TLS alert to its number. crypto/tls reports an alert as a
// [net.OpError] around an unexported type. The texts of that type are those of [tls.AlertError].
var alertNumbers = func() map[string]byte {
	m := make(map[string]byte, 256)
	for n := range 256 {
		m[tls.AlertError(n).Error()] = byte(n)
	}
	return m
}()

// alert finds a TLS alert in an error. remote reports whether the peer sent it; otherwise we did.
func alert(err error) (number byte, remote, ok bool) {
	for {
		op, found := errors.AsType[*net.OpError](err)
		if !found || op.Err == nil {
			return 0, false, false
		}
		if op.Op == "remote error" || op.Op == "local error" {
			number, ok = alertNumbers[op.Err.Error()]
			return number, op.Op == "remote error", ok
		}
		err = op.Err
	}
}

// alertReason returns the reason that an alert stands for [RFC 8446 6.2].
func alertReason(number byte) Reason {
	switch number {
	case 42, 43, 44, 45, 46, // bad, unsupported, revoked, expired, unknown certificate
		48,  // unknown_ca
		116: // certificate_required
		return CertificateError
	case 49: // access_denied: "a valid certificate or PSK was received"
		return NotAuthorized
	}
	return TLSError
}

func describeAlert(number byte, remote bool) string {
	who := "our alert"
	if remote {
		who = "alert"
	}
	name := strings.TrimPrefix(tls.AlertError(number).Error(), "tls: ")
	s := fmt.Sprintf("tls: %s %d %s", who, number, name)
	if number == 40 && remote {
		s += " (no common parameters, or a client certificate is demanded)"
	}
	return s
}
