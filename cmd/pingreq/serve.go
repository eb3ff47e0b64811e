package main

import (
	"context"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	"golang.org/x/sync/errgroup"

	"github.com/pingreq/pingreq/internal/agent"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/internal/web"
	"github.com/pingreq/pingreq/synthetic"
)

// gcPercent is how much garbage the agent may have, as a part of the memory in use, unless GOGC says
// something else. With Go's default of 100, ten thousand sessions that only wait would cost 40 MiB more.
// The price is a fifth more processor time for an agent with hundreds of runs a second.
const gcPercent = 20

// serveCommand runs the agent.
func serveCommand(app *kingpin.Application, catalog synthetic.Catalog) subcommand {
	c := app.Command("serve", "Watch brokers and export metrics. The brokers come from a configuration file, or from URLs that get the default suite of probes.")
	urls := c.Arg("url", urlHelp).Strings()
	file := c.Flag("config.file", "Configuration file. Default: "+defaultConfigFile+" if it exists.").PlaceHolder("FILE").String()
	agentID := c.Flag("agent.id", "Name of this agent. Every agent needs a different name. Default: the host name.").String()
	uf := addURLFlags(c, synthetic.DefaultProfile().Keepalive)
	hosts := c.Flag("web.allowed-host", "Name under which POST /-/reload is allowed, besides the addresses of the agent, localhost and the host name. Repeat the flag for more names.").PlaceHolder("NAME").Strings()
	external := c.Flag("web.external-url", "URL under which others reach the pages, for example through a proxy. POST /-/reload is allowed under its host. Its path is the route prefix, unless --web.route-prefix says otherwise.").PlaceHolder("URL").String()
	prefix := c.Flag("web.route-prefix", "Path below which all pages are. Default: the path of --web.external-url. Use / behind a proxy that removes the path.").PlaceHolder("PATH").String()
	offset := c.Flag("timeout-offset", "How much earlier than the scrape timeout of Prometheus a run of /probe ends.").Default(web.DefaultTimeoutOffset.String()).Duration()
	health := c.Flag("web.health-address", "Address for /-/healthy and /-/ready alone, without TLS and authentication. Default: none.").PlaceHolder("HOST:PORT").String()
	wf := kingpinflag.AddFlags(c, ":10883")
	return subcommand{c.FullCommand(), func(ctx context.Context, e environment) error {
		if err := uf.unused(*urls); err != nil {
			return err
		}
		at, err := web.NewAddress(*external, *prefix)
		if err != nil {
			return usageError{err}
		}
		if at.Host != "" {
			*hosts = append(*hosts, at.Host)
		}
		flags := map[string]any{}
		if *agentID != "" {
			flags["agent.id"] = *agentID
		}
		options := uf.options(e, catalog, flags)
		cfg, warnings, err := readConfig(ctx, *file, *urls, options)
		if err != nil {
			printWarnings(e, warnings)
			return err
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(gcPercent)
		}
		log := promslog.New(e.log)
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
		o := agent.Options{Config: cfg, Warnings: warnings, Kinds: catalog.Kinds, Logger: log, Hosts: *hosts, Prefix: at.Prefix, TimeoutOffset: *offset, Hangups: hangups}
		if len(*urls) == 0 {
			o.File = fileOrDefault(*file)
			o.Load = func(ctx context.Context) (*config.Config, config.Warnings, error) {
				return readConfig(ctx, o.File, nil, options)
			}
		}
		a, err := agent.New(o)
		if err != nil {
			return usageError{err}
		}
		if w, ok := e.stderr.(*patientWriter); ok {
			w.OnDrop(a.LogDropped)
		}
		log.Info("starting", "version", version.Version, "agent", cfg.Agent.ID, "targets", len(cfg.Targets), "probes", len(a.Plan()))
		return a.Run(ctx, func(ctx context.Context, h http.Handler) error {
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return web.Serve(ctx, h, wf, log) })
			if *health != "" {
				g.Go(func() error { return web.ServeHealth(ctx, *health, a.Ready, log) })
			}
			return g.Wait()
		}, agent.NewLogSink(log))
	}}
}
