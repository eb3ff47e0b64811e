// Package durations writes measured durations for people to read. Three digits are enough: more would
// claim an accuracy that nobody needs, and hide the size.
package durations

import (
	"fmt"
	"strconv"
	"time"
)

// Round rounds a duration to three significant digits, and one of 100 s or more to whole seconds. So
// its String is short, such as 7.92s or 412µs.
func Round(d time.Duration) time.Duration {
	if d < 0 {
		return -Round(-d)
	}
	if d >= 100*time.Second {
		return d.Round(time.Second)
	}
	unit := time.Duration(1)
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit)
}

// Text writes a duration for a sentence: 412 µs, 1.5 ms, 7.92 s, 3 min 20 s, 2 h 5 min, 3 d 4 h.
func Text(d time.Duration) string {
	const day = 24 * time.Hour
	switch r := Round(d); {
	case r < 0:
		return "-" + Text(-r)
	case r >= 2*day:
		return parts(r, day, "d", time.Hour, "h")
	case r >= time.Hour:
		return parts(r, time.Hour, "h", time.Minute, "min")
	case r >= 100*time.Second:
		return parts(r, time.Minute, "min", time.Second, "s")
	case r >= time.Second:
		return decimal(r, time.Second) + " s"
	case r >= time.Millisecond:
		return decimal(r, time.Millisecond) + " ms"
	case r >= time.Microsecond:
		return decimal(r, time.Microsecond) + " µs"
	case r > 0:
		return fmt.Sprintf("%d ns", r)
	}
	return "0 s"
}

// parts writes a duration in two units, without the smaller one if nothing is left for it.
func parts(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	d = d.Round(small)
	text := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// decimal writes a rounded duration as a multiple of a unit. A quotient of whole numbers has the shortest
// digits, which time.Duration.Seconds, a sum, has not: it makes 7.9190000000000005 of 7.919 s.
func decimal(d, unit time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(unit), 'f', -1, 64)
}
