package main

import (
	"runtime/debug"
	"testing"
)

func TestVersionOf(t *testing.T) {
	module := func(v string) *debug.BuildInfo { return &debug.BuildInfo{Main: debug.Module{Version: v}} }
	for _, c := range []struct {
		name, linked string
		info         *debug.BuildInfo
		want         string
	}{
		{"release", "1.2.3", module("(devel)"), "1.2.3"},
		{"the linker wins", "1.2.3", module("v9.9.9"), "1.2.3"},
		{"tag of a release", "v1.2.3", nil, "1.2.3"},
		{"go install", "", module("v1.2.3"), "1.2.3"},
		{"go build", "", module("v0.0.0-20260801093000-8094770cf090+dirty"), "0.0.0-20260801093000-8094770cf090+dirty"},
		{"go build without git", "", module("(devel)"), "devel"},
		{"go test", "", module(""), "devel"},
		{"no build information", "", nil, "devel"},
		{"revision only", "8094770", module("(devel)"), "8094770"},
		{"a name that begins with v", "vagrant", nil, "vagrant"},
	} {
		if got := versionOf(c.linked, c.info); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
