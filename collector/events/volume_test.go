package events

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pingreq/pingreq/internal/dialects"
)

// TestSeries lets a broker report everything that its dialect can tell, and counts the series before and
// after.
func TestSeries(t *testing.T) {
	anyQuiet, anyMost := Series(dialects.Auto)
	for _, d := range Dialects() {
		c := New()
		b := mustAdd(t, c, "plant", d.Name, Options{Own: own})
		b.zero()
		quiet := testutil.CollectAndCount(c)
		for _, e := range d.Outcomes {
			b.of(e)
		}
		most := testutil.CollectAndCount(c)
		if q, m := Series(d.Name); quiet != q || most != m || q > anyQuiet || m > anyMost {
			t.Errorf("%s: %d series up to %d, expected %d up to %d, and of any broker %d up to %d", d.Name, quiet, most, q, m, anyQuiet, anyMost)
		}
	}
	c := New()
	mustAdd(t, c, "plant", "emqx", Options{})
	if n, most := Series(dialects.HiveMQ); testutil.CollectAndCount(c) != n || n != most {
		t.Errorf("%d series up to %d of a broker without events", n, most)
	}
}
