package config

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/collector/sys"
)

// TestSysLimits checks that what passes here passes where it is used: every dialect, and the most values.
func TestSysLimits(t *testing.T) {
	fleet, err := sys.NewFleet(prometheus.NewRegistry(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, dialect := range sys.DialectNames() {
		c, _, err := loadText(fmt.Sprintf("targets: [{name: t, url: \"mqtt://127.0.0.1\", sys: {enabled: true, dialect: %s, values: 512}}]\n", dialect))
		if err != nil {
			t.Fatal(err)
		}
		o, ok := c.Sys("t")
		if !ok {
			t.Fatal("not enabled")
		}
		if _, err := fleet.Add("t", o); err != nil {
			t.Error(err)
		}
	}
}
