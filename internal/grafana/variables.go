// Package grafana replaces variables in the expressions of a dashboard as Grafana does.
package grafana

import "regexp"

var variable = regexp.MustCompile(`\$\{(\w+)(?::\w+)?\}|\$([A-Za-z_]\w*)|\[\[(\w+)(?::\w+)?\]\]`)

// Substitute replaces each variable ($name, ${name}, ${name:format}, [[name]]) in a text with the
// result of value.
func Substitute(text string, value func(name string) string) string {
	return Replace(text, func(_, name string) string { return value(name) })
}

// Replace is like [Substitute], but value also gets the variable as it is written.
func Replace(text string, value func(written, name string) string) string {
	return variable.ReplaceAllStringFunc(text, func(match string) string {
		for _, name := range variable.FindStringSubmatch(match)[1:] {
			if name != "" {
				return value(match, name)
			}
		}
		return match
	})
}

// Intervals returns the variables that Grafana itself sets, for a step of a minute, a time range of
// an hour, and Prometheus's usual 15 s between scrapes.
func Intervals() map[string]string {
	return map[string]string{
		"__rate_interval": "75s", "__interval": "1m", "__interval_ms": "60000",
		"__range": "1h", "__range_s": "3600", "__range_ms": "3600000",
		"__from": "1700000000000", "__to": "1700003600000",
	}
}

// Numbers returns the variables that stand for a number or a duration: those of [Intervals], and the
// variable top of the dashboards, which is how many lines and rows the viewer wants.
func Numbers() map[string]string {
	all := Intervals()
	all["top"] = "10"
	return all
}
