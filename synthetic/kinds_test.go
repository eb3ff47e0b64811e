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

func TestKindsAreWellDeclared(t *testing.T) {
	for _, k := range Kinds() {
		if k.Name == "" || k.Help == "" || k.New == nil || k.Options == nil || k.Cost == nil {
			t.Errorf("kind %q is incomplete", k.Name)
		}
		if held := k.Schedule.Every == 0; held != (k.Keep != nil) || held != (k.Backoff != nil) {
			t.Errorf("kind %s: a held kind has Keep and Backoff, a periodic one an interval", k.Name)
		}
		if k.Cost(DefaultProfile(), k.Options()) == (Cost{}) {
			t.Errorf("kind %s costs nothing", k.Name)
		}
		if _, err := k.New(Env{Target: &Target{Name: "x", URL: "http://x"}}, new(DefaultProfile()), k.Options()); err == nil {
			t.Errorf("kind %s takes an http URL", k.Name)
		}
	}
	if _, ok := KindByName("session"); !ok {
		t.Error("kind session cannot be found")
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
