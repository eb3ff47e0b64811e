package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/discovery"
)

// sources are what the sources of a configuration yield without a network.
type sources struct {
	cfg     *config.Config // with the targets that were found
	refused []config.Refusal
	empty   []string // names of sources whose files do not exist, or are empty
}

// readSources reads the sources that are files. The error says which of them cannot be used.
func readSources(ctx context.Context, cfg *config.Config) (*sources, error) {
	x := &sources{}
	found := map[string]discovery.List{}
	var errs []error
	for _, s := range cfg.Sources() {
		if s.File == nil {
			continue
		}
		list, err := discovery.Find(ctx, s)
		if err != nil {
			errs = append(errs, fmt.Errorf("source %s: %w", s.Name, err))
		} else if len(list) == 0 {
			x.empty = append(x.empty, s.Name)
		}
		found[s.Name] = list
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	x.cfg, x.refused = cfg.WithDiscovered(found)
	return x, nil
}

// warn prints what is wrong with what the sources yield.
func (x *sources) warn(e environment) {
	for _, r := range x.refused {
		fmt.Fprintf(e.stderr, "warning: %s\n", r.Message())
	}
	for _, name := range x.empty {
		fmt.Fprintf(e.stderr, "warning: source %s: its files contain no targets, or do not exist\n", name)
	}
}

// print prints the sources, and how many targets they yield.
func (x *sources) print(e environment) error {
	all := x.cfg.Sources()
	if len(all) == 0 {
		return nil
	}
	x.warn(e)
	refused := map[string]int{}
	for _, r := range x.refused {
		refused[r.Source]++
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "source\tkind\ttargets\trefused\tfrom")
	online := false
	for _, s := range all {
		if s.File != nil {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", s.Name, s.Kind(), x.cfg.Found(s.Name), refused[s.Name], strings.Join(s.File.Patterns, ", "))
			continue
		}
		online = true
		var from string
		if s.HTTP != nil {
			from = s.HTTP.Place()
		} else {
			from = s.DNS.Type + " " + strings.Join(s.DNS.Names, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t?\t?\t%s\n", s.Name, s.Kind(), from)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if online {
		fmt.Fprintln(e.stdout, "Only pingreq serve asks sources of the kinds http and dns.\nWhat follows is without their targets.")
	}
	fmt.Fprintln(e.stdout)
	return nil
}
