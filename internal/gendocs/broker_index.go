package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/dialects"
)

// brokerIndex lists what each dialect provides and how `auto` finds it.
func brokerIndex() string {
	var names []string
	for _, d := range sys.Dialects() {
		names = append(names, d.Name)
	}
	for _, d := range events.Dialects() {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	table(&b, []string{"`dialect`", "metrics of `$SYS` values", "client events", "`auto` finds it by"}, func(row func(...string)) {
		for _, name := range slices.Compact(names) {
			values, _ := sysDialect(name)
			marks := values.Marks
			by := "the name of the host"
			if len(marks) > 0 {
				by = mark(values, marks[0])
			}
			if len(marks) > 1 {
				by += fmt.Sprintf(" and %d more", len(marks)-1)
			}
			row(code(name), or(metricsOf(values), "none"), clientEventsBrief(name), by)
		}
	})
	return b.String()
}

func metricsOf(d sys.Dialect) string {
	var names []string
	for _, r := range d.Rows {
		if r.Metric != "" {
			names = append(names, r.Metric)
		}
	}
	slices.Sort(names)
	if n := len(slices.Compact(names)); n > 0 {
		return fmt.Sprint(n)
	}
	return ""
}

func clientEventsBrief(name string) string {
	d, ok := events.Named(name)
	if !ok {
		return "none"
	}
	reasons := make(map[string]bool)
	for _, e := range d.Outcomes {
		if e.Kind == events.Disconnect {
			reasons[string(e.Reason)] = true
		}
	}
	if len(reasons) == 1 {
		return "without reasons"
	}
	return fmt.Sprintf("%d reasons for disconnects", len(reasons))
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// subscriptions lists the filters that pingreq subscribes to and that the broker must allow, and
// the topics that identify the dialect.
func subscriptions(d sys.Dialect, clients *events.Dialect) string {
	var b bytes.Buffer
	table(&b, []string{"for", "pingreq subscribes to"}, func(row func(...string)) {
		if len(d.Filters) > 0 {
			what := "values"
			if d.Quiet {
				what += " (none)"
			}
			row(what, codes(d.Filters))
		}
		if clients != nil {
			row("client events", codes(clients.Filters))
		}
	})
	if len(d.Marks) > 0 {
		var marks []string
		for _, m := range d.Marks {
			marks = append(marks, mark(d, m))
		}
		fmt.Fprintf(&b, "\nWith `dialect: auto` pingreq subscribes to %s instead of the values' filters. Any of these topics identifies the broker: %s.\n",
			codes(sys.Filters(dialects.Auto)), strings.Join(marks, ", "))
	}
	return b.String()
}

// mark returns the topic, and the start of its payload if needed, that identifies a dialect.
func mark(d sys.Dialect, m sys.Mark) string {
	topic := code(shown(d.Topic(m.Topic)))
	if begins := strings.TrimSpace(m.Begins); begins != "" {
		topic += " (its value begins with " + code(begins) + ")"
	}
	return topic
}
