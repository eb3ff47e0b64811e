package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/internal/agent"
)

// printVolume prints how many series a configuration costs: by what they are about, and by target. It
// shows the forms of histograms that the agent exports.
func printVolume(out io.Writer, v *agent.Volume, form collector.Histograms) error {
	forms := map[collector.Histograms]string{collector.Classic: "classic", collector.Native: "native", collector.Both: "classic or with native"}
	fmt.Fprintf(out, "\nSeries in Prometheus with %s histograms: at rest, once every\nprobe has run and nothing fails, and at most, after every failure there is.\n\n", forms[form])
	classic, native := form != collector.Native, form != collector.Classic
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := func(of, number string) {
		fmt.Fprintf(w, "%s\t%s\t", of, number)
		if classic {
			fmt.Fprint(w, "at rest\tat most\t")
		}
		if native {
			mark := ""
			if classic {
				mark = "native "
			}
			fmt.Fprintf(w, "%sat rest\t%sat most\t", mark, mark)
		}
		fmt.Fprintln(w)
	}
	row := func(name string, number int, x collector.Volume) {
		fmt.Fprintf(w, "%s\t%d\t", name, number)
		if classic {
			fmt.Fprintf(w, "%d\t%d\t", x.Healthy.Classic, x.Most.Classic)
		}
		if native {
			fmt.Fprintf(w, "%d\t%d\t", x.Healthy.Native, x.Most.Native)
		}
		fmt.Fprintln(w)
	}
	head("about", "number")
	for _, p := range v.Parts {
		row(p.Part, p.Number, p.Volume)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	head("target", "probes")
	probes := 0
	for _, t := range v.Targets {
		row(t.Target, t.Probes, t.Volume)
		probes += t.Probes
	}
	row("all, with the agent", probes, v.Total)
	return w.Flush()
}
