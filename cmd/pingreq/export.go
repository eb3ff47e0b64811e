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
	"github.com/pingreq/pingreq/internal/files"
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
		rendered, err := alerts.Render(*scale)
		if err != nil {
			return nil, usageError{fmt.Errorf("--time-scale: %w", err)}
		}
		return rendered, nil
	})
}

// contents returns the contents of all files, by path.
func contents(from fs.FS) (map[string][]byte, error) {
	all := map[string][]byte{}
	return all, fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[name], err = fs.ReadFile(from, name)
		}
		return err
	})
}

// exportCommand writes files that are part of the program, by path, to a directory.
func exportCommand(c *kingpin.CmdClause, render func() (map[string][]byte, error)) subcommand {
	output := c.Flag("output", "Directory to write to. It is created if it does not exist.").Required().PlaceHolder("DIR").String()
	force := c.Flag("force", "Replace existing files that differ.").Bool()
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		from, err := render()
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
