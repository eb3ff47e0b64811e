package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/synthetic"
)

// shortKeepalive is the keepalive of a one-shot run, so that there are pings while a session is held.
const shortKeepalive = 5 * time.Second

// probeCommand runs each probe once.
func probeCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("probe", "Run each probe once against brokers and print the results. Exit code 0: all is well; 1: something failed; 2: usage error.")
	urls := c.Arg("url", urlHelp).Strings()
	file := c.Flag("config.file", "Probe the targets of this configuration instead of URLs.").PlaceHolder("FILE").String()
	kinds := c.Flag("kind", "Run only probes of this kind: "+enumerate(catalog.Names())+". Repeat the flag for more kinds. Default: all probes of the suite that take at most three minutes.").PlaceHolder("KIND").HintOptions(catalog.Names()...).Enums(catalog.Names()...)
	quick := c.Flag("quick", "Run only connect and roundtrip, which take a second: the same as --kind=connect --kind=roundtrip.").Bool()
	only := c.Flag("only", "Run only this probe: TARGET/PROBE/PROFILE, as logs and pages name it, or TARGET for all of a target. * stands for any part of a name. Repeat the flag for more probes.").PlaceHolder("NAME").Strings()
	hold := c.Flag("hold", "How long to hold sessions.").Default("12s").Duration()
	output := c.Flag("output", "Format: table, json, or nagios (one line, plugin exit codes 0 to 3).").Default("table").Enum("table", "json", "nagios")
	uf := addURLFlags(c, shortKeepalive)
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		if *quick && len(*kinds) > 0 {
			return usageError{errors.New("give either --quick or --kind, not both")}
		} else if *quick {
			*kinds = []string{"connect", "roundtrip"}
		}
		if err := uf.unused(*urls); err != nil {
			return err
		}
		// The id must differ from the agent's on the same host, or the two take over each other's
		// sessions.
		host, _ := os.Hostname()
		o := uf.options(e, catalog, map[string]any{"agent.id": fmt.Sprintf("probe-%.32s-%d", host, os.Getpid())})
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
		if plan, err = named(plan, *only); err != nil {
			return usageError{err}
		}
		var left []synthetic.Job
		if len(*kinds) > 0 {
			plan = slices.DeleteFunc(plan, func(p synthetic.Job) bool { return !slices.Contains(*kinds, p.ID.Kind) })
		} else if !slices.ContainsFunc(*only, func(name string) bool { return strings.Contains(name, "/") }) {
			plan, left = withoutLong(plan)
		}
		if len(plan) == 0 {
			return usageError{errNothingToRun(*kinds, len(*urls) > 0)}
		}
		board := newBoard(plan, known)
		start := time.Now()
		results := oneShot(ctx, e, plan, late, *hold, board)
		took := time.Since(start)
		diagnoses := diagnose(board, results)
		if *output != "table" {
			for i := range left {
				fmt.Fprintln(e.stderr, leftOut(&left[i]))
			}
		}
		switch *output {
		case "json":
			return printJSON(e.stdout, results, diagnoses)
		case "nagios":
			return printNagios(e.stdout, results, diagnoses)
		}
		return printTable(e.stdout, results, diagnoses, left, took)
	}}
}

// named returns the probes of a plan that have one of these names. Without names it returns all.
func named(plan []synthetic.Job, names []string) ([]synthetic.Job, error) {
	if len(names) == 0 {
		return plan, nil
	}
	wanted := make([]bool, len(plan))
	for _, name := range names {
		pattern, some := name, false
		if !strings.Contains(name, "/") {
			pattern += "/*/*"
		}
		for i := range plan {
			match, err := path.Match(pattern, plan[i].ID.String())
			if err != nil {
				return nil, hintedError{fmt.Sprintf("--only=%s is no pattern", name), "* stands for any part of a name"}
			}
			wanted[i], some = wanted[i] || match, some || match
		}
		if !some {
			return nil, hintedError{fmt.Sprintf("no probe is named %s", name), "use TARGET/PROBE/PROFILE, such as " + plan[0].ID.String()}
		}
	}
	var out []synthetic.Job
	for i, p := range plan {
		if wanted[i] {
			out = append(out, p)
		}
	}
	return out, nil
}

// enumerate returns words as a list in a sentence: a, b or c.
func enumerate(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
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

// withoutLong separates the probes that may take long from the others.
func withoutLong(plan []synthetic.Job) (short, long []synthetic.Job) {
	for _, p := range plan {
		if !p.Kind.Held() && p.Schedule.Timeout > longRun {
			long = append(long, p)
		} else {
			short = append(short, p)
		}
	}
	return short, long
}

// result is the report of one probe, run once.
type result struct {
	synthetic.Identity
	synthetic.Report
}

// oneShot runs every probe of a plan once, all at the same time. It shows the progress on a
// terminal.
func oneShot(ctx context.Context, e environment, plan []synthetic.Job, late *synthetic.Lateness, hold time.Duration, sink synthetic.Sink) []result {
	progress := newProgress(e.stderr, progressWidth(e.stderr), len(plan))
	defer progress.clear()
	logs := *e.log
	logs.Writer = progress
	r := synthetic.NewRunner(sink, nil, late, promslog.New(&logs))
	defer r.Close()
	results := make([]result, len(plan))
	var wg sync.WaitGroup
	for i, p := range plan {
		timeout := p.Schedule.Timeout
		if p.Kind.Held() {
			timeout = hold
		}
		progress.begin(p.ID, timeout)
		wg.Go(func() {
			rep := r.Once(ctx, p, timeout)
			results[i] = result{p.ID, rep}
			progress.done(p.ID)
		})
	}
	wg.Wait()
	return results
}
