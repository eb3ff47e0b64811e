package exported

import "github.com/pingreq/pingreq/internal/grafana"

// placeholder stands for the value of a dashboard's variable; a label may have it whatever its values are.
const placeholder = "grafana_variable"

// plain is the expression without variables, fit to be parsed.
func plain(expr string) string {
	intervals := grafana.Intervals()
	return grafana.Substitute(expr, func(name string) string {
		if v, ok := intervals[name]; ok {
			return v
		}
		return placeholder
	})
}
