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

// WriteDocs writes the reference of every metric in Markdown, derived from the declarations: the same declarations
// give the same bytes. The error is that of w.
func WriteDocs(w io.Writer, kinds []synthetic.Kind) error {
	var d docs
	d.line("# Metrics")
	d.line("")
	d.line("<!-- Generated from the declarations by `go generate ./collector`. Do not edit. -->")
	d.line("")
	d.line("Every metric of a probe has the labels %s: the target's name, the kind of the probe, the probe's name and the", quoted(probeLabels))
	d.line("profile's name. The labels that a target has in the configuration are added to all of its series. Only further labels are listed below.")
	d.line("")
	d.line("Times are in seconds. A native histogram is served beside the classic one to whoever asks for the protobuf format.")
	d.line("A series that starts at 0 exists as soon as the probe is in the plan; any other exists when there is something to tell.")
	d.line("When a probe leaves the plan, its series go with it.")

	d.section("Every probe")
	common := synthetic.NewCommonMetrics()
	for _, m := range common.All() {
		d.metric(m, nil)
		if m == common.Failures {
			d.item("starts at 0 for the reasons of the kind")
		}
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

	d.section("What brokers say of themselves")
	d.paragraph("From the `$SYS` topics of targets with `sys: {enabled: true}`. Values are exported while they are fresh, and absent otherwise. Label `target`, and:")
	for _, m := range sys.Metrics() {
		d.metric(m, nil)
	}

	d.section("What brokers tell of their clients")
	d.paragraph("From the client events or the log of targets with `sys: {enabled: true, events: true}`, of real clients unless said otherwise. The counters of a target")
	d.line("appear with the first message that its broker tells of a client, at 0 for everything that this kind of broker can tell. Label `target`, and:")
	for _, m := range events.Metrics() {
		d.metric(m, nil)
	}

	d.section("The agent")
	d.paragraph("These have no labels of a probe.")
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

// foreignMetrics are the metrics that libraries declare: name or pattern of the name, and help.
func foreignMetrics() [][2]string {
	return [][2]string{
		{"pingreq_build_info", "Always 1, with the version of pingreq, how it was built, and with which Go, in its labels."},
		{"go_*", "The Go runtime, as client_golang's collector tells."},
		{"process_*", "The process, as client_golang's collector tells where the system lets it."},
		{"promhttp_*", "Scrapes of the agent, as client_golang's HTTP handler tells."},
	}
}

// kindsOf lists the kinds that declare a metric.
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
	if m.Native {
		what += ", classic and native"
	}
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
	if len(m.Zero) > 0 {
		if len(m.Labels) == 0 {
			d.item("starts at 0")
			return
		}
		combinations := make([]string, len(m.Zero))
		for i, z := range m.Zero {
			combinations[i] = strings.Join(z, " ")
		}
		d.item("starts at 0 for %s", quoted(combinations))
	}
}

// quoted writes names as Markdown code, with commas between.
func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = "`" + n + "`"
	}
	return strings.Join(q, ", ")
}
