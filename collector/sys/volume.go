package sys

import "github.com/pingreq/pingreq/internal/dialects"

// Series returns how many series a target costs with these options: while its broker publishes
// everything that the dialect knows, and with the further values. Labels that only the broker knows
// count once: one node, one bridge, one thread. If the dialect has to be found, it is the one with the
// most series. oldNames is that of [NewFleet].
func (o Options) Series(oldNames bool) (fresh, most int) {
	auto := o.Dialect == "" || o.Dialect == dialects.Auto
	for _, d := range Dialects() {
		if o.Dialect == d.Name || auto {
			n := d.series()
			if oldNames && d.Name == dialects.Mosquitto {
				n += len(OldNames())
			}
			fresh = max(fresh, n)
		}
	}
	const lastUpdate, unparsed, discarded = 1, 1, 1
	fresh += len(States()) + lastUpdate + unparsed + discarded
	return fresh, fresh + o.Values
}

// series returns how many series the dialect's table makes.
func (d *Dialect) series() int {
	type key struct{ metric, cause string }
	all := map[key]bool{{metric: info}: true}
	for _, r := range d.Rows {
		if r.Metric != "" {
			all[key{r.Metric, r.Cause}] = true
		}
	}
	return len(all)
}
