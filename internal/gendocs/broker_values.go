package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
)

// brokerValues lists which topic of a dialect becomes which metric, and summarises what is left
// out. It returns an error if a reason for leaving out has no text here.
func brokerValues(d sys.Dialect) (string, error) {
	rows := distinct(d)
	mapped := slices.DeleteFunc(slices.Clone(rows), func(r sys.Row) bool { return r.Metric == "" })
	slices.SortStableFunc(mapped, func(a, b sys.Row) int {
		return cmp.Or(strings.Compare(a.Metric, b.Metric), strings.Compare(a.Cause, b.Cause))
	})
	var b bytes.Buffer
	if len(mapped) > 0 {
		table(&b, []string{"metric", "from topic"}, func(row func(...string)) {
			for _, r := range mapped {
				topic := code(shown(d.Topic(r.Topic)))
				if r.Fallback {
					topic += ", if no other topic has a value for it"
				}
				row(code(series(d, r)), topic)
			}
		})
		fmt.Fprintf(&b, "\n%s\n", freshness(d, rows))
	}
	if err := leftOut(&b, d, rows); err != nil {
		return "", err
	}
	return b.String(), nil
}

// distinct lists the rows without those that spell another row's topic with dots instead of
// slashes.
func distinct(d sys.Dialect) []sys.Row {
	known := make(map[string]bool)
	for _, r := range d.Rows {
		known[r.Topic] = true
	}
	return slices.DeleteFunc(slices.Clone(d.Rows), func(r sys.Row) bool {
		slashed := strings.ReplaceAll(r.Topic, ".", "/")
		return slashed != r.Topic && known[slashed]
	})
}

// series returns the metric of a row with its labels, in the order of the metric's declaration.
func series(d sys.Dialect, r sys.Row) string {
	given := make(map[string]string) // label -> how it is shown
	for _, m := range placeholder.FindAllStringSubmatch(d.Topic(r.Topic), -1) {
		if m[1] != "" {
			given[m[1]] = m[1]
		}
	}
	if r.Cause != "" {
		given["cause"] = fmt.Sprintf("cause=%q", r.Cause)
	}
	if r.Form == sys.Text {
		given["software"], given["version"] = fmt.Sprintf("software=%q", d.Name), "version"
	}
	var labels []string
	all := sys.Metrics()
	if i := slices.IndexFunc(all, func(m *synthetic.Metric) bool { return m.Name == r.Metric }); i >= 0 {
		for _, l := range all[i].Labels {
			if given[l] != "" {
				labels = append(labels, given[l])
			}
		}
	}
	if len(labels) == 0 {
		return r.Metric
	}
	return r.Metric + "{" + strings.Join(labels, ",") + "}"
}

// freshness returns a sentence about the topics that prove that the broker is alive.
func freshness(d sys.Dialect, rows []sys.Row) string {
	var ticks []string
	for _, r := range rows {
		if r.Tick {
			ticks = append(ticks, code(shown(d.Topic(r.Topic))))
		}
	}
	s := "pingreq exports these values while the latest message of " + strings.Join(ticks, " or ") + " is no older than three intervals of that topic."
	if d.Repeats {
		return s + " The value's own topic must be fresh too: its latest message is no older than three of its own intervals. If access rules hide " + strings.Join(ticks, " and ") + ", the value's own topic alone decides."
	}
	return s + " If access rules hide " + strings.Join(ticks, " and ") + ", the state is `partial`, and each value that came is exported until the connection ends."
}

// leftOut lists the topics that do not become metrics.
func leftOut(b *bytes.Buffer, d sys.Dialect, rows []sys.Row) error {
	topics := make(map[sys.Reason][]string)
	var order []sys.Reason
	for _, r := range rows {
		if r.Left == "" {
			continue
		}
		if whyLeft[r.Left] == "" {
			return fmt.Errorf("dialect %s leaves %s out for a reason without a text in the documentation: %q", d.Name, r.Topic, r.Left)
		}
		if topics[r.Left] == nil {
			order = append(order, r.Left)
		}
		topics[r.Left] = append(topics[r.Left], code(shown(d.Topic(r.Topic))))
	}
	if len(order) == 0 {
		return nil
	}
	b.WriteString("\npingreq leaves out these topics on purpose:\n\n")
	table(b, []string{"why", "topics"}, func(row func(...string)) {
		for _, why := range order {
			row(whyLeft[why], few(topics[why]))
		}
	})
	return nil
}

// whyLeft holds the texts for the reasons why topics are left out.
var whyLeft = map[sys.Reason]string{
	sys.Alias:    "another topic has the same value",
	sys.Sum:      "the sum of other topics",
	sys.Average:  "an average, which `rate()` and `avg_over_time()` compute better",
	sys.Words:    "text, not a number",
	sys.Clock:    "the clock of the broker's host",
	sys.Host:     "about the host, which node_exporter measures",
	sys.Detail:   "only this broker has it",
	sys.NoFault:  "messages that the client's own options exclude, so this is not a fault",
	sys.Frozen:   "sent to each new subscriber once, and never again",
	sys.Event:    "about single clients or single events; pingreq does not keep them, and counts client events separately",
	sys.Personal: "about one client; pingreq does not keep it",
}

// few lists the first of many names and counts the rest.
func few(all []string) string {
	const most = 3
	if len(all) <= most+1 {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
