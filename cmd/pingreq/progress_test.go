package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
)

// TestProgress runs two probes, one of which writes to the log, and reads what a terminal gets.
func TestProgress(t *testing.T) {
	id := func(probe string) synthetic.Identity {
		return synthetic.Identity{Target: "plant", Kind: probe, Probe: probe, Profile: "default"}
	}
	for _, tt := range []struct {
		width int
		want  []string // between erasures
	}{
		{0, []string{"a line of the log\n"}},
		{80, []string{"", "0 of 2 probes done, at most 60 s left: connect, halfopen", "a line of the log\n",
			"1 of 2 probes done, at most 59 s left: halfopen", "1 of 2 probes done, at most 59 s left: halfopen", ""}},
		{20, []string{"", "0 of 2 probes done…", "a line of the log\n", "1 of 2 probes done…", "1 of 2 probes done…", ""}},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := newProgress(&out, tt.width, 2)
			p.begin(id("connect"), 10*time.Second)
			p.begin(id("halfopen"), time.Minute)
			time.Sleep(progressEvery + time.Millisecond)
			fmt.Fprintln(p, "a line of the log")
			p.done(id("connect"))
			time.Sleep(2 * progressEvery)
			p.clear()
			if diff := cmp.Diff(tt.want, strings.Split(out.String(), eraseLine)); diff != "" {
				t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
			}
		})
	}
}
