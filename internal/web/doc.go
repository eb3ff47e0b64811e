// Package web is the agent's HTTP side: metrics, health and a page that shows every probe at a glance.
//
// [New] makes the handler, [Serve] serves it through the Prometheus exporter-toolkit (TLS, basic authentication, systemd
// sockets). Nothing here waits for a probe: every page is answered while all targets hang.
package web
