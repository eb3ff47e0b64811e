package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/demo"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// demoScreen is the sink that tells people what the demo found. A terminal is redrawn; elsewhere each thing is a line
// when it is first seen.
type demoScreen struct {
	w       io.Writer
	redraw  bool
	c       palette
	brokers []demo.Broker
	start   time.Time

	mu      sync.Mutex
	healthy map[synthetic.Identity]synthetic.Outcome // the healthy broker's probes; "" = none yet
	found   map[string][]string                      // lines by broker, in the order of their first time
	counts  map[string]int                           // by broker and line
	cert    time.Time
	refused bool
	lines   int // drawn last
}

func newDemoScreen(w io.Writer, brokers []demo.Broker, plan []planned) *demoScreen {
	s := &demoScreen{w: w, redraw: isTerminal(w), c: paletteFor(w), brokers: brokers, start: time.Now(),
		healthy: map[synthetic.Identity]synthetic.Outcome{}, found: map[string][]string{}, counts: map[string]int{}}
	for _, p := range plan {
		if strings.HasPrefix(p.Target.Name, "healthy") {
			s.healthy[p.ID] = ""
		}
	}
	return s
}

// head says what runs and where to look.
func (s *demoScreen) head(address, file string) {
	fmt.Fprintf(s.w, "%s\n\n", s.c.bold("pingreq demo: five brokers in this process, four of them odd on purpose"))
	for _, b := range s.brokers {
		fmt.Fprintf(s.w, "  %-9s %s\n", b.Name, b.Summary)
		fmt.Fprintf(s.w, "            %s\n", s.c.dim("expect: "+b.Expect))
	}
	fmt.Fprintf(s.w, "\nLook at    http://%s/          every probe at a glance\n", address)
	fmt.Fprintf(s.w, "           http://%s/metrics   what Prometheus scrapes\n", address)
	fmt.Fprintf(s.w, "Running    %s   (a configuration to learn from)\n", file)
	fmt.Fprintf(s.w, "\nWithin %s you should see all of it below. Ctrl-C stops.\n\n", demoPatience)
}

// brokerOf gives the broker of a target.
func (s *demoScreen) brokerOf(target string) string {
	name, _, _ := strings.Cut(target, "-")
	return name
}

// Report implements synthetic.Sink.
func (s *demoScreen) Report(id synthetic.Identity, r synthetic.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome(id, r.Outcome)
	broker := s.brokerOf(id.Target)
	if r.TLS != nil && broker == "expiring" && !r.TLS.EarliestExpiry.IsZero() {
		s.cert = r.TLS.EarliestExpiry
		s.note(broker, fmt.Sprintf("certificate expires %s", s.cert.Local().Format("Mon 2 Jan 15:04")))
	}
	switch {
	case r.Finding == disconnect.Zombie:
		s.note(broker, "zombie: pings are answered, publishes are not")
	case broker == "dropper" && r.Ending != nil && r.Outcome == synthetic.Failure && id.Kind == "session":
		s.note(broker, fmt.Sprintf("disconnected: %s, initiator %s, evidence %s", r.Ending.Reason, r.Ending.Initiator, r.Ending.Evidence))
	case id.Kind == "refuse" && r.Outcome == synthetic.Success:
		s.refused = true
		s.note(broker, "anonymous client "+r.Detail)
	case r.Outcome == synthetic.Failure:
		s.note(broker, fmt.Sprintf("%s failed: %s", id.Probe, r.Reason()))
	}
}

// Event implements synthetic.Sink.
func (s *demoScreen) Event(id synthetic.Identity, e synthetic.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome(id, e.Outcome)
}

func (s *demoScreen) outcome(id synthetic.Identity, o synthetic.Outcome) {
	if _, ok := s.healthy[id]; ok && o.Conclusive() {
		s.healthy[id] = o
	}
}

// note notes one finding of a broker.
func (s *demoScreen) note(broker, line string) {
	key := broker + "\x00" + line
	if s.counts[key]++; s.counts[key] == 1 {
		s.found[broker] = append(s.found[broker], line)
		if !s.redraw {
			fmt.Fprintf(s.w, "%4.0f s  %-9s %s\n", time.Since(s.start).Seconds(), broker, line)
		}
	}
}

// succeeding counts the healthy broker's probes that succeeded last.
func (s *demoScreen) succeeding() int {
	n := 0
	for _, o := range s.healthy {
		if o == synthetic.Success {
			n++
		}
	}
	return n
}

// missing lists the brokers of which the expected was not seen yet.
func (s *demoScreen) missing() (names []string) {
	seen := map[string]bool{"healthy": s.succeeding() == len(s.healthy), "expiring": !s.cert.IsZero(), "locked": s.refused}
	for key := range maps.Keys(s.counts) {
		broker, line, _ := strings.Cut(key, "\x00")
		if strings.HasPrefix(line, "zombie") || strings.HasPrefix(line, "disconnected") {
			seen[broker] = true
		}
	}
	for _, b := range s.brokers {
		if !seen[b.Name] {
			names = append(names, b.Name)
		}
	}
	return names
}

// run shows what is found until ctx is done.
func (s *demoScreen) run(ctx context.Context, address string) {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	all, healthy := false, false
	for {
		s.mu.Lock()
		missing := s.missing()
		if s.redraw {
			s.draw(missing)
		} else if !healthy && !slices.Contains(missing, "healthy") {
			healthy = true
			fmt.Fprintf(s.w, "%4.0f s  %-9s all %d probes succeed\n", time.Since(s.start).Seconds(), "healthy", len(s.healthy))
		}
		if !all && len(missing) == 0 {
			all = true
			if !s.redraw {
				fmt.Fprintf(s.w, "\nAll of it was seen after %.0f s. It goes on: see http://%s/\n\n", time.Since(s.start).Seconds(), address)
			}
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			s.tail()
			return
		case <-t.C:
		}
	}
}

// draw draws the table anew.
func (s *demoScreen) draw(missing []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	rows := s.rows()
	for _, r := range rows {
		b.WriteString("\x1b[K" + r + "\n")
	}
	state := fmt.Sprintf("%3.0f s  waiting for: %s", time.Since(s.start).Seconds(), strings.Join(missing, ", "))
	if len(missing) == 0 {
		state = fmt.Sprintf("%3.0f s  all of it was seen; it goes on until Ctrl-C", time.Since(s.start).Seconds())
	}
	b.WriteString("\x1b[K" + s.c.dim(state) + "\n")
	s.lines = len(rows) + 1
	io.WriteString(s.w, b.String())
}

// rows are the findings, a line each.
func (s *demoScreen) rows() (rows []string) {
	for _, br := range s.brokers {
		name := fmt.Sprintf("%-9s", br.Name)
		if br.Name == "healthy" {
			ok := s.succeeding()
			text := fmt.Sprintf("%d of %d probes succeed", ok, len(s.healthy))
			if ok == len(s.healthy) {
				text = s.c.outcome(synthetic.Success, text)
			}
			rows = append(rows, s.c.bold(name)+" "+text)
		}
		for i, line := range s.found[br.Name] {
			if i > 0 || br.Name == "healthy" {
				name = strings.Repeat(" ", len(name))
			}
			count := ""
			if n := s.counts[br.Name+"\x00"+line]; n > 1 && br.Name != "expiring" {
				count = fmt.Sprintf(" (%d times)", n)
			}
			rows = append(rows, s.c.bold(name)+" "+line+s.c.dim(count))
		}
		if len(s.found[br.Name]) == 0 && br.Name != "healthy" {
			rows = append(rows, s.c.bold(name)+" "+s.c.dim("…"))
		}
	}
	return rows
}

// tail says at the end what was seen.
func (s *demoScreen) tail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.redraw {
		fmt.Fprintf(s.w, "\nSeen in %.0f s:\n", time.Since(s.start).Seconds())
		for _, r := range s.rows() {
			fmt.Fprintln(s.w, "  "+r)
		}
	}
	if missing := s.missing(); len(missing) > 0 {
		fmt.Fprintf(s.w, "Not seen yet: %s\n", strings.Join(missing, ", "))
	}
}
