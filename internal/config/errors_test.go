package config

import (
	"strings"
	"testing"
)

// TestMessage expects a hint on its own line only if the line would be longer than maxLine.
func TestMessage(t *testing.T) {
	e := Error{File: "a.yaml", Line: 3, Col: 7, Path: "targets[0].url", Problem: "no scheme", Hint: "write mqtt://host"}
	const line = "a.yaml:3:7: targets[0].url: no scheme: write mqtt://host"
	fits := strings.Repeat("é", maxLine-len(line))
	for _, tt := range []struct{ hint, line, message string }{
		{"", "a.yaml:3:7: targets[0].url: no scheme", "a.yaml:3:7: targets[0].url: no scheme"},
		{e.Hint, line, line},
		{e.Hint + fits, line + fits, line + fits},
		{e.Hint + fits + "!", line + fits + "!", "a.yaml:3:7: targets[0].url: no scheme\n  hint: write mqtt://host" + fits + "!"},
	} {
		e.Hint = tt.hint
		if got := e.Error(); got != tt.line {
			t.Errorf("Error returns %q, want %q", got, tt.line)
		}
		if got := e.Message(); got != tt.message {
			t.Errorf("Message returns %q, want %q", got, tt.message)
		}
		if got, want := (Errors{e, e}).Message(), tt.message+"\n"+tt.message; got != want {
			t.Errorf("Message of two faults returns %q, want %q", got, want)
		}
	}
}
