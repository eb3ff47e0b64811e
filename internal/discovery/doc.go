// Package discovery finds targets: in files, over HTTP and in DNS. Formats and behaviour are those of
// Prometheus' file_sd, http_sd and dns_sd, so that one list can serve both.
//
// A source that fails keeps its last good list. Only a source that answers can take targets away.
// Whoever writes a list is not trusted: what is read has limits, and a list beyond them is refused as
// a whole, like one that is not in the format.
package discovery
