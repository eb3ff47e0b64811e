package events

import (
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// held is the content of a line that names no client. It explains the closing in one of the next
// lines, or nothing.
type held struct {
	Event
	cause heldCause
	at    time.Time // zero: nothing is held
}

type heldCause uint8

const (
	tlsFailure    heldCause = iota + 1
	tlsEOF                  // a FIN without close_notify
	plainListener           // TLS to a listener without TLS
)

// openSSL reads "[<n>]: error:<code>:<library>::<text>". From 2.1 on there are words before the
// bracket. There may be several errors.
func (m *mosquitto) openSSL(rest string, at time.Time) (told, error) {
	h := tlsFault(rest, at)
	if m.held.at.IsZero() || at.Sub(m.held.at) >= heldFor || h.Reason == disconnect.CertificateError {
		m.held = h
	}
	return told{}, nil
}

// tlsFault reads an error text of OpenSSL or wolfSSL.
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

// judge returns why a connection closed, if the held line, or its absence, says more than the words
// of the closing.
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

// mosquittoOutcomes lists the events that the dialect can report.
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
