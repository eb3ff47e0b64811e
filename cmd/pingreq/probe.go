package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic"
)

// probeCommand runs each probe once.
func probeCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("probe", "Run each probe once against brokers and print the results. Exit code 0: all is well; 1: something failed; 2: usage error.")
	urls := c.Arg("url", "Broker: mqtt://host:1883, mqtts://host:8883, ws://host/mqtt, wss://host/mqtt or unix:///path.").Strings()
	file := c.Flag("config.file", "Probe the targets of this configuration instead of URLs.").PlaceHolder("FILE").String()
	kinds := c.Flag("kind", "Run only this kind of probe. Repeat the flag for more kinds. Default: all probes of the suite that take at most three minutes.").PlaceHolder("KIND").Enums(catalog.Names()...)
	hold := c.Flag("hold", "How long to hold sessions.").Default("12s").Duration()
	output := c.Flag("output", "Format: table, json, or nagios (one line, plugin exit codes 0 to 3).").Default("table").Enum("table", "json", "nagios")
	uf := addURLFlags(c)
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		// The id must differ from the agent's on the same host, or the two take over each other's
		// sessions.
		host, _ := os.Hostname()
		o := uf.options(e, catalog, map[string]any{"agent.id": fmt.Sprintf("probe-%.32s-%d", host, os.Getpid())})
		if o.Keepalive == 0 {
			o.Keepalive = 5 * time.Second // so that there are pings in a short hold
		}
		cfg, err := loadConfig(ctx, e, *file, *urls, o)
		if err != nil {
			return err
		}
		sources, err := readSources(ctx, cfg)
		if err != nil {
			return err
		}
		sources.warn(e)
		late := synthetic.WatchProcess()
		plan, known, err := agent.Plan(sources.cfg, late)
		if err != nil {
			return usageError{err}
		}
		if len(*kinds) > 0 {
			plan = slices.DeleteFunc(plan, func(p synthetic.Job) bool { return !slices.Contains(*kinds, p.ID.Kind) })
		} else {
			plan = withoutLong(e.stderr, plan)
		}
		if len(plan) == 0 {
			return usageError{errNothingToRun(*kinds, len(*urls) > 0)}
		}
		board := newBoard(plan, known)
		results := oneShot(ctx, e, plan, late, *hold, board)
		diagnoses := diagnose(board, results)
		switch *output {
		case "json":
			return printJSON(e.stdout, results, diagnoses)
		case "nagios":
			return printNagios(e.stdout, results, diagnoses)
		}
		return printTable(e.stdout, results, diagnoses)
	}}
}

// errNothingToRun says why a plan has no probe to run.
func errNothingToRun(kinds []string, suite bool) error {
	switch {
	case len(kinds) == 0:
		return hintedError{"nothing to run", "use --kind to name the kind of probe that was left out"}
	case suite:
		return hintedError{"nothing to run: no probe of the default suite is of kind " + strings.Join(kinds, " or "),
			"name such a probe in a configuration, and give that with --config.file"}
	}
	return hintedError{"nothing to run: no probe of the configuration is of kind " + strings.Join(kinds, " or "), "add one to probes"}
}

// longRun is the longest time of a run without --kind. Probes with longer runs need --kind.
const longRun = 3 * time.Minute

// withoutLong leaves out probes that may take long, and prints which ones.
func withoutLong(w io.Writer, plan []synthetic.Job) []synthetic.Job {
	return slices.DeleteFunc(plan, func(p synthetic.Job) bool {
		long := !p.Kind.Held() && p.Schedule.Timeout > longRun
		if long {
			fmt.Fprintln(w, config.Message(fmt.Sprintf("not run: %s may take %s", p.ID, p.Schedule.Timeout), "to run it, add --kind="+p.ID.Kind))
		}
		return long
	})
}

// result is the report of one probe, run once.
type result struct {
	synthetic.Identity
	synthetic.Report
}

// oneShot runs every probe of a plan once, all at the same time. It shows the progress on a
// terminal.
func oneShot(ctx context.Context, e environment, plan []synthetic.Job, late *synthetic.Lateness, hold time.Duration, sink synthetic.Sink) []result {
	progress := newProgress(e.stderr, len(plan))
	defer progress.clear()
	r := synthetic.NewRunner(sink, nil, late, promslog.New(e.log))
	defer r.Close()
	results := make([]result, len(plan))
	var wg sync.WaitGroup
	for i, p := range plan {
		wg.Go(func() {
			timeout := p.Schedule.Timeout
			if p.Kind.Held() {
				timeout = hold
			}
			rep := r.Once(ctx, p, timeout)
			results[i] = result{p.ID, rep}
			progress.done(p.ID.String(), rep)
		})
	}
	wg.Wait()
	return results
}

// progress shows the progress of a one-shot run on a terminal. To any other output it writes
// nothing.
type progress struct {
	w     io.Writer // nil if there is no terminal
	total int
	start time.Time

	mu       sync.Mutex
	finished int
	tick     *time.Ticker
	stop     chan struct{}
	ended    sync.WaitGroup
}

func newProgress(w io.Writer, total int) *progress {
	p := &progress{total: total, start: time.Now(), stop: make(chan struct{})}
	if !isTerminal(w) {
		return p
	}
	p.w = w
	p.tick = time.NewTicker(200 * time.Millisecond)
	p.ended.Go(func() {
		for {
			select {
			case <-p.stop:
				return
			case <-p.tick.C:
				p.mu.Lock()
				fmt.Fprintf(p.w, "\r\x1b[K%d of %d probes done, %.0f s", p.finished, p.total, time.Since(p.start).Seconds())
				p.mu.Unlock()
			}
		}
	})
	return p
}

// done counts one probe.
func (p *progress) done(name string, r synthetic.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.finished++
	if p.w != nil {
		fmt.Fprintf(p.w, "\r\x1b[K%s: %s\n", name, r.Outcome)
	}
}

// clear removes the line of progress.
func (p *progress) clear() {
	if p.w == nil {
		return
	}
	close(p.stop)
	p.tick.Stop()
	p.ended.Wait()
	fmt.Fprint(p.w, "\r\x1b[K")
}
