package collector

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
)

//go:generate go run ../internal/gendocs -metrics ../docs/metrics.md

// WriteDocs writes the reference of every metric in Markdown. The text depends only on the
// declarations. The error is the error of w.
func WriteDocs(w io.Writer, kinds []synthetic.Kind) error {
	var d docs
	d.line("# Metrics")
	d.line("")
	d.line("<!-- Generated from the declarations by `go generate ./collector`. Do not edit. -->")
	d.line("")
	d.line("Every series has the label `agent`, the id of the agent that exports it. Rules and dashboards tell")
	d.line("agents apart by it, because `instance` changes whenever an agent moves.")
	d.line("")
	d.line("Every metric of a probe has the labels %s: the name of the target,", quoted(probeLabels))
	d.line("the kind of the probe, the name of the probe and the name of the profile. The labels that a target")
	d.line("has in the configuration are added to all of its series. The lists below contain only other labels.")
	d.line("")
	d.line("Times are in seconds. A scraper that requests the protobuf format gets native histograms in")
	d.line("addition to the classic ones; `metrics: {histograms: …}` chooses. A series that starts at 0 exists as")
	d.line("soon as the probe is in the plan. Every other series begins with its first value, so that what never")
	d.line("happens costs nothing. When a probe leaves the plan, its series are deleted.")
	d.line("")
	d.line("The first value of a counter is no increase for Prometheus. To count the first failure of a reason")
	d.line("too, use `mqtt_probe_runs_total{outcome=\"failure\"}`, which starts at 0, or count a series that is")
	d.line("new as a whole, if its target was watched before, as the rules of pingreq do:")
	d.line("`(x unless x offset 1h and on (agent, target) mqtt_target_info offset 1h) or increase(x[1h])`.")

	d.section("Every probe")
	common := synthetic.NewCommonMetrics()
	for _, m := range common.All() {
		d.metric(m, nil)
	}
	seen := make(map[string]bool)
	for _, m := range common.All() {
		seen[m.Name] = true
	}
	for _, k := range kinds {
		d.section("Kind " + quoted([]string{k.Name}))
		d.paragraph("%s", k.Help)
		if len(k.Reasons) > 0 {
			d.paragraph("Reasons of its failures: %s.", quoted(k.Reasons))
		}
		var elsewhere []string
		for _, m := range k.Metrics {
			if seen[m.Name] {
				elsewhere = append(elsewhere, m.Name)
				continue
			}
			seen[m.Name] = true
			d.metric(m, kindsOf(kinds, m))
		}
		if len(elsewhere) > 0 {
			d.paragraph("Also %s, described above.", quoted(elsewhere))
		}
	}

	d.section("What brokers publish about themselves")
	d.paragraph("These metrics come from the `$SYS` topics of targets with `sys: {enabled: true}`. A value is")
	d.line("exported while it is fresh, and is absent otherwise. If the broker's access rules hide the topics")
	d.line("that prove that it is fresh, the state is `partial`, and a value is exported until the connection")
	d.line("ends. Every metric has the label `target`. The lists below contain only other labels.")
	for _, m := range sys.Metrics() {
		d.metric(m, nil)
	}

	d.section("What brokers publish about their clients")
	d.paragraph("These metrics come from the client events or the log of targets with")
	d.line("`sys: {enabled: true, events: true}`. They are about real clients, unless the text says otherwise.")
	d.line("The counter of connects appears with the first message of its broker about a client, those with a")
	d.line("reason with the first client of that reason. Every metric has the label `target`. The lists below")
	d.line("contain only other labels.")
	for _, m := range events.Metrics() {
		d.metric(m, nil)
	}

	d.section("Targets")
	d.paragraph("What all that is known of a target means together. [docs/diagnoses](diagnoses/README.md) explains the")
	d.line("causes.")
	for _, m := range newTargetMetrics().all() {
		d.metric(m, nil)
	}

	d.section("Discovery")
	d.paragraph("These metrics are about the sources of `discovery`. [docs/discovery.md](discovery.md) explains them.")
	for _, m := range newDiscoveryMetrics().all() {
		d.metric(m, nil)
	}

	d.section("The agent")
	d.paragraph("These metrics do not have the labels of a probe.")
	for _, m := range append(newAgentMetrics(kinds).all(), rejectedMetric()) {
		d.metric(m, nil)
	}
	for _, x := range foreignMetrics() {
		d.heading(x[0])
		d.paragraph("%s", x[1])
	}
	_, err := w.Write(d.Bytes())
	return err
}

// foreignMetrics returns the metrics that libraries declare: the name or a pattern of it, and the
// help.
func foreignMetrics() [][2]string {
	return [][2]string{
		{"pingreq_build_info", "Always 1. The labels contain the version of pingreq, how it was built, and the version of Go."},
		{"go_*", "The Go runtime, from client_golang's collector."},
		{"process_*", "The process, from client_golang's collector, on systems where it works."},
		{"promhttp_*", "Scrapes of the agent, from client_golang's HTTP handler."},
	}
}

// kindsOf returns the names of the kinds that declare a metric.
func kindsOf(kinds []synthetic.Kind, m *synthetic.Metric) (names []string) {
	for _, k := range kinds {
		if slices.ContainsFunc(k.Metrics, func(x *synthetic.Metric) bool { return x.Name == m.Name }) {
			names = append(names, k.Name)
		}
	}
	return names
}

// docs is a Markdown page.
type docs struct{ bytes.Buffer }

func (d *docs) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *docs) paragraph(format string, args ...any) { d.line("\n"+format, args...) }

func (d *docs) section(title string) { d.line("\n## %s", title) }

func (d *docs) heading(name string) { d.line("\n### `%s`", name) }

func (d *docs) item(format string, args ...any) { d.line("- "+format, args...) }

func (d *docs) metric(m *synthetic.Metric, kinds []string) {
	d.heading(m.Name)
	d.paragraph("%s", m.Help)
	d.line("")
	what := string(m.Type)
	if m.Unit != "" {
		what += ", in " + m.Unit
	}
	d.item("%s", what)
	if len(m.Labels) > 0 {
		d.item("labels %s", quoted(m.Labels))
	}
	if len(kinds) > 1 {
		d.item("kinds %s", quoted(kinds))
	}
	if len(m.Buckets) > 0 {
		bounds := make([]string, len(m.Buckets))
		for i, b := range m.Buckets {
			bounds[i] = strconv.FormatFloat(b, 'f', -1, 64)
		}
		d.item("buckets %s", strings.Join(bounds, ", "))
	}
	if len(m.Known) > 0 {
		d.item("values %s", quoted(combinations(m.Known)))
	}
	switch {
	case len(m.Zero) > 0 && len(m.Labels) == 0:
		d.item("starts at 0")
	case len(m.Zero) > 0:
		d.item("starts at 0 for %s", quoted(combinations(m.Zero)))
	}
}

// combinations returns each list of label values as one text.
func combinations(values [][]string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.Join(v, " ")
	}
	return out
}

// quoted returns names as Markdown code, separated by commas.
func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = "`" + n + "`"
	}
	return strings.Join(q, ", ")
}
