package disconnect

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
)

// alertError is an alert as crypto/tls reports it.
func alertError(op string, n byte) error { return &net.OpError{Op: op, Err: tls.AlertError(n)} }

func TestAlerts(t *testing.T) {
	if len(alertNumbers) != 256 {
		t.Fatalf("%d distinct texts for 256 alerts", len(alertNumbers))
	}
	certificate := []byte{42, 43, 44, 45, 46, 48, 116}
	for n := range 256 {
		number := byte(n)
		reason := TLSError
		switch {
		case slices.Contains(certificate, number):
			reason = CertificateError
		case number == 49:
			reason = NotAuthorized
		}
		for op, want := range map[string]Ending{
			"remote error": {Reason: reason, Initiator: ByServer, Evidence: FromTLSAlert},
			"local error":  {Reason: reason, Initiator: ByUnknown, Evidence: FromLocal},
		} {
			wrapped := &net.OpError{Op: "read", Err: fmt.Errorf("connecting: %w", alertError(op, number))}
			for _, err := range []error{alertError(op, number), wrapped} {
				e := Classify(Observation{Phase: PhaseTLS, TLS: true, Err: err})
				if e.Reason != want.Reason || e.Initiator != want.Initiator || e.Evidence != want.Evidence {
					t.Errorf("%s %d: %s", op, n, e)
				}
				if !strings.Contains(e.Detail, fmt.Sprintf("alert %d ", n)) {
					t.Errorf("%s %d: number missing in detail %q", op, n, e.Detail)
				}
			}
		}
	}
}
