package sys

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Form is how a broker writes a value.
type Form uint8

// The forms of payloads.
const (
	// Number is a decimal number, with a sign, a fraction or an exponent if need be.
	Number Form = iota
	// Seconds is a number, which the word "seconds" may follow: Mosquitto.
	Seconds
	// Uptime is an integer of milliseconds (EMQX 5 and 6) or "2 days, 3 hours, 4 minutes, 5 seconds" (EMQX 4).
	Uptime
	// Flag is 0 or 1.
	Flag
	// List is names with commas between; its value is their number.
	List
	// Text is a short line of text, which becomes a label.
	Text
)

const (
	maxNumber = 64 // bytes of a payload that is to be a number
	maxList   = 16 << 10
	maxText   = 64 // bytes of a text that becomes a label
)

// parse reads a payload, which is not empty. It allocates nothing.
func (f Form) parse(p []byte) (float64, bool) {
	p = bytes.TrimSpace(p)
	switch f {
	case Number:
		return parseNumber(p)
	case Seconds:
		p = bytes.TrimSuffix(p, []byte("seconds"))
		return parseNumber(bytes.TrimRight(p, " "))
	case Uptime:
		return parseUptime(p)
	case Flag:
		if len(p) == 1 && (p[0] == '0' || p[0] == '1') {
			return float64(p[0] - '0'), true
		}
	case List:
		if len(p) > 0 && len(p) <= maxList {
			return float64(1 + bytes.Count(p, []byte(","))), true
		}
	}
	return 0, false
}

// parseNumber takes what JSON and C's printf write as a finite number, and neither hexadecimal, nor "inf", nor "NaN".
func parseNumber(p []byte) (float64, bool) {
	if len(p) == 0 || len(p) > maxNumber {
		return 0, false
	}
	var n int64
	digits := len(p) <= 15 // exact in a float64
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int64(c-'0') // overflows only where it is not used
		case c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E':
			digits = false
		default:
			return 0, false
		}
	}
	if digits {
		return float64(n), true
	}
	v, err := strconv.ParseFloat(string(p), 64) // out of range is an error
	return v, err == nil
}

// parseUptime gives seconds.
func parseUptime(p []byte) (float64, bool) {
	if ms, ok := parseNumber(p); ok {
		return ms / 1000, ms >= 0
	}
	if len(p) > 2*maxNumber {
		return 0, false
	}
	var total float64
	for len(p) > 0 {
		var part []byte
		part, p, _ = bytes.Cut(p, []byte(","))
		count, unit, _ := bytes.Cut(bytes.TrimSpace(part), []byte(" "))
		n, ok := parseNumber(count)
		if !ok || n < 0 {
			return 0, false
		}
		switch string(bytes.TrimSuffix(unit, []byte("s"))) {
		case "day":
			n *= 86400
		case "hour":
			n *= 3600
		case "minute":
			n *= 60
		case "second":
		default:
			return 0, false
		}
		total += n
	}
	return total, !math.IsInf(total, 0)
}

// parseText gives the part of p that is a text, without what stands before it in the payload.
func parseText(p []byte, before string) ([]byte, bool) {
	p = bytes.TrimSpace(bytes.TrimPrefix(p, []byte(before)))
	if len(p) == 0 || len(p) > maxText || !utf8.Valid(p) || bytes.ContainsFunc(p, unicode.IsControl) {
		return nil, false
	}
	return p, true
}
