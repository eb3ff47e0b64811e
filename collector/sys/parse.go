package sys

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Form is the format in which a broker writes a value.
type Form uint8

// The formats of payloads.
const (
	// Number is a decimal number, possibly with a sign, a fraction or an exponent.
	Number Form = iota
	// Seconds is a number, possibly followed by the word "seconds": Mosquitto.
	Seconds
	// Uptime is an integer of milliseconds (EMQX 5 and 6) or "2 days, 3 hours, 4 minutes, 5
	// seconds" (EMQX 4).
	Uptime
	// Flag is 0 or 1.
	Flag
	// List is a list of names with commas between them. Its value is the number of names.
	List
	// Text is a short line of text, which becomes a label.
	Text
)

const (
	maxNumber = 64 // bytes of a payload that must be a number
	maxList   = 16 << 10
	maxText   = 64 // bytes of a text that becomes a label
)

// parse reads a payload that is not empty. It allocates nothing.
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

// parseNumber reads the finite numbers that JSON and C's printf write. It refuses hexadecimal
// numbers, "inf" and "NaN".
func parseNumber(p []byte) (float64, bool) {
	if len(p) == 0 || len(p) > maxNumber {
		return 0, false
	}
	var n int64
	digits := len(p) <= 15 // exact in a float64
	for _, c := range p {
		switch {
		case c >= '0' && c <= '9':
			n = n*10 + int64(c-'0') // n is not used if it overflows
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

// parseUptime returns seconds.
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

// parseText returns the text in p, without the text before it in the payload.
func parseText(p []byte, before string) ([]byte, bool) {
	p = bytes.TrimSpace(bytes.TrimPrefix(p, []byte(before)))
	if len(p) == 0 || len(p) > maxText || !utf8.Valid(p) || bytes.ContainsFunc(p, unicode.IsControl) {
		return nil, false
	}
	return p, true
}
