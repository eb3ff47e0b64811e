package synthetic

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// TestClientIDsLent borrows from a pool of two.
func TestClientIDsLent(t *testing.T) {
	pool := []string{"a", "b"}
	l := NewClientIDs()
	one, two := Identity{Target: "t", Probe: "one"}, Identity{Target: "t", Probe: "two"}
	for i, step := range []struct {
		target  string
		who     borrower
		release Identity
		want    string
	}{
		{target: "t", who: borrower{one, 0, ""}, want: "a"},
		{target: "t", who: borrower{one, 1, ""}, want: "b"},
		{target: "t", who: borrower{one, 0, ""}, want: "a"}, // again the same
		{target: "t", who: borrower{two, 0, ""}, want: ""},
		{target: "u", who: borrower{two, 0, ""}, want: "a"}, // another broker
		{target: "t", who: borrower{two, 0, ""}, release: Identity{Probe: "nobody"}, want: ""},
		{target: "t", who: borrower{two, 0, "publisher"}, release: one, want: "a"},
		{target: "t", who: borrower{one, 0, ""}, want: "b"},
		{target: "t", who: borrower{one, 0, ""}, release: two, want: "b"},
		{target: "u", who: borrower{one, 0, ""}, want: "a"}, // released everywhere
	} {
		l.Release(step.release)
		if got := l.lend(pool, step.target, step.who); got != step.want {
			t.Errorf("step %d: %q, want %q", i+1, got, step.want)
		}
	}
}

// TestClientIDsOfKinds runs each kind with a pool just as large as it says that it needs: it takes all of it, nothing
// else, and nothing twice. With one less it is inconclusive, and says why.
func TestClientIDsOfKinds(t *testing.T) {
	for _, kind := range Kinds() {
		run := func(t *testing.T, missing int) (used, pool []string, reports []Report) {
			options := kind.Options()
			switch o := options.(type) {
			case *SessionOptions:
				o.Sessions, o.Traffic = 3, TrafficBoth
			case *RefuseOptions:
				o.Anonymous = true
			case *IdleOptions:
				o.Ladder = []time.Duration{time.Second, 3 * time.Second}
			}
			profile := profileOf(10*time.Second, mqtt.V5)
			n, slots := 1, 1
			if kind.Clients != nil {
				n = kind.Clients(profile, options)
			}
			if kind.Keep != nil {
				slots = kind.Keep(options)
			}
			for i := range n*slots - missing {
				pool = append(pool, fmt.Sprintf("device %d/x", i+1))
			}
			profile.ClientIDs = pool
			b, env := brokerEnv(t, lab.BrokerOptions{Grace: 1.5})
			env.IDs = NewClientIDs()
			var all sync.WaitGroup
			reports = make([]Report, slots)
			for slot := range slots {
				env.Slot = slot
				p := build(t, kind, env, profile, func(o any) { copyOptions(o, options) })
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					reports[slot] = *p.Run(ctx, func(Event) {})
				})
			}
			all.Wait()
			for _, e := range b.Events("") {
				switch {
				case e.Kind == lab.ClientConnected && !slices.Contains(used, e.ClientID):
					used = append(used, e.ClientID)
				case e.Kind == lab.ClientTakenOver && kind.Name != "takeover" && kind.Name != "resume":
					t.Errorf("two clients are %s at once", e.ClientID)
				}
			}
			slices.Sort(used)
			return used, pool, reports
		}
		t.Run(kind.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				used, pool, reports := run(t, 0)
				if diff := cmp.Diff(pool, used); diff != "" {
					t.Errorf("client ids (-pool +used):\n%s", diff)
				}
				for _, r := range reports {
					if !r.Outcome.Conclusive() {
						t.Errorf("%s: %s", r.Outcome, r.Detail)
					}
				}
			})
		})
		t.Run(kind.Name+", one missing", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, pool, reports := run(t, 1)
				if len(pool) == 0 {
					return // which is none: a profile without a pool
				}
				told := slices.ContainsFunc(reports, func(r Report) bool {
					return strings.Contains(r.Detail+factOf(r, "idler"), fmt.Sprintf("client_ids of profile default: all %d are in use", len(pool)))
				})
				if traffic := kind.Name == "session"; !told && !traffic { // a publisher beside a session tries again and again
					t.Errorf("%+v", reports)
				}
			})
		})
	}
}

// copyOptions copies what one pointer to options points to, to the other.
func copyOptions(to, from any) {
	switch to := to.(type) {
	case *SessionOptions:
		*to = *from.(*SessionOptions)
	case *RefuseOptions:
		*to = *from.(*RefuseOptions)
	case *IdleOptions:
		*to = *from.(*IdleOptions)
	}
}
