package durations

import (
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		d           time.Duration
		round, text string
	}{
		{0, "0s", "0 s"},
		{7, "7ns", "7 ns"},
		{412_345, "412µs", "412 µs"},
		{1_234_567, "1.23ms", "1.23 ms"},
		{1_500_000, "1.5ms", "1.5 ms"},
		{999_600_000, "1s", "1 s"},
		{7_919_000_000, "7.92s", "7.92 s"},
		{7_900_000_001, "7.9s", "7.9 s"},
		{45_230 * time.Millisecond, "45.2s", "45.2 s"},
		{60 * time.Second, "1m0s", "60 s"},
		{99_960 * time.Millisecond, "1m40s", "1 min 40 s"},
		{100 * time.Second, "1m40s", "1 min 40 s"},
		{200*time.Second + 400*time.Millisecond, "3m20s", "3 min 20 s"},
		{3 * time.Minute, "3m0s", "3 min"},
		{time.Hour - time.Second, "59m59s", "59 min 59 s"},
		{2*time.Hour + 5*time.Minute + 29*time.Second, "2h5m29s", "2 h 5 min"},
		{2*time.Hour - time.Second, "1h59m59s", "2 h"},
		{76 * time.Hour, "76h0m0s", "3 d 4 h"},
		{-1500 * time.Millisecond, "-1.5s", "-1.5 s"},
	} {
		if got := Round(c.d).String(); got != c.round {
			t.Errorf("Round(%s) is %s, want %s", c.d, got, c.round)
		}
		if got := Text(c.d); got != c.text {
			t.Errorf("Text(%s) is %q, want %q", c.d, got, c.text)
		}
	}
}

// TestShortDigits writes every millisecond of ten seconds with at most three digits.
func TestShortDigits(t *testing.T) {
	for d := time.Duration(0); d < 10*time.Second; d += time.Millisecond {
		if text := Text(d); len(text) > len("7.92 ms") {
			t.Fatalf("%s is %q", d, text)
		}
	}
}
