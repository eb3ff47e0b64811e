package probe

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe/idle"
	"github.com/pingreq/pingreq/synthetic/probe/refuse"
	"github.com/pingreq/pingreq/synthetic/probe/session"
	"github.com/pingreq/pingreq/test/lab"
)

func TestKindsAreWellDeclared(t *testing.T) {
	catalog := Catalog()
	for _, k := range catalog.Kinds {
		if k.Name == "" || k.Help == "" || len(k.Reasons) == 0 {
			t.Errorf("kind %q is incomplete", k.Name)
		}
		if k.Held() != (k.Backoff(k.Options()) != mqtt.Backoff{}) {
			t.Errorf("kind %s: a held kind has Sessions and Backoff, a periodic one an interval", k.Name)
		}
		if k.Cost(synthetic.DefaultProfile(), k.Options()) == (synthetic.Cost{}) {
			t.Errorf("kind %s declares no cost", k.Name)
		}
		if _, err := k.New(synthetic.Env{Target: &synthetic.Target{Name: "x", URL: "http://x"}}, new(synthetic.DefaultProfile()), k.Options()); err == nil {
			t.Errorf("kind %s accepts an http URL", k.Name)
		}
	}
	if _, ok := catalog.Kind("session"); !ok {
		t.Error("kind session cannot be found")
	}
}

// TestSuite checks that every probe of the default suite has a kind of the catalog and options of
// that kind.
func TestSuite(t *testing.T) {
	catalog := Catalog()
	seen := map[string]bool{}
	for _, preset := range catalog.Suite(30 * time.Second) {
		kind, ok := catalog.Kind(preset.Kind)
		if !ok || preset.Name == "" || preset.Title == "" || seen[preset.Name] {
			t.Errorf("%+v has an unknown kind, or is incomplete, or is there twice", preset)
			continue
		}
		seen[preset.Name] = true
		if o := preset.Options; o != nil && reflect.TypeOf(o) != reflect.TypeOf(kind.Options()) {
			t.Errorf("%s has options of type %T, want %T", preset.Name, o, kind.Options())
		}
	}
}

// TestClientIDsOfKinds runs each kind with a pool of exactly as many client ids as it needs. The
// kind must use all of them, nothing else, and nothing twice. With one id less it is inconclusive
// and says why.
func TestClientIDsOfKinds(t *testing.T) {
	for _, kind := range Catalog().Kinds {
		run := func(t *testing.T, missing int) (used, pool []string, reports []synthetic.Report) {
			options := kind.Options()
			switch o := options.(type) {
			case *session.Options:
				o.Sessions, o.Traffic = 3, session.TrafficBoth
			case *refuse.Options:
				o.Anonymous = true
			case *idle.Options:
				o.Ladder = []time.Duration{time.Second, 3 * time.Second}
			}
			profile := probetest.ProfileWith(10*time.Second, mqtt.V5)
			n, slots := kind.Clients(profile, options).Here, kind.Sessions(options)
			for i := range n*slots - missing {
				pool = append(pool, fmt.Sprintf("device %d/x", i+1))
			}
			profile.ClientIDs = pool
			b, env := probetest.BrokerEnv(t, lab.BrokerOptions{Grace: 1.5})
			env.IDs = synthetic.NewClientIDs()
			var all sync.WaitGroup
			reports = make([]synthetic.Report, slots)
			for slot := range slots {
				env.Slot = slot
				p := probetest.Build(t, kind, env, profile, func(o any) { reflect.ValueOf(o).Elem().Set(reflect.ValueOf(options).Elem()) })
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
					defer cancel()
					reports[slot] = *p.Run(ctx, func(synthetic.Event) {})
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
					t.Skip("the kind needs one client, and a profile with a pool of none has no pool")
				}
				reported := slices.ContainsFunc(reports, func(r synthetic.Report) bool {
					return strings.Contains(r.Detail+probetest.FactOf(r, "idler"), fmt.Sprintf("client_ids of profile default: all %d are in use", len(pool)))
				})
				// The publisher of a session tries to connect again and again, and does not report
				// it.
				if traffic := kind.Name == "session"; !reported && !traffic {
					t.Errorf("%+v", reports)
				}
			})
		})
	}
}
