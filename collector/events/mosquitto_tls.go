package events

import (
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// held is what a line told that names no client: it explains the closing in one of the next lines, or nothing.
type held struct {
	Event
	cause heldCause
	at    time.Time // zero: nothing is held
}

type heldCause uint8

const (
	tlsFailure    heldCause = iota + 1
	tlsEOF                  // a FIN without close_notify
	plainListener           // TLS to a listener without
)

// openSSL reads "[<n>]: error:<code>:<library>::<text>", from 2.1 with words before the bracket. There may be several.
func (m *mosquitto) openSSL(rest string, at time.Time) (told, error) {
	h := tlsFault(rest, at)
	if m.held.at.IsZero() || at.Sub(m.held.at) >= heldFor || h.Reason == disconnect.CertificateError {
		m.held = h
	}
	return told{}, nil
}

// tlsFault reads a text of OpenSSL's, or of wolfSSL's.
func tlsFault(text string, at time.Time) held {
	h := held{ended(disconnect.TLSError, disconnect.ByServer), tlsFailure, at}
	for _, word := range []string{"certificate", "unknown ca", "ASN "} {
		if strings.Contains(text, word) {
			h.Reason = disconnect.CertificateError
		}
	}
	switch {
	case strings.Contains(text, "unexpected eof"):
		h.cause, h.Initiator = tlsEOF, disconnect.ByClient
	case strings.Contains(text, " alert "): // it came from the client
		h.Initiator = disconnect.ByClient
	}
	return h
}

// judge says why a connection closed, where what is held, or its absence, tells more than the words of the closing.
func (h held) judge(v verdict, kind Kind) (Event, bool) {
	switch {
	case v.mqtt && kind == ConnectFailure && h.cause == plainListener:
		return h.Event, true
	case v.proto && kind == ConnectFailure && h.cause == 0:
		return failed(disconnect.TLSError, disconnect.ByUnknown), true
	case !v.proto && !v.echo, h.cause == 0, h.cause == plainListener:
		return Event{}, false
	case h.cause == tlsEOF && kind == Disconnect:
		return ended(disconnect.PeerClosed, disconnect.ByUnknown), true
	case h.cause == tlsEOF && !v.proto:
		return Event{}, false
	}
	return h.Event, true
}

// mosquittoOutcomes lists what the dialect can tell.
func mosquittoOutcomes() []Event {
	o := outcomes{{Kind: Connect}, mosquittoExhausted}
	both := func(e Event) {
		for _, e.Kind = range []Kind{ConnectFailure, Disconnect} {
			o.add(e)
		}
	}
	for _, words := range []map[string]verdict{mosquittoVerdicts, mosquittoErrors, {"": mosquittoUnknown}} {
		for _, v := range words {
			o.add(v.Event)
			if v.Kind == Disconnect && !v.known && v.Reason != disconnect.KeepaliveTimeout {
				both(v.Event)
			}
		}
	}
	for _, t := range mosquittoTails {
		o.add(t.Event)
	}
	for _, r := range mosquittoRefusals {
		o.add(r.Event)
	}
	o.add(failed(disconnect.IdleTimeout, disconnect.ByServer))
	for _, reason := range []disconnect.Reason{disconnect.TLSError, disconnect.CertificateError} {
		both(ended(reason, disconnect.ByClient))
		both(ended(reason, disconnect.ByServer))
	}
	both(ended(disconnect.TLSError, disconnect.ByUnknown))
	return sorted(o)
}
