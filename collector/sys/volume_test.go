package sys

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
)

// TestSeries compares the number of series that is expected of a dialect with what is exported of
// everything that such a broker publishes.
func TestSeries(t *testing.T) {
	auto, _ := Options{}.Series(false)
	for _, f := range testFiles {
		t.Run(f.file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := newTestFleet(t, false)
				o := Options{Dialect: f.dialect, Values: maxUnknown}
				x := subscribed(t, fleet, "plant", o)
				for _, m := range messages(t, f.file) {
					x.Handle(m.topic, m.payload, false, time.Now())
				}
				n, values := 0, 0
				labels := map[string]int{} // series with a label that only the broker knows
				for series := range allSeries(t, fleet) {
					name, rest, _ := strings.Cut(series, "{")
					switch {
					case name == sysValue:
						values++
					case strings.Contains(rest, labelBridge+"=") || strings.Contains(rest, labelThread+"="):
						labels[name]++
					default:
						n++
					}
				}
				n += len(labels)
				fresh, most := o.Series(false)
				t.Logf("%d series and %d further values, expected %d up to %d", n, values, fresh, most)
				if n > fresh || fresh > auto || n+values > most || most != fresh+maxUnknown {
					t.Errorf("%d series and %d further values, expected %d up to %d, and %d of any broker", n, values, fresh, most, auto)
				}
				if strings.HasPrefix(f.file, "documented/") && n < fresh*4/5 {
					t.Errorf("only %d series of %d, although everything is published", n, fresh)
				}
			})
		})
	}
	fresh, _ := Options{Dialect: dialects.Mosquitto}.Series(false)
	if old, _ := (Options{Dialect: dialects.Mosquitto}).Series(true); old != fresh+len(OldNames()) {
		t.Errorf("%d series with the old names, %d without", old, fresh)
	}
}
