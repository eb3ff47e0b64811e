package config

import (
	"fmt"
	"testing"
)

// TestEvents checks which targets have client events, and in which dialect.
func TestEvents(t *testing.T) {
	for _, tt := range []struct {
		url, sys string
		want     string // dialect, "" = not read
		reads    bool   // $SYS
	}{
		{"mqtt://127.0.0.1", "{}", "", false},
		{"mqtt://127.0.0.1", "{enabled: true}", "auto", true},
		{"mqtt://127.0.0.1", "{enabled: true, events: false}", "", true},
		{"mqtt://127.0.0.1", "{enabled: true, dialect: emqx, nodes: all}", "emqx all", true},
		{"mqtt://127.0.0.1", "{enabled: true, dialect: hivemq}", "hivemq", true},
		{"mqtt://127.0.0.1", "{enabled: true, dialect: aws}", "aws", false},
		{"mqtts://abc-ats.iot.eu-central-1.amazonaws.com", "{enabled: true}", "aws", false},
		{"mqtts://abc-ats.iot.eu-central-1.amazonaws.com", "{enabled: true, dialect: mosquitto}", "mosquitto", true},
	} {
		c, _, err := loadText(fmt.Sprintf("targets: [{name: t, url: %q, sys: %s}]\n", tt.url, tt.sys))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if e, ok := c.Events("t"); ok {
			got = e.Dialect
			if e.AllNodes {
				got += " all"
			}
		}
		if _, reads := c.Sys("t"); got != tt.want || reads != tt.reads {
			t.Errorf("%s %s: events %q, $SYS %v; want %q, %v", tt.url, tt.sys, got, reads, tt.want, tt.reads)
		}
	}
}
