package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic"
)

// TestNamed selects probes of a plan by their names.
func TestNamed(t *testing.T) {
	var plan []synthetic.Job
	for _, name := range []string{"plant/connect/default", "plant/connect/v311", "plant/hold/default", "plant2/connect/default"} {
		parts := strings.Split(name, "/")
		plan = append(plan, synthetic.Job{Entry: synthetic.Entry{ID: synthetic.Identity{Target: parts[0], Kind: "connect", Probe: parts[1], Profile: parts[2]}}})
	}
	for names, want := range map[string]string{
		"":                                  "plant/connect/default plant/connect/v311 plant/hold/default plant2/connect/default",
		"plant/connect/v311":                "plant/connect/v311",
		"plant":                             "plant/connect/default plant/connect/v311 plant/hold/default",
		"plant*/*/default":                  "plant/connect/default plant/hold/default plant2/connect/default",
		"plant/hold/default plant/*/v311":   "plant/connect/v311 plant/hold/default",
		"plant/hold/default plant/hold/*":   "plant/hold/default",
		"plan":                              "no probe is named plan: use TARGET/PROBE/PROFILE, such as plant/connect/default",
		"plant/connect/default plant/echo/": "no probe is named plant/echo/: use TARGET/PROBE/PROFILE, such as plant/connect/default",
		"plant/[/default":                   "--only=plant/[/default is no pattern: * stands for any part of a name",
	} {
		got, err := named(slices.Clone(plan), strings.Fields(names))
		var found []string
		for _, p := range got {
			found = append(found, p.ID.String())
		}
		text := strings.Join(found, " ")
		if err != nil {
			text = err.Error()
		}
		if text != want {
			t.Errorf("%s: %s\nwant %s", names, text, want)
		}
	}
}
