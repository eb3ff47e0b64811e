package web

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestIndex shows one probe of each outcome, in virtual time.
func TestIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBoard()
		now := time.Now()
		for _, x := range []struct {
			probe  string
			slots  int
			report synthetic.Report
		}{
			{"connect", 1, synthetic.Report{Outcome: synthetic.Success, Start: now.Add(-7 * time.Second), Detail: "CONNACK after 3.1 ms"}},
			{"hold", 3, synthetic.Report{Outcome: synthetic.Failure, Start: now.Add(-3 * time.Minute), Finding: disconnect.Zombie, Detail: "8 PUBLISH without PUBACK"}},
			{"roundtrip", 1, synthetic.Report{Outcome: synthetic.Unsupported, Start: now.Add(-5 * time.Hour), Detail: "Maximum QoS is 1"}},
			{"takeover", 1, synthetic.Report{Outcome: synthetic.Inconclusive, Start: now.Add(-72 * time.Hour), Detail: "the agent was stopping"}},
			{"new", 1, synthetic.Report{}},
		} {
			id := identity("plant", x.probe)
			b.Add(id, x.slots)
			if x.report.Outcome != "" {
				b.Report(id, x.report)
			}
		}
		o := testOptions()
		o.Rows = b.Snapshot
		w := do(New(o), "GET", "/")
		if got := w.Header().Get("Content-Type"); got != "text/html; charset=utf-8" {
			t.Errorf("type %q", got)
		}
		got := w.Body.String()
		if *update {
			if err := os.WriteFile("testdata/index.html", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile("testdata/index.html")
		if err != nil {
			t.Fatalf("%v (write it with go test -update)", err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("(-want +got), go test -update writes it again:\n%s", diff)
		}
		// The page must not load anything else.
		if m := regexp.MustCompile(`(?i)<script|<link|<img|url\(|https?://|//[a-z]`).FindString(got); m != "" {
			t.Errorf("the page loads something or runs code: %q", m)
		}
	})
}

func TestIndexWithoutProbes(t *testing.T) {
	if body := do(New(testOptions()), "GET", "/").Body.String(); !strings.Contains(body, "The plan has no probes.") || strings.Contains(body, "<table") {
		t.Errorf("page without probes: %s", body)
	}
}

// TestIndexEscapes uses hostile texts everywhere, as a hostile broker or a careless configuration
// could do.
func TestIndexEscapes(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}'javascript:`
	b := NewBoard()
	id := synthetic.Identity{Target: "t" + evil, Kind: "k" + evil, Probe: "p" + evil, Profile: "f" + evil}
	b.Add(id, 1)
	b.Report(id, synthetic.Report{Start: epoch, Outcome: synthetic.Failure,
		Ending: &disconnect.Ending{Reason: disconnect.Reason("r" + evil), Detail: "d" + evil}})
	o := testOptions()
	o.Version = "v" + evil
	o.Rows = b.Snapshot
	body := do(New(o), "GET", "/").Body.String()
	for _, bad := range []string{"<script", "<img", "'javascript"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if n := strings.Count(body, "&lt;script&gt;alert(1)"); n != 7 {
		t.Errorf("%d of 7 texts are shown, escaped:\n%s", n, body)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 s", 1999 * time.Millisecond: "1 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min",
		119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47*time.Hour + 59*time.Minute: "47 h", 48 * time.Hour: "2 d",
	} {
		if got := age(epoch, epoch.Add(-d)); got != want {
			t.Errorf("%s ago is %q, want %q", d, got, want)
		}
	}
	if got := age(epoch, time.Time{}); got != "" {
		t.Errorf("never is %q", got)
	}
}
