package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"

	"github.com/pingreq/pingreq/alerts"
	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/dashboards"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/synthetic"
)

// dashboardsCommand writes the dashboards for Grafana.
func dashboardsCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("dashboards", "Write the dashboards for Grafana and their provisioning file to a directory.")
	configured := monitoringFlag(c, catalog)
	return exportCommand(c, func(ctx context.Context, e environment) (map[string][]byte, error) {
		cfg, err := configured(ctx, e)
		if err != nil {
			return nil, err
		}
		return dashboards.Render(cfg)
	})
}

// alertsCommand writes the rules for Prometheus and an example for Alertmanager.
func alertsCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("alerts", "Write the recording rules and alerts for Prometheus and an example configuration of Alertmanager to a directory.")
	configured := monitoringFlag(c, catalog)
	format := c.Flag("format", "Form of the rules: rules (files for Prometheus), prometheusrule (objects for the Prometheus operator).").Default(formatRules).Enum(formatRules, formatObjects)
	scale := c.Flag("time-scale", "Divide all times in the files by this number, to try the rules out. With 60, a minute becomes a second.").Default("1").Float64()
	return exportCommand(c, func(ctx context.Context, e environment) (map[string][]byte, error) {
		cfg, err := configured(ctx, e)
		if err != nil {
			return nil, err
		}
		rendered, err := alerts.Render(cfg, *scale)
		if _, ok := errors.AsType[alerts.ScaleError](err); ok {
			return nil, usageError{fmt.Errorf("--time-scale: %w", err)}
		} else if err != nil {
			return nil, err
		}
		if *format == formatObjects {
			return alerts.PrometheusRules(rendered, cfg)
		}
		return rendered, nil
	})
}

// The forms of the rules.
const (
	formatRules   = "rules"
	formatObjects = "prometheusrule"
)

// monitoringFlag adds the flag for the configuration of rules and dashboards to a command. Without a
// file, the configuration is the default.
func monitoringFlag(c *kingpin.CmdClause, catalog synthetic.Catalog) func(context.Context, environment) (monitoring.Config, error) {
	file := c.Flag("config", "Configuration of rules and dashboards; `pingreq config reference monitoring` prints one with every key. Default: none.").PlaceHolder("FILE").String()
	return func(ctx context.Context, e environment) (monitoring.Config, error) {
		if *file == "" {
			return monitoring.Default(), nil
		}
		all, err := alerts.Defaults()
		if err != nil {
			return monitoring.Config{}, err
		}
		cfg, warnings, err := config.LoadMonitoring(ctx, config.MonitoringSource{Path: *file, Alerts: all, Reserved: collector.ReservedLabels(catalog.Kinds)})
		printWarnings(e, warnings)
		return cfg, err
	}
}

// exportCommand writes files that are part of the program, by path, to a directory.
func exportCommand(c *kingpin.CmdClause, render func(context.Context, environment) (map[string][]byte, error)) subcommand {
	output := c.Flag("output", "Directory to write to. It is created if it does not exist.").Required().PlaceHolder("DIR").String()
	force := c.Flag("force", "Replace existing files that differ.").Bool()
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		from, err := render(ctx, e)
		if err != nil {
			return err
		}
		x := export{dir: *output, force: *force}
		if err := x.plan(ctx, from); err != nil {
			return err
		}
		if err := x.write(); err != nil {
			return err
		}
		w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
		for _, f := range x.files {
			fmt.Fprintf(w, "%s\t%s\n", f.path, f.what)
		}
		return w.Flush()
	}}
}

// export writes a set of files to a directory. It writes nothing unless it may write all of them.
type export struct {
	dir    string
	force  bool
	reader files.Reader
	files  []exported
}

type exported struct {
	path    string
	content []byte
	what    string // written, replaced or unchanged
}

// plan compares the files with those that already exist.
func (x *export) plan(ctx context.Context, from map[string][]byte) error {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		f := exported{path: filepath.Join(x.dir, filepath.FromSlash(name)), content: from[name], what: "written"}
		there, err := x.reader.Read(ctx, f.path, int64(len(f.content)))
		_, unfit := errors.AsType[files.Error](err)
		switch info, _ := os.Stat(f.path); {
		case err == nil && bytes.Equal(there.Content, f.content):
			f.what = "unchanged"
		case err == nil, unfit && info != nil && info.Mode().IsRegular(): // or it is larger
			f.what = "replaced"
			changed = append(changed, f.path)
		case unfit:
			return hintedError{fmt.Sprintf("nothing was written, because %s %s", f.path, err), "move it away"}
		case !errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", f.path, err)
		}
		x.files = append(x.files, f)
	}
	if len(changed) > 0 && !x.force {
		return hintedError{"nothing was written, because these files exist and differ: " + strings.Join(changed, ", "),
			"move them away, or replace them with --force"}
	}
	return nil
}

func (x *export) write() error {
	for _, f := range x.files {
		if f.what == "unchanged" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
			return err
		}
		if err := replaceFile(f.path, f.content); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file as a whole, or leaves it as it was.
func replaceFile(path string, content []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".pingreq-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error matters
		return fmt.Errorf("%s was not written: %w", path, err)
	}
	return nil
}
