// Package web is the HTTP side of the agent: metrics, health, and a page that shows every probe.
//
// [New] returns the handler. [Serve] serves it through the Prometheus exporter-toolkit (TLS, basic
// authentication, systemd sockets). Nothing in this package waits for a probe, so it answers every
// request even if all targets hang.
package web
