package main

import (
	"bytes"
	"regexp"

	"github.com/pingreq/pingreq/collector/sys"
)

// minutes matches the suffixes of Mosquitto's averages.
var minutes = regexp.MustCompile(`_(1|5|15)min$`)

// oldNames lists what replaces each metric of mosquitto-exporter. The averages over 1, 5 and 15
// minutes share a row, with the expression of the first.
func oldNames() string {
	var b bytes.Buffer
	last := ""
	table(&b, []string{"mosquitto-exporter", "type there", "here, in PromQL"}, func(row func(...string)) {
		for _, o := range sys.OldNames() {
			name := minutes.ReplaceAllString(o.Name, "_{1,5,15}min")
			if name == last {
				continue
			}
			last = name
			typ, expr := "gauge", "nothing: Mosquitto has no counter for it"
			if o.Counter {
				typ = "counter"
			}
			if o.New != "" {
				expr = code(o.New)
			}
			row(code(name), typ, expr)
		}
	})
	return b.String()
}
