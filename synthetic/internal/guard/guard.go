// Package guard carries a panic from a goroutine to the one that waits for it. A panic that no
// goroutine recovers ends the whole program, whatever other probes do.
package guard

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Panic is a recovered panic with the stack of the goroutine that panicked. It is also an error.
type Panic struct {
	Value any
	Stack string
}

// Error implements error.
func (p *Panic) Error() string { return fmt.Sprintf("a part of pingreq panicked: %v", p.Value) }

// Recovered returns what recover returned as a Panic. It returns nil for nil, and keeps a Panic as
// it is. It must be called by the deferred function that recovers, because it records the stack.
func Recovered(v any) *Panic {
	if v == nil {
		return nil
	}
	if p, ok := v.(*Panic); ok {
		return p
	}
	return &Panic{v, string(debug.Stack())}
}

// Group runs goroutines for one owner, who calls Wait. The zero value is ready.
type Group struct {
	running sync.WaitGroup
	mu      sync.Mutex
	first   *Panic
}

// Go runs f in a goroutine.
func (g *Group) Go(f func()) {
	g.running.Go(func() {
		defer func() {
			if p := Recovered(recover()); p != nil {
				g.mu.Lock()
				defer g.mu.Unlock()
				if g.first == nil {
					g.first = p
				}
			}
		}()
		f()
	})
}

// Wait waits for all goroutines. If one panicked, Wait panics with its [Panic].
func (g *Group) Wait() {
	g.running.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.first; p != nil {
		g.first = nil
		panic(p)
	}
}
