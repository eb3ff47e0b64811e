package synthetic

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Turn says how urgent a connect is.
type Turn int

// The turns, the most urgent first.
const (
	// TurnRun is a connect of a periodic run. Such runs decide whether somebody is called, so they
	// must not wait behind the reconnects of an outage.
	TurnRun Turn = iota
	// TurnReader is a connect of a reader of `$SYS` or client events.
	TurnReader
	// TurnRequest is a connect of a run that somebody asks for over the network. Whoever can ask may ask
	// often, so such runs must not keep others waiting that decide whether somebody is called.
	TurnRequest
	// TurnHeld is a connect of a held session.
	TurnHeld
	turns
)

// heldShare is how many turns pass before a held session gets one although a run is waiting. So held
// sessions get at least this part of the rate.
const heldShare = 4

// Gate limits the connects per second to a target. More urgent connects go first; equally urgent
// ones go in the order in which they came. A nil Gate is no limit.
type Gate struct {
	mu      sync.Mutex
	limit   *rate.Limiter
	waiting [turns]list.List // of chan struct{}
	passed  int              // turns since the last one of a held session
	timer   *time.Timer      // for the next turn; nil if none is planned
	spare   bool             // a turn came for which nobody was waiting any more
}

// NewGate returns the limit of a target's connects per second. It returns nil, which is no limit,
// for 0.
func NewGate(perSecond float64) *Gate {
	if perSecond <= 0 {
		return nil
	}
	return &Gate{limit: rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))}
}

// burst returns how many connects may be made at once.
func burst(perSecond float64) int { return max(1, int(perSecond)) }

// Set changes the limit.
func (g *Gate) Set(perSecond float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit.SetLimit(rate.Limit(perSecond))
	g.limit.SetBurst(burst(perSecond))
	if g.timer != nil && g.timer.Stop() { // it was planned with the limit before
		g.timer = nil
		g.plan()
	}
}

// Limit returns the connects per second.
func (g *Gate) Limit() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.limit.Limit())
}

// Waiting returns how many connects of each turn are waiting.
func (g *Gate) Waiting() (n [turns]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for t := range g.waiting {
		n[t] = g.waiting[t].Len()
	}
	return n
}

// Wait waits for a turn. If ctx is done first, the error says what was waiting. This is a fault of
// our own side.
func (g *Gate) Wait(ctx context.Context, turn Turn) error {
	p := g.Join(ctx, turn)
	p.Wait()
	return p.Come()
}

// Place is a place in the queue of a [Gate]. A nil Place is a turn that has come.
type Place struct {
	ctx     context.Context
	gate    *Gate
	turn    Turn
	came    chan struct{} // closed when the turn has come; nil if ctx was done before
	element *list.Element
}

// Join takes a turn at once, or a place in the queue. The caller then calls Wait and Come, which are
// [Gate.Wait] in parts.
func (g *Gate) Join(ctx context.Context, turn Turn) *Place {
	if g == nil {
		return nil
	}
	p := &Place{ctx: ctx, gate: g, turn: turn}
	if ctx.Err() != nil {
		return p
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer == nil {
		if g.spare || g.limit.Allow() {
			g.spare = false
			return nil
		}
	}
	p.came = make(chan struct{})
	p.element = g.waiting[turn].PushBack(p.came)
	g.plan()
	return p
}

// Wait waits until the turn has come, or the context is done. It needs little stack.
func (p *Place) Wait() {
	if p == nil {
		return
	}
	select {
	case <-p.came:
	case <-p.ctx.Done():
	}
}

// Come ends the wait. If the turn has not come, it leaves the queue and returns the error of
// [Gate.Wait].
func (p *Place) Come() error {
	if p == nil {
		return nil
	}
	if p.came == nil {
		return p.ctx.Err()
	}
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	missed := &NoTurnError{Limit: float64(g.limit.Limit()), Runs: g.waiting[TurnRun].Len(), Requests: g.waiting[TurnRequest].Len(), Held: g.waiting[TurnHeld].Len() + g.waiting[TurnReader].Len(), cause: p.ctx.Err()}
	select {
	case <-p.came:
		if missed.cause == nil {
			return nil
		}
		g.spare = true // both at the same moment
		g.plan()
	default:
		g.waiting[p.turn].Remove(p.element)
	}
	return missed
}

// plan plans the next turn if somebody waits for it. The caller holds the lock.
func (g *Gate) plan() {
	if g.timer != nil || g.next() == nil {
		return
	}
	wait := time.Duration(0)
	if !g.spare {
		wait = g.limit.Reserve().Delay()
	}
	g.spare = false
	g.timer = time.AfterFunc(wait, g.turn)
}

// turn gives the turn that has come to the most urgent connect.
func (g *Gate) turn() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = nil
	if queue := g.next(); queue != nil {
		if queue == &g.waiting[TurnHeld] {
			g.passed = 0
		} else {
			g.passed++
		}
		close(queue.Remove(queue.Front()).(chan struct{}))
	} else {
		g.spare = true
	}
	g.plan()
}

// next returns the queue whose turn is next, or nil if nobody waits.
func (g *Gate) next() *list.List {
	if held := &g.waiting[TurnHeld]; held.Len() > 0 && g.passed >= heldShare-1 {
		return held
	}
	for t := range g.waiting {
		if g.waiting[t].Len() > 0 {
			return &g.waiting[t]
		}
	}
	return nil
}

// NoTurnError says that the connect rate limit of a target let a connect wait for too long.
type NoTurnError struct {
	// Limit is the number of connects per second.
	Limit float64
	// Runs, Requests and Held count what was waiting: connects of periodic runs, of runs that somebody
	// asked for, and of held sessions and readers.
	Runs, Requests, Held int
	cause                error
}

// Error implements error.
func (e *NoTurnError) Error() string {
	asked := ""
	if e.Requests > 0 {
		asked = fmt.Sprintf(", %d of requests", e.Requests)
	}
	return fmt.Sprintf("no connect within the time allowed: connect_rate allows %g a second, and %d of periodic probes%s and %d of held sessions were waiting: raise connect_rate, or lengthen the intervals (see `pingreq config check`)",
		e.Limit, e.Runs, asked, e.Held)
}

// Unwrap returns the error of the context.
func (e *NoTurnError) Unwrap() error { return e.cause }
