package alerts

import (
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// alertmanager returns the example of Alertmanager. The committed file is the one for the default
// configuration. It is changed for another.
func alertmanager(c monitoring.Config) ([]byte, error) {
	text, err := sources.ReadFile(alertmanagerFile)
	if err != nil {
		return nil, err
	}
	d, err := parseDocument(text)
	if err != nil {
		return nil, err
	}
	all, err := Defaults()
	if err != nil {
		return nil, err
	}
	for name := range all {
		if c.Off(name) {
			delete(all, name)
		}
	}
	configureRoute(d, field(d.root, "route"), c)
	for _, rule := range items(d.root, "inhibit_rules") {
		if field(rule, "equal") == nil && len(fixed(c)) > 0 {
			d.add(rule, "equal: ["+strings.Join(fixed(c), ", ")+"]")
		}
		d.setList(rule, "equal", labelList(c, rule, "equal"))
		if !configureMatchers(d, rule, "source_matchers", all) || !configureMatchers(d, rule, "target_matchers", all) {
			d.drop(rule)
		}
	}
	return d.bytes(), nil
}

// configureRoute changes the labels and the severity of a route, and of the routes below it.
func configureRoute(d *document, route *yaml.Node, c monitoring.Config) {
	d.setList(route, "group_by", labelList(c, route, "group_by"))
	for _, m := range items(route, "matchers") {
		if p := matcher.FindStringSubmatch(m.Value); p != nil && p[1] == "severity" && p[2] == "=" {
			d.replace(m, p[1]+p[2]+`"`+severityName(c, p[3])+`"`)
		}
	}
	for _, below := range items(route, "routes") {
		configureRoute(d, below, c)
	}
}

// labelList returns the labels of a list for the configured vantage points and targets.
func labelList(c monitoring.Config, mapping *yaml.Node, key string) (list []string) {
	for _, n := range items(mapping, key) {
		switch {
		case n.Value == "agent":
			list = slices.Concat(list, fixed(c), c.Vantage)
		case n.Value == "target":
			list = slices.Concat(list, fixed(c), c.Identity)
		case slices.Contains(monitoring.Default().Identity, n.Value): // what tells targets of one name apart
			list = slices.Concat(list, fixed(c), environment(c))
		default:
			list = append(list, n.Value)
		}
	}
	return monitoring.Unique(list)
}

// fixed returns the names of the labels that every alert has.
func fixed(c monitoring.Config) (names []string) {
	for _, l := range c.Fixed() {
		names = append(names, l.Name)
	}
	return names
}

// matcher matches a matcher of Alertmanager.
var matcher = regexp.MustCompile(`^(\w+)(=~|!~|!=|=)"(.*)"$`)

// configureMatchers removes the names of alerts that do not exist. It returns false if none is left.
func configureMatchers(d *document, rule *yaml.Node, key string, all map[string]monitoring.Alert) bool {
	for _, m := range items(rule, key) {
		p := matcher.FindStringSubmatch(m.Value)
		if p == nil || p[1] != "alertname" || p[2] == "!=" {
			continue
		}
		names := slices.DeleteFunc(strings.Split(p[3], "|"), func(name string) bool {
			if regexp.QuoteMeta(name) != name { // it selects alerts by their beginning
				return false
			}
			_, exists := all[name]
			return !exists
		})
		if len(names) == 0 && p[2] != "!~" {
			return false
		}
		d.replace(m, p[1]+p[2]+`"`+strings.Join(names, "|")+`"`)
	}
	return true
}
