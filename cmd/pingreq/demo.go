package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"text/template"
	"time"

	_ "embed"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/demo"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
)

//go:embed demo.yaml.tmpl
var demoConfig string

// demoCommand shows what pingreq does, with its own brokers.
func demoCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("demo", "Start brokers in this process, one healthy and some broken on purpose. Watch them and show the findings. Nothing needs to be installed.")
	listen := c.Flag("web.listen-address", "Address of the metrics and the web page. If it is in use, the demo uses a free port.").Default("127.0.0.1:10883").String()
	duration := c.Flag("duration", "Stop after this time; 0s: run until interrupted.").Default("0s").Duration()
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		if *duration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, *duration)
			defer cancel()
		}
		return runDemo(ctx, e, catalog, *listen)
	}}
}

// demoPatience is the time within which everything should have been seen.
const demoPatience = 40 * time.Second

func runDemo(ctx context.Context, e environment, catalog synthetic.Catalog, listen string) (err error) {
	dir, err := os.MkdirTemp("", "pingreq-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log := promslog.NewNopLogger() // logs of brokers and probes would make the screen unreadable
	brokers, err := demo.Start(ctx, demo.Options{Dir: dir, Logger: log})
	if err != nil {
		return fmt.Errorf("cannot start the brokers: %w", err)
	}
	defer func() { err = errors.Join(err, brokers.Close()) }()

	cfg, file, err := demoConfiguration(ctx, catalog, brokers, dir)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{Config: cfg, Kinds: catalog.Kinds, Logger: log})
	if err != nil {
		return err
	}
	l, err := listenWeb(listen)
	if err != nil {
		return err
	}
	address := l.Addr().String()
	actx, cancel := context.WithCancel(ctx)
	defer cancel()
	show := newDemoScreen(actx, e.stdout, brokers.List, a.Plan())
	show.head(address, file)
	var running sync.WaitGroup
	var runErr error
	running.Go(func() {
		defer cancel()
		runErr = a.Run(actx, func(ctx context.Context, h http.Handler) error { return web.ServeListener(ctx, h, l, log) }, show)
	})
	show.run(actx, address)
	running.Wait()
	return runErr
}

// demoConfiguration writes the demo's configuration to a file, for humans to read, and loads it.
func demoConfiguration(ctx context.Context, catalog synthetic.Catalog, brokers *demo.Brokers, dir string) (*config.Config, string, error) {
	scheme := func(url string) string { s, _, _ := strings.Cut(url, ":"); return s }
	t, err := template.New("demo").Funcs(template.FuncMap{"scheme": scheme}).Parse(demoConfig)
	if err != nil {
		return nil, "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, brokers.List); err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "pingreq.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return nil, "", err
	}
	cfg, _, err := config.Load(ctx, config.Source{Path: file, Reserved: collector.ReservedLabels(catalog.Kinds), Catalog: catalog,
		Flags: map[string]any{"agent.id": "demo"}})
	return cfg, file, err
}

// listenWeb listens on the address. If the address is in use, it listens on a free port of the same
// host.
func listenWeb(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	host, _, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return nil, usageError{fmt.Errorf("--web.listen-address: %w", splitErr)}
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return nil, usageError{fmt.Errorf("--web.listen-address: %w", err)}
	}
	return l, nil
}
