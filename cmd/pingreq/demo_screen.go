package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/demo"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// demoScreen is the sink that shows what the demo found. It redraws a terminal. To any other output
// it writes a line when it sees something for the first time.
type demoScreen struct {
	w       io.Writer
	redraw  bool
	c       palette
	brokers []demo.Broker
	start   time.Time
	done    <-chan struct{} // closed when the demo stops; later endings are our own

	mu      sync.Mutex
	healthy map[synthetic.Identity]synthetic.Outcome // latest outcomes at the healthy broker; "": none yet
	found   map[string][]*finding                    // by broker, in the order in which they were first seen
	awaited map[string][]string                      // by broker, the names of findings not seen yet
	lines   int                                      // number of lines drawn last
}

// finding is something that was found once or more often.
type finding struct {
	name  string // differs from the broker's other findings
	text  string // of the latest time
	count int
}

// Names of the expected findings.
const (
	foundZombie      = "zombie"
	foundCertificate = "certificate"
	foundDisconnect  = "disconnect"
	foundRefusal     = "refusal"
	foundHalfopen    = "half-open"
	foundIdleLimit   = "idle limit"
)

func newDemoScreen(ctx context.Context, w io.Writer, brokers []demo.Broker, plan []synthetic.Job) *demoScreen {
	s := &demoScreen{w: w, redraw: isTerminal(w), c: paletteFor(w), brokers: brokers, start: time.Now(), done: ctx.Done(),
		healthy: map[synthetic.Identity]synthetic.Outcome{}, found: map[string][]*finding{}}
	s.awaited = map[string][]string{"zombie": {foundZombie}, "expiring": {foundCertificate}, "dropper": {foundDisconnect},
		"locked": {foundRefusal}, "hasty": {foundHalfopen}, "balancer": {foundDisconnect}}
	for _, p := range plan {
		if s.brokerOf(p.Target.Name) == "healthy" {
			s.healthy[p.ID] = ""
		}
		if p.ID.Kind == "idle" {
			s.awaited["balancer"] = []string{foundDisconnect, foundIdleLimit}
		}
	}
	return s
}

// head prints what runs and where to look.
func (s *demoScreen) head(address, file string) {
	fmt.Fprintf(s.w, "%s\n\n", s.c.bold(fmt.Sprintf("pingreq demo: %d brokers in this process; the first is healthy, the others have faults on purpose", len(s.brokers))))
	width := terminalWidth(s.w)
	for _, b := range s.brokers {
		name := b.Name
		for _, line := range wrap(b.Summary, width-12) {
			fmt.Fprintf(s.w, "  %-9s %s\n", name, line)
			name = ""
		}
		for _, line := range wrap("expect: "+b.Expect, width-12) {
			fmt.Fprintf(s.w, "            %s\n", s.c.dim(line))
		}
	}
	fmt.Fprintf(s.w, "\nLook at    http://%s/          every target at a glance\n", address)
	fmt.Fprintf(s.w, "           http://%s/metrics   what Prometheus scrapes\n", address)
	fmt.Fprintf(s.w, "Running    %s\n           an example of a configuration\n\n", file)
	text := fmt.Sprintf("Within %s you should see everything below. A half-open client is noticed after some keepalives, a drop or a cut within half a minute. The next half-open client follows after 2 minutes. Ctrl-C stops.", demoPatience)
	for _, line := range wrap(text, min(width, 100)) {
		fmt.Fprintln(s.w, line)
	}
	fmt.Fprintln(s.w)
}

// brokerOf returns the broker of a target.
func (s *demoScreen) brokerOf(target string) string {
	name, _, _ := strings.Cut(target, "-")
	return name
}

// Report implements synthetic.Sink.
func (s *demoScreen) Report(id synthetic.Identity, r synthetic.Report) {
	select {
	case <-s.done:
		return
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome(id, r.Outcome)
	broker := s.brokerOf(id.Target)
	if r.TLS != nil && broker == "expiring" && !r.TLS.EarliestExpiry.IsZero() {
		s.note(broker, foundCertificate, "", "certificate expires %s", r.TLS.EarliestExpiry.Local().Format("Mon 2 Jan 15:04"))
	}
	switch {
	case r.Finding == disconnect.Zombie:
		s.note(broker, foundZombie, "", "zombie: pings are answered, publishes are not")
	case broker == "dropper" && dropped(id, &r):
		s.note(broker, foundDisconnect, string(r.Ending.Reason), "disconnected: %s, initiator %s, evidence %s", r.Ending.Reason, r.Ending.Initiator, r.Ending.Evidence)
	case broker == "balancer" && id.Profile == "ka60" && dropped(id, &r):
		s.note(broker, foundDisconnect, string(r.Ending.Reason), "disconnected with keepalive 60s: %s, initiator %s, evidence %s", r.Ending.Reason, r.Ending.Initiator, r.Ending.Evidence)
	case broker == "locked" && id.Kind == "refuse" && r.Outcome == synthetic.Success:
		s.note(broker, foundRefusal, "", "anonymous client %s", r.Detail)
	case broker == "hasty" && r.Finding == disconnect.DetectionEarly, broker == "healthy" && id.Kind == "halfopen" && r.Outcome == synthetic.Success:
		s.note(broker, foundHalfopen, "", "half-open client: %s", r.Detail)
	case broker == "balancer" && id.Kind == "idle" && (r.Outcome == synthetic.Success || r.Finding == disconnect.PathCut):
		s.note(broker, foundIdleLimit, id.Profile, "%s", r.Detail)
	case (id.Kind == "halfopen" || id.Kind == "idle") && r.Outcome == synthetic.Inconclusive: // the next run is minutes away
		s.note(broker, "inconclusive", id.Probe, "%s inconclusive: %s", id.Probe, r.Detail)
	case r.Outcome == synthetic.Failure:
		s.note(broker, "failure", id.Probe+" "+r.Reason(), "%s failed: %s", id.Probe, r.Reason())
	}
}

// dropped reports whether a held session ended.
func dropped(id synthetic.Identity, r *synthetic.Report) bool {
	return id.Kind == "session" && r.Outcome == synthetic.Failure && r.Ending != nil
}

// Event implements synthetic.Sink.
func (s *demoScreen) Event(id synthetic.Identity, e synthetic.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcome(id, e.Outcome)
}

// Forget implements synthetic.Sink. The demo never reloads its configuration.
func (s *demoScreen) Forget(synthetic.Identity) {}

func (s *demoScreen) outcome(id synthetic.Identity, o synthetic.Outcome) {
	if _, ok := s.healthy[id]; ok && o.Conclusive() {
		s.healthy[id] = o
	}
}

// note records a finding at a broker. sort distinguishes findings with the same name.
func (s *demoScreen) note(broker, name, sort, format string, args ...any) {
	s.awaited[broker] = slices.DeleteFunc(s.awaited[broker], func(n string) bool { return n == name })
	name += " " + sort
	i := slices.IndexFunc(s.found[broker], func(f *finding) bool { return f.name == name })
	if i < 0 {
		i = len(s.found[broker])
		s.found[broker] = append(s.found[broker], &finding{name: name})
	}
	f := s.found[broker][i]
	f.text = fmt.Sprintf(format, args...)
	if f.count++; f.count == 1 && !s.redraw {
		fmt.Fprintf(s.w, "%4.0f s  %-9s %s\n", time.Since(s.start).Seconds(), broker, f.text)
	}
}

// succeeding returns the number of the healthy broker's probes whose latest run succeeded.
func (s *demoScreen) succeeding() int {
	n := 0
	for _, o := range s.healthy {
		if o == synthetic.Success {
			n++
		}
	}
	return n
}

// missing returns the brokers with expected findings that were not seen yet.
func (s *demoScreen) missing() (names []string) {
	for _, b := range s.brokers {
		if len(s.awaited[b.Name]) > 0 || b.Name == "healthy" && s.succeeding() < len(s.healthy) {
			names = append(names, b.Name)
		}
	}
	return names
}

// run shows the findings until ctx is done.
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
				fmt.Fprintf(s.w, "\nEverything was seen after %.0f s. The demo continues: see http://%s/\n\n", time.Since(s.start).Seconds(), address)
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

// draw redraws the table.
func (s *demoScreen) draw(missing []string) {
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	rows := s.rows(terminalWidth(s.w))
	for _, r := range rows {
		b.WriteString("\x1b[K" + r + "\n")
	}
	state := fmt.Sprintf("%3.0f s  waiting for: %s", time.Since(s.start).Seconds(), strings.Join(missing, ", "))
	if len(missing) == 0 {
		state = fmt.Sprintf("%3.0f s  everything was seen; the demo continues until Ctrl-C", time.Since(s.start).Seconds())
	}
	b.WriteString("\x1b[K" + s.c.dim(state) + "\n\x1b[J")
	s.lines = len(rows) + 1
	io.WriteString(s.w, b.String())
}

// rows returns the findings as lines that fit the width.
func (s *demoScreen) rows(width int) (rows []string) {
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
		for i, f := range s.found[br.Name] {
			if i > 0 || br.Name == "healthy" {
				name = strings.Repeat(" ", len(name))
			}
			count := ""
			if f.count > 1 && br.Name != "expiring" {
				count = fmt.Sprintf(" (%d times)", f.count)
			}
			for j, line := range wrap(f.text+count, width-len(name)-1) {
				if j > 0 {
					name = strings.Repeat(" ", len(name))
				}
				rows = append(rows, s.c.bold(name)+" "+line)
			}
		}
		if len(s.found[br.Name]) == 0 && br.Name != "healthy" {
			rows = append(rows, s.c.bold(name)+" "+s.c.dim("…"))
		}
	}
	return rows
}

// tail prints at the end what was seen.
func (s *demoScreen) tail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.redraw {
		fmt.Fprintf(s.w, "\nSeen in %.0f s:\n", time.Since(s.start).Seconds())
		for _, r := range s.rows(math.MaxInt) {
			fmt.Fprintln(s.w, "  "+r)
		}
	}
	if missing := s.missing(); len(missing) > 0 {
		fmt.Fprintf(s.w, "Not seen yet: %s\n", strings.Join(missing, ", "))
	}
}
