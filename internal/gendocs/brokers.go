package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
)

//go:generate go run . -brokers ../../docs/brokers

// brokerRegion returns a region of the pages about brokers. Its name is "index", "old names", or
// "subscriptions", "values" or "events" followed by the name of a dialect.
func brokerRegion(name string) (string, error) {
	switch name {
	case "index":
		return brokerIndex(), nil
	case "old names":
		return oldNames(), nil
	}
	what, dialect, _ := strings.Cut(name, " ")
	values, hasValues := sysDialect(dialect)
	clients, hasEvents := events.Named(dialect)
	switch {
	case what == "subscriptions" && (hasValues || hasEvents):
		return subscriptions(values, clients), nil
	case what == "values" && hasValues:
		return brokerValues(values)
	case what == "events" && hasEvents:
		return clientEvents(clients), nil
	}
	return "", fmt.Errorf("there is no region %q", name)
}

func sysDialect(name string) (sys.Dialect, bool) {
	all := sys.Dialects()
	if i := slices.IndexFunc(all, func(d sys.Dialect) bool { return d.Name == name }); i >= 0 {
		return all[i], true
	}
	return sys.Dialect{}, false
}

// placeholder matches the placeholders for levels in a pattern of package sys.
var placeholder = regexp.MustCompile(`\{([a-z]*)(\.\.\.)?\}`)

// shown returns a pattern for humans to read. A level that becomes a label is in angle brackets.
// Any other level looks as in a topic filter.
func shown(pattern string) string {
	return placeholder.ReplaceAllStringFunc(pattern, func(p string) string {
		switch m := placeholder.FindStringSubmatch(p); {
		case m[1] != "":
			return "<" + m[1] + ">"
		case m[2] != "":
			return "…"
		}
		return "+"
	})
}

func codes(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = code(s)
	}
	return strings.Join(quoted, ", ")
}
