package sys

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	no := math.NaN()
	for _, x := range []struct {
		form    Form
		payload string
		want    float64
	}{
		{Number, "0", 0}, {Number, " 42\n", 42}, {Number, "-660", -660}, {Number, "20.91", 20.91}, {Number, "+7", 7},
		{Number, "1.00000000000000000000e+00", 1}, {Number, "1E-3", 1e-3}, {Number, "0.46044921875", .46044921875},
		{Number, "999999999999999", 999999999999999}, {Number, "9007199254740993", 9007199254740992}, {Number, "18446744073709551615", 1 << 64},
		{Number, "123456789012345678901234567890", 123456789012345678901234567890},
		{Number, "", no}, {Number, " ", no}, {Number, "NaN", no}, {Number, "inf", no}, {Number, "-Inf", no}, {Number, "1e999", no}, {Number, "-1e999", no},
		{Number, "0x10", no}, {Number, "1_000", no}, {Number, "12 34", no}, {Number, "1,5", no}, {Number, "--1", no}, {Number, "e", no}, {Number, ".", no},
		{Number, "{\"n\":1}", no}, {Number, "2026-11-20T15:31:38.050Z", no}, {Number, "123 seconds", no}, {Number, "deadbeef", no}, {Number, "\x00", no},
		{Number, "١٢", no}, {Number, strings.Repeat("1", maxNumber+1), no}, {Number, strings.Repeat("1", 1<<20), no},
		{Seconds, "1958 seconds", 1958}, {Seconds, "0 seconds", 0}, {Seconds, "1958", 1958}, {Seconds, "1958seconds", 1958},
		{Seconds, "seconds", no}, {Seconds, "2 days, 1 seconds", no}, {Seconds, "1958 minutes", no},
		{Uptime, "93784005", 93784.005}, {Uptime, "2 days, 3 hours, 4 minutes, 5 seconds", 183845}, {Uptime, "1 day, 1 hour, 1 minute, 1 second", 90061},
		{Uptime, "5 seconds", 5}, {Uptime, "4 minutes, 5 seconds", 245}, {Uptime, "-5", no}, {Uptime, "-5 seconds", no}, {Uptime, "5 fortnights", no},
		{Uptime, "5", .005}, {Uptime, "days", no}, {Uptime, "1 day,", 86400}, {Uptime, strings.Repeat("1 day,", 1000), no}, {Uptime, "1e308 days, 1e308 days", no},
		{Flag, "0", 0}, {Flag, "1", 1}, {Flag, "2", no}, {Flag, "true", no}, {Flag, "", no},
		{List, "a", 1}, {List, "a@h,b@h,c@h", 3}, {List, "", no}, {List, strings.Repeat(",", 1<<20), no},
		{Text, "1", no},
	} {
		got, ok := x.form.parse([]byte(x.payload))
		if ok == math.IsNaN(x.want) || ok && got != x.want {
			t.Errorf("form %d of %.80q: %v %t, want %v", x.form, x.payload, got, ok, x.want)
		}
	}
}

func TestParseText(t *testing.T) {
	for _, x := range []struct{ payload, before, want string }{
		{"mosquitto version 2.0.11", "mosquitto version ", "2.0.11"}, {"2.7.9", "", "2.7.9"}, {" 5.8.0-g1\n", "", "5.8.0-g1"},
		{"", "", ""}, {"mosquitto version ", "mosquitto version ", ""}, {"a\nb", "", ""}, {"\xff", "", ""}, {strings.Repeat("x", maxText+1), "", ""},
		{`5.8 "x"`, "", `5.8 "x"`},
	} {
		got, ok := parseText([]byte(x.payload), x.before)
		if string(got) != x.want || ok != (x.want != "") {
			t.Errorf("%.80q: %q %t, want %q", x.payload, got, ok, x.want)
		}
	}
}

// TestPayloadsOfAnotherKind sends every sort of payload that brokers publish to a topic that is a
// counter. It must parse, or be counted without a series. An empty payload, which clears a retained
// message, is not a fault.
func TestPayloadsOfAnotherKind(t *testing.T) {
	for _, x := range []struct {
		payload  string
		value    float64
		unparsed float64
	}{
		{"17", 17, 0}, {"12.50", 12.5, 0}, {"1.00000000000000000000e+00", 1, 0}, {"18446744073709551615", 1 << 64, 0},
		{"", -1, 0}, {"-1", -1, 1}, {"123 seconds", -1, 1}, {"2 days, 3 hours, 4 minutes, 5 seconds", -1, 1}, {"2026-11-20T15:31:38.050Z", -1, 1}, {`{"n":1}`, -1, 1},
		{"8b", -1, 1}, {"NaN", -1, 1}, {"+Inf", -1, 1}, {strings.Repeat("1", 1<<20), -1, 1},
	} {
		fleet := newTestFleet(t, false)
		target := subscribed(t, fleet, "plant", Options{Dialect: "mosquitto"})
		hear(target, false, "$SYS/broker/uptime=1 seconds", "$SYS/broker/bytes/sent=5", "$SYS/broker/bytes/sent="+x.payload)
		all := allSeries(t, fleet)
		if v, ok := all[bytesSent]; ok != (x.value >= 0) || ok && v != x.value || all[sysUnparsed] != x.unparsed {
			t.Errorf("%.80q: value %v %t, %v unparsed; want %v and %v", x.payload, v, ok, all[sysUnparsed], x.value, x.unparsed)
		}
		target.Handle("$SYS/broker/bytes/sent", []byte("6"), false, time.Now())
		if v := allSeries(t, fleet)[bytesSent]; v != 6 {
			t.Errorf("%.80q: the next value is %v, want 6", x.payload, v)
		}
	}
}
