package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"

	"github.com/pingreq/pingreq/alerts"
	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/descriptors"
	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/synthetic"
)

// configCommands returns the subcommands of config.
func configCommands(app *kingpin.Application, catalog synthetic.Catalog) []subcommand {
	c := app.Command("config", "Check, print or document the configuration.")
	check := c.Command("check", "Check a configuration, and print the load that its probes put on each broker, and the series that it costs.")
	checkFile := configFile(check)
	print := c.Command("print", "Print the effective configuration with every default. Secrets are masked.")
	printFile := configFile(print)
	schema := c.Command("schema", "Print the JSON Schema of the configuration, for editors.")
	schemaOf := configKind(schema)
	reference := c.Command("reference", "Print a configuration file with every key and its documentation.")
	referenceOf := configKind(reference)
	load := func(ctx context.Context, e environment, file string) (*config.Config, error) {
		return loadConfig(ctx, e, file, nil, fileOptions(e, catalog, nil))
	}
	return []subcommand{
		{check.FullCommand(), func(ctx context.Context, e environment) error {
			cfg, err := load(ctx, e, checkFile())
			if err != nil {
				return err
			}
			sources, err := readSources(ctx, cfg)
			if err != nil {
				return err
			}
			cfg = sources.cfg
			if _, _, err := agent.Plan(cfg, &synthetic.Lateness{}); err != nil {
				return usageError{err}
			}
			volume, err := agent.VolumeOf(cfg, catalog.Kinds)
			if err != nil {
				return err
			}
			return printCost(e, sources, volume)
		}},
		{print.FullCommand(), func(ctx context.Context, e environment) error {
			cfg, err := load(ctx, e, printFile())
			if err != nil {
				return err
			}
			return cfg.Print(e.stdout)
		}},
		{schema.FullCommand(), func(_ context.Context, e environment) error {
			return printDocument(e, *schemaOf,
				func() ([]byte, error) { return config.Schema(catalog) }, config.MonitoringSchema)
		}},
		{reference.FullCommand(), func(_ context.Context, e environment) error {
			return printDocument(e, *referenceOf,
				func() ([]byte, error) { return config.Reference(catalog), nil },
				func(all map[string]monitoring.Alert) ([]byte, error) { return config.MonitoringReference(all), nil })
		}},
	}
}

// The configurations that pingreq knows.
const (
	kindAgent      = "agent"
	kindMonitoring = "monitoring"
)

// configKind lets a command take the name of a configuration.
func configKind(c *kingpin.CmdClause) *string {
	return c.Arg("of", "Which configuration: agent, or monitoring (of the commands alerts and dashboards).").Default(kindAgent).Enum(kindAgent, kindMonitoring)
}

// printDocument prints a document about a configuration.
func printDocument(e environment, kind string, agent func() ([]byte, error), rules func(map[string]monitoring.Alert) ([]byte, error)) error {
	make := agent
	if kind == kindMonitoring {
		make = func() ([]byte, error) {
			all, err := alerts.Defaults()
			if err != nil {
				return nil, err
			}
			return rules(all)
		}
	}
	b, err := make()
	if err == nil {
		_, err = e.stdout.Write(b)
	}
	return err
}

// configFile lets a command take the file as an argument, or as the flag that serve has.
func configFile(c *kingpin.CmdClause) func() string {
	arg := c.Arg("file", "Configuration file. Default: "+defaultConfigFile+".").String()
	flag := c.Flag("config.file", "The same as the argument.").PlaceHolder("FILE").String()
	return func() string {
		if *arg != "" {
			return *arg
		}
		return *flag
	}
}

// printCost prints the load that the plan puts on each broker, and the series that it costs.
func printCost(e environment, sources *sources, volume *agent.Volume) error {
	cfg := sources.cfg
	plan := cfg.Plan()
	of := ""
	if index, count := cfg.Shard(); count > 1 {
		of = fmt.Sprintf(" of %d on shard %d/%d", len(cfg.AllTargets()), index, count)
	}
	fmt.Fprintf(e.stdout, "ok: %d targets%s, %d profiles, %d probes planned\n\n", len(cfg.Targets), of, len(cfg.Profiles), len(plan))
	if err := sources.print(e); err != nil {
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "target\theld\tconnects/min\tmessages/min\tprovoked/h\tlimit/s\tall up in\t")
	costs := config.Cost(plan)
	for _, c := range costs {
		refill := "-"
		if c.Refill > 0 {
			refill = c.Refill.String()
		}
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%g\t%s\t\n", c.Target, c.Connections, c.ConnectsPerMinute, c.MessagesPerMinute, c.RefusalsPerHour, c.ConnectRate, refill)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if pools := cfg.Pools(); len(pools) > 0 {
		fmt.Fprintln(w, "\ntarget\tclient ids\tneeded at once\tprofiles\t")
		for _, p := range pools {
			fmt.Fprintf(w, "%s\t%d\t%d\t%s\t\n", p.Target, p.IDs, p.Needed, strings.Join(p.Profiles, ", "))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if err := printVolume(e.stdout, volume, collector.Histograms(cfg.Metrics.Histograms)); err != nil {
		return err
	}
	for _, c := range costs {
		for _, w := range c.Warnings {
			fmt.Fprintf(e.stderr, "warning: %s\n", config.Message(w.Problem, w.Hint))
		}
	}
	if problem, hint := descriptors.Own().Warning(cfg.Sockets()); problem != "" {
		fmt.Fprintf(e.stderr, "warning: %s\n", config.Message(problem, hint))
	}
	return nil
}
