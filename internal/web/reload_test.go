package web

import (
	"context"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestReloadsAreJoined sends a storm of requests. Each is answered by a reload that began after it
// came, and a reload begins at most once a second.
func TestReloadsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var starts []time.Time
		o := testOptions()
		o.Reload = func(context.Context) error {
			mu.Lock()
			starts = append(starts, time.Now())
			mu.Unlock()
			time.Sleep(300 * time.Millisecond) // virtual
			return nil
		}
		h := New(o)
		var all sync.WaitGroup
		for range 1000 {
			time.Sleep(10 * time.Millisecond) // virtual
			came := time.Now()
			all.Go(func() {
				w := do(h, "POST", "/-/reload")
				mu.Lock()
				defer mu.Unlock()
				if last := starts[len(starts)-1]; w.Code != 200 || last.Before(came) {
					t.Errorf("status %d; came %s, reloaded %s", w.Code, came, last)
				}
				if took := time.Since(came); took > 1600*time.Millisecond {
					t.Errorf("took %s", took)
				}
			})
		}
		all.Wait()
		for i := 1; i < len(starts); i++ {
			if d := starts[i].Sub(starts[i-1]); d < reloadEvery {
				t.Errorf("reloads %s apart", d)
			}
		}
		if len(starts) < 8 || len(starts) > 12 {
			t.Errorf("%d reloads in 10 s", len(starts))
		}
	})
}

// TestForeignHosts sends a POST as browsers and as other clients do, under names of all kinds.
func TestForeignHosts(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, origin, site string
		status             int
	}{
		{"localhost:10883", "", "", 200},
		{"", "", "", 200},
		{"127.0.0.1", "", "", 200},
		{"pingreq.example", "", "", 403},
		{"pingreq.example:10883", "http://pingreq.example:10883", "same-origin", 403},
		{"Agent.Example:10883", "", "", 200}, // allowed
		{"agent.example.", "http://agent.example.", "same-origin", 200},
		{"x.agent.example", "", "", 403},
		{"localhost:10883", "http://localhost:10883", "same-origin", 200},
		{"127.0.0.1:10883", "http://127.0.0.1:10883", "", 200},
		{"[::1]:10883", "http://[::1]:10883", "", 200},
		{own, "http://" + own, "same-origin", 200},
		{"rebound.example:10883", "http://rebound.example:10883", "same-origin", 403},
		{"rebound.example", "http://rebound.example", "", 403},
		{"rebound.example", "", "same-origin", 403},
		{"localhost.rebound.example", "http://localhost.rebound.example", "", 403},
		{"127.0.0.1.rebound.example", "http://127.0.0.1.rebound.example", "", 403},
		{"localhost:10883", "http://evil.example", "cross-site", 403},
		{"127.0.0.1:10883", "null", "", 403},
	} {
		o := testOptions()
		o.Reload, o.Hosts = func(context.Context) error { return nil }, []string{"agent.example"}
		r := httptest.NewRequest("POST", "/-/reload", nil)
		r.Host = c.host
		for key, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if value != "" {
				r.Header.Set(key, value)
			}
		}
		w := httptest.NewRecorder()
		New(o).ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%+v: status %d: %s", c, w.Code, w.Body)
		}
	}
}
