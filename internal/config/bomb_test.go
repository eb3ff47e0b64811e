package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestBombs loads files of an eighth of the allowed size that are as expensive as they can be. Each needs
// a moment and a bounded amount of memory; before, some needed minutes.
func TestBombs(t *testing.T) {
	const size = MaxFile / 8
	times := func(s string) string { return strings.Repeat(s, size/len(s)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size-100; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"list":         "targets:\n" + times("- a\n")[10:],
		"flow list":    "targets: [" + times("a,")[20:] + "]",
		"brackets":     times("["),
		"braces":       "a: " + times("{b: ")[10:],
		"dashes":       times("- "),
		"same key":     times("a: b\n"),
		"keys":         numbered("k%d: v\n"),
		"targets":      "targets:\n" + numbered("- {name: t%[1]d, url: \"mqtt://h%[1]d\", sys: {enabled: true}, labels: {a: b, c: d}, username: user, password: \"${MISSING}\"}\n"),
		"labels":       "targets:\n- name: a\n  url: mqtt://a\n  labels:\n" + numbered("    l%d: v\n"),
		"anchors":      numbered("k%[1]d: &a%[1]d x\n"),
		"merges":       "a: &a {x: 1}\nb:\n" + times("  <<: *a\n")[100:],
		"broken":       numbered("k%d: v\n")[:size-1000] + "\n\t bad: [\n",
		"long value":   "a: \"" + times("x")[10:] + "\"",
		"no line ends": times("x"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, _, err := loadText(text)
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		// This is real time, because the load itself is measured; a busy machine may need ten times
		// as long as a quiet one.
		if took > 20*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<30 {
			t.Errorf("%s allocated %d MiB in all", name, used>>20)
		}
		if err != nil && strings.Count(err.Error(), "\n") > maxFaults {
			t.Errorf("%s: %d lines of faults", name, strings.Count(err.Error(), "\n"))
		}
	}
}
