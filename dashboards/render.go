package dashboards

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/internal/promql"
)

// Render returns the files by path, for a configuration. With the default configuration they are byte
// for byte those of [Files]. An error names the file and the expression that is wrong.
func Render(c monitoring.Config) (map[string][]byte, error) {
	out := make(map[string][]byte)
	return out, fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		switch {
		case err != nil:
			return err
		case path.Ext(name) == ".json":
			text, err = configured(text, c)
		default:
			text, err = provisioning(text, c.Grafana)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out[name] = text
		return nil
	})
}

// provisioning returns the provisioning file with its folder and its path.
func provisioning(text []byte, g monitoring.Grafana) ([]byte, error) {
	for key, value := range map[string]string{"folder": g.Folder, "path": g.Path} {
		scalar, err := yaml.Marshal(value)
		if err != nil {
			return nil, err
		}
		line := regexp.MustCompile(`(?m)^( +` + key + `: ).*$`)
		text = line.ReplaceAllFunc(text, func(found []byte) []byte {
			return slices.Concat(line.FindSubmatch(found)[1], bytes.TrimSuffix(scalar, []byte("\n")))
		})
	}
	return text, nil
}

// editor changes a dashboard. Its JSON stays as it is, apart from single texts and variables.
type editor struct {
	config monitoring.Config
	choose []string // labels to choose targets by
}

// configured returns a dashboard for a configuration.
func configured(text []byte, c monitoring.Config) ([]byte, error) {
	variables, err := variablesOf(text)
	if err != nil {
		return nil, err
	}
	e := editor{config: c}
	if variables["target"] != nil {
		e.choose = c.Grafana.Variables
	}
	if text, err = changeStrings(text, e.change); err != nil {
		return nil, err
	}
	if variables, err = variablesOf(text); err != nil {
		return nil, err
	}
	for _, label := range e.choose {
		added, err := e.variable(label)
		if err != nil {
			return nil, err
		}
		text = bytes.Replace(text, variables["target"], slices.Concat(added, []byte(",\n      "), variables["target"]), 1)
	}
	return bytes.Replace(text, variables["datasource"], datasource(variables["datasource"], c.Grafana.Datasource), 1), nil
}

// variablesOf returns the JSON of the variables of a dashboard, by name.
func variablesOf(text []byte) (map[string]json.RawMessage, error) {
	var d struct {
		Templating struct{ List []json.RawMessage }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, err
	}
	all := make(map[string]json.RawMessage)
	for _, raw := range d.Templating.List {
		var v struct{ Name string }
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, err
		}
		all[v.Name] = raw
	}
	return all, nil
}

// listed matches the query of a variable: what is selected, and the label whose values are listed.
var listed = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)

// change returns the text of a key as it should be.
func (e editor) change(key, text string) (string, error) {
	var err error
	switch key {
	case "expr":
		text, err = e.expression(text)
	case "query", "definition":
		if m := listed.FindStringSubmatch(text); m != nil {
			text, err = e.expression(m[1])
			text = "label_values(" + text + ", " + m[2] + ")"
		}
	case "url":
		for _, label := range e.choose {
			text = strings.Replace(text, "&var-target=", "&${"+label+":queryparam}&var-target=", 1)
		}
	}
	return runbook(text, e.config.RunbookURL), err
}

// expression adds the selector to every metric, and what the viewer has chosen to those of targets.
func (e editor) expression(expr string) (string, error) {
	return promql.Change{Matchers: func(metric string, has []*labels.Matcher) string {
		var matchers []string
		if s := e.config.Select(metric); s != "" {
			matchers = append(matchers, s)
		}
		if strings.HasPrefix(metric, "mqtt_") || slices.ContainsFunc(has, func(m *labels.Matcher) bool { return m.Name == "target" }) {
			for _, label := range e.choose {
				matchers = append(matchers, label+`=~"$`+label+`"`)
			}
		}
		return strings.Join(matchers, ", ")
	}}.In(expr)
}

// runbook replaces the addresses of runbooks in a text.
func runbook(text, url string) string {
	before, after, _ := strings.Cut(monitoring.Default().RunbookURL, "{alert}")
	found := regexp.MustCompile(regexp.QuoteMeta(before) + `([^/\s)]+?)` + regexp.QuoteMeta(after))
	return found.ReplaceAllStringFunc(text, func(match string) string {
		return strings.ReplaceAll(url, "{alert}", found.FindStringSubmatch(match)[1])
	})
}

// variable returns the JSON of a variable that chooses targets by one of their labels. Targets without
// the label are among all.
func (e editor) variable(label string) ([]byte, error) {
	query, err := editor{config: e.config}.expression(`mqtt_target_info{agent=~"$agent"}`)
	if err != nil {
		return nil, err
	}
	query = fmt.Sprintf("label_values(%s, %s)", query, label)
	type object = map[string]any
	return json.MarshalIndent(object{
		"type": "query", "name": label, "label": label, "query": query, "definition": query, "datasource": object{"type": "prometheus", "uid": "${datasource}"},
		"current": object{"text": []string{"All"}, "value": []string{"$__all"}}, "multi": true, "includeAll": true, "allValue": ".*",
		"allowCustomValue": true, "refresh": 2, "sort": 7, "skipUrlSync": false,
	}, "      ", "  ")
}

// datasource returns the JSON of the variable for the data source. If the configuration has a name, it
// offers no other. If it has a uid, it begins with that.
func datasource(variable []byte, d monitoring.Datasource) []byte {
	if d == (monitoring.Datasource{}) {
		return variable
	}
	end := []byte("\n      }")
	text := bytes.TrimSuffix(variable, end)
	add := func(key string, value any) {
		b, err := json.Marshal(value)
		if err != nil {
			panic(err) // texts can always be written
		}
		text = fmt.Appendf(slices.Clone(text), ",\n        %q: %s", key, b)
	}
	if d.Name != "" {
		add("regex", "/^"+regexp.QuoteMeta(d.Name)+"$/")
	}
	if d.UID != "" {
		add("current", map[string]string{"text": cmp.Or(d.Name, d.UID), "value": d.UID})
	}
	return append(slices.Clone(text), end...)
}

// changeStrings changes the texts of a JSON text. Everything else stays as it is. change gets the key
// that a text, or the list that it is in, belongs to.
func changeStrings(text []byte, change func(key, text string) (string, error)) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var out bytes.Buffer
	copied := int64(0)
	type level struct {
		object, keyed bool // keyed: the next token is the value of key
		key           string
	}
	levels := []level{{}}
	for d.More() || len(levels) > 1 {
		before := d.InputOffset()
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		at := &levels[len(levels)-1]
		if delim, ok := token.(json.Delim); ok {
			switch delim {
			case '{':
				levels = append(levels, level{object: true})
			case '[':
				levels = append(levels, level{key: at.key})
			default:
				levels = levels[:len(levels)-1]
				levels[len(levels)-1].keyed = false
			}
			continue
		}
		s, isText := token.(string)
		if at.object && !at.keyed {
			at.key, at.keyed = s, true
			continue
		}
		if isText {
			changed, err := change(at.key, s)
			if err != nil {
				return nil, err
			}
			if changed != s {
				start := before + int64(bytes.IndexByte(text[before:], '"'))
				out.Write(text[copied:start])
				e := json.NewEncoder(&out)
				e.SetEscapeHTML(false)
				if err := e.Encode(changed); err != nil {
					return nil, err
				}
				out.Truncate(out.Len() - 1) // the line break
				copied = d.InputOffset()
			}
		}
		at.keyed = false
	}
	out.Write(text[copied:])
	return out.Bytes(), nil
}
