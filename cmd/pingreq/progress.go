package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/durations"
	"github.com/pingreq/pingreq/synthetic"
)

// eraseLine goes back to the start of the line and removes its text.
const eraseLine = "\r\x1b[K"

// progressEvery is how often the line of progress is drawn.
const progressEvery = 500 * time.Millisecond

// progress shows on a terminal what a one-shot run still does, and how long that may take. It is one
// line, which [progress.clear] removes. It is also a writer: what others write comes above the line.
type progress struct {
	w     io.Writer
	width int // of the terminal; 0: there is none, and nothing is shown
	total int

	mu      sync.Mutex
	running map[synthetic.Identity]time.Time // until when a probe may run
	drawn   bool
	stop    chan struct{}
	ended   sync.WaitGroup
}

// progressWidth returns the width for a progress on w, or 0 if w cannot show one.
func progressWidth(w io.Writer) int {
	if !isTerminal(w) || os.Getenv("TERM") == "dumb" {
		return 0
	}
	return terminalWidth(w)
}

// newProgress returns the progress of a number of probes. clear ends it.
func newProgress(w io.Writer, width, total int) *progress {
	p := &progress{w: w, width: width, total: total, running: map[synthetic.Identity]time.Time{}, stop: make(chan struct{})}
	if width > 0 {
		p.ended.Go(p.run)
	}
	return p
}

// run draws the line until it is stopped.
func (p *progress) run() {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case now := <-tick.C:
			p.mu.Lock()
			p.draw(now)
			p.mu.Unlock()
		}
	}
}

// draw draws the line.
func (p *progress) draw(now time.Time) {
	var names []string
	var left time.Duration
	for id, until := range p.running {
		left = max(left, until.Sub(now))
		names = append(names, id.Probe)
	}
	slices.Sort(names)
	text := fmt.Sprintf("%d of %d probes done, at most %s left: %s", p.total-len(p.running), p.total, durations.Text(left.Round(time.Second)), strings.Join(slices.Compact(names), ", "))
	if runes := []rune(text); len(runes) >= p.width { // a full line would wrap, and could not be erased
		text = string(runes[:max(0, p.width-2)]) + "…"
	}
	fmt.Fprint(p.w, eraseLine+text)
	p.drawn = true
}

// begin records that a probe runs, and for how long it may.
func (p *progress) begin(id synthetic.Identity, limit time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[id] = time.Now().Add(limit)
}

// done records that a probe has ended.
func (p *progress) done(id synthetic.Identity) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, id)
}

// Write implements [io.Writer].
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	return p.w.Write(b)
}

// erase removes the line, if it is there.
func (p *progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, eraseLine)
		p.drawn = false
	}
}

// clear removes the line for good, before something else is printed.
func (p *progress) clear() {
	close(p.stop)
	p.ended.Wait()
	p.erase()
	if w, ok := p.w.(*patientWriter); ok {
		w.Flush(lastWords)
	}
}
