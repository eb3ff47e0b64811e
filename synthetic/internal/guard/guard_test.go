package guard

import (
	"strings"
	"testing"
)

func explode() { panic("boom") }

// TestGroup expects that a panic reaches the owner with the stack of its origin, and only once.
func TestGroup(t *testing.T) {
	var g Group
	ran := false
	g.Go(func() { ran = true })
	g.Go(explode)
	func() {
		defer func() {
			p := Recovered(recover())
			if p == nil || p.Value != "boom" || !strings.Contains(p.Stack, "guard.explode") || !strings.Contains(p.Error(), "boom") {
				t.Errorf("the owner got %+v", p)
			}
		}()
		g.Wait()
		t.Error("Wait returned")
	}()
	g.Wait()
	if !ran {
		t.Error("the other goroutine did not run")
	}
}
