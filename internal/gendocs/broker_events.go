package main

import (
	"bytes"
	"strings"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// clientEvents lists the reasons that a dialect can report, with their initiators.
func clientEvents(d *events.Dialect) string {
	by := make(map[disconnect.Reason]map[events.Kind][]string)
	for _, e := range d.Outcomes {
		if e.Kind == events.Connect {
			continue
		}
		if by[e.Reason] == nil {
			by[e.Reason] = make(map[events.Kind][]string)
		}
		by[e.Reason][e.Kind] = append(by[e.Reason][e.Kind], code(string(e.Initiator)))
	}
	var b bytes.Buffer
	table(&b, []string{"`reason`", "`initiator` of a disconnect", "`initiator` of a connect failure"}, func(row func(...string)) {
		for _, r := range disconnect.Reasons() {
			if kinds := by[r]; kinds != nil {
				row(code(string(r)), strings.Join(kinds[events.Disconnect], " "), strings.Join(kinds[events.ConnectFailure], " "))
			}
		}
	})
	return b.String()
}
