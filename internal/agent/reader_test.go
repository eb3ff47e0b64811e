package agent

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pingreq/pingreq/collector/sys"
)

// TestSysOptions expects that package sys accepts what the configuration accepts: every dialect,
// and the largest number of values.
func TestSysOptions(t *testing.T) {
	fleet, err := sys.NewFleet(prometheus.NewRegistry(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sys.DialectNames() {
		for _, nodes := range []sys.Nodes{sys.OwnNode, sys.AllNodes} {
			s := stateOf(t, fmt.Sprintf("targets: [{name: t, url: \"mqtt://127.0.0.1\", sys: {enabled: true, dialect: %s, nodes: %s, values: 512}}]\n", name, nodes))
			o, ok := s.cfg.Sys("t")
			if !ok {
				t.Fatal("not enabled")
			}
			if got := sysOptions(&o); got.Nodes != nodes {
				t.Errorf("nodes %q became %q", nodes, got.Nodes)
			}
			if _, err := fleet.Add("t", sysOptions(&o)); err != nil {
				t.Error(err)
			}
		}
	}
}
