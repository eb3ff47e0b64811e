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
	"github.com/pingreq/pingreq/dashboards"
)

// dashboardsCommand writes the dashboards for Grafana.
func dashboardsCommand(app *kingpin.Application) subcommand {
	c := app.Command("dashboards", "Write the dashboards for Grafana and their provisioning file to a directory.")
	return exportCommand(c, func() (map[string][]byte, error) { return contents(dashboards.Files()) })
}

// alertsCommand writes the rules for Prometheus and an example for Alertmanager.
func alertsCommand(app *kingpin.Application) subcommand {
	c := app.Command("alerts", "Write the recording rules and alerts for Prometheus and an example configuration of Alertmanager to a directory.")
	scale := c.Flag("time-scale", "Divide all times in the files by this number, to try the rules out. With 60, a minute becomes a second.").Default("1").Float64()
	return exportCommand(c, func() (map[string][]byte, error) {
		files, err := alerts.Render(*scale)
		if err != nil {
			return nil, usageError{fmt.Errorf("--time-scale: %w", err)}
		}
		return files, nil
	})
}

// contents returns the contents of all files, by path.
func contents(from fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	return files, fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[name], err = fs.ReadFile(from, name)
		}
		return err
	})
}

// exportCommand writes files that are part of the program, by path, to a directory.
func exportCommand(c *kingpin.CmdClause, files func() (map[string][]byte, error)) subcommand {
	output := c.Flag("output", "Directory to write to. It is created if it does not exist.").Required().PlaceHolder("DIR").String()
	force := c.Flag("force", "Replace existing files that differ.").Bool()
	return subcommand{c.FullCommand(), func(_ context.Context, e environment) error {
		from, err := files()
		if err != nil {
			return err
		}
		x := export{dir: *output, force: *force}
		if err := x.plan(from); err != nil {
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
	dir   string
	force bool
	files []exported
}

type exported struct {
	path    string
	content []byte
	what    string // written, replaced or unchanged
}

// plan compares the files with those that already exist.
func (x *export) plan(from map[string][]byte) error {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(from)) {
		f := exported{path: filepath.Join(x.dir, filepath.FromSlash(name)), content: from[name], what: "written"}
		switch there, err := os.ReadFile(f.path); {
		case err == nil && bytes.Equal(there, f.content):
			f.what = "unchanged"
		case err == nil:
			f.what = "replaced"
			changed = append(changed, f.path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
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
		if err := os.WriteFile(f.path, f.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
