package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/synthetic"
)

const referenceHead = `# Every key of the configuration of pingreq, with its default.
#
# To use a key, remove the "#" directly before it. Lines that begin with "# " are explanations.
# Only targets or discovery is required. Durations need a unit: 500ms, 15s, 5m, 1h30m.
`

// Reference returns a configuration file with every key, its default and its documentation. The
// file can be loaded as it is, and also after the "#" before every key is removed.
func Reference(catalog synthetic.Catalog) []byte {
	w := &referenceWriter{texts: descriptions(catalog)}
	w.b.WriteString(referenceHead)
	root := reflect.TypeFor[sections]()
	for i := range root.NumField() {
		f := root.Field(i)
		w.b.WriteString("\n")
		w.explain("", f)
		switch f.Tag.Get("koanf") {
		case "agent":
			w.b.WriteString("#agent:\n")
			w.section("  ", "  ", reflect.ValueOf(defaultAgent()), nil)
		case "metrics":
			w.b.WriteString("#metrics:\n")
			w.section("  ", "  ", reflect.ValueOf(defaultMetrics()), nil)
		case "targets":
			t := defaultTarget()
			t.Name, t.URL = "broker", "mqtt://broker.example:1883"
			w.b.WriteString("targets:\n")
			w.section("  - ", "    ", reflect.ValueOf(t), map[string]bool{"name": true, "url": true})
		case "discovery":
			w.b.WriteString("#discovery:\n")
			for _, s := range exampleSources() {
				w.section("  - ", "    ", reflect.ValueOf(s), nil)
			}
		case "profiles":
			w.b.WriteString("#profiles:\n")
			w.section("  - ", "    ", reflect.ValueOf(defaultProfile()), nil)
		case "modules":
			w.b.WriteString("#modules:\n")
			if len(catalog.Kinds) > 0 {
				w.module(catalog.Kinds[0])
			}
		case "probes":
			w.b.WriteString("#probes:\n")
			for _, k := range catalog.Kinds {
				w.probe(k)
			}
		}
	}
	return []byte(w.b.String())
}

// exampleSources returns a source of each kind.
func exampleSources() []discoverySection {
	file, http, dns := defaultDiscovery(), defaultDiscovery(), defaultDiscovery()
	file.Name, file.File = "files", &fileSection{Files: []string{"targets/*.json"}}
	file.File.SetDefaults()
	http.Name, http.HTTP = "server", &httpSection{URL: "https://inventory.example/brokers"}
	http.HTTP.SetDefaults()
	dns.Name, dns.DNS = "records", &dnsSection{Names: []string{"_mqtt._tcp.example.com"}}
	dns.DNS.SetDefaults()
	return []discoverySection{file, http, dns}
}

// referenceWriter writes sections as YAML with comments.
type referenceWriter struct {
	b     strings.Builder
	texts *strings.Replacer
}

// probe writes a probe with the block of its kind.
func (w *referenceWriter) probe(k synthetic.Kind) {
	p := defaultProbe(k.Schedule)
	if !k.EndsAnytime() {
		p.Timeout = wholeSeconds(k.Needs(synthetic.DefaultProfile(), k.Options()))
		p.Interval = max(p.Interval, p.Timeout)
	}
	p.Name, p.Kind, p.Targets, p.Profiles = k.Name, k.Name, []string{"broker"}, []string{"default"}
	fmt.Fprintf(&w.b, "\n  # Kind %s: %s\n", k.Name, k.Help)
	w.section("  - ", "    ", reflect.ValueOf(p), nil)
	fmt.Fprintf(&w.b, "    # the options of kind %s\n    #%s:\n", k.Name, k.Name)
	w.section("      ", "      ", reflect.ValueOf(k.Example()), nil)
}

// module writes a module of a kind.
func (w *referenceWriter) module(k synthetic.Kind) {
	m := defaultModule(k.Schedule.Timeout)
	m.Name, m.Kind, m.Targets = k.Name+"-tls", k.Name, []string{"mqtts://*.example.com:8883"}
	w.section("  - ", "    ", reflect.ValueOf(m), nil)
	fmt.Fprintf(&w.b, "    # the options of kind %s\n    #%s:\n", k.Name, k.Name)
	w.section("      ", "      ", reflect.ValueOf(k.Example()), nil)
}

// section writes the fields of a section. The first field has the indent first, the others have the
// indent rest. Keys that are not in live are commented out.
func (w *referenceWriter) section(first, rest string, v reflect.Value, live map[string]bool) {
	v = reflect.Indirect(v)
	for i := range v.NumField() {
		f, field := v.Type().Field(i), reflect.Indirect(v.Field(i))
		key := f.Tag.Get("koanf")
		if key == "" || key == "interval" && field.IsZero() && f.Tag.Get("validate") != "" && v.Type() == reflect.TypeFor[probeSection]() {
			continue // because a kind that is kept alive has no interval
		}
		indent, mark := rest, "#"
		if i == 0 {
			indent = first
		}
		if live[key] {
			mark = ""
		}
		// The mark is where the text begins, so that removing it keeps the indent.
		hyphen := strings.TrimLeft(indent, " ")
		spaces := strings.TrimSuffix(indent, hyphen)
		w.explain(spaces, f)
		line := spaces + mark + hyphen + key + ":"
		switch {
		case !field.IsValid(): // another entry of the list has it
			continue
		case field.Kind() == reflect.Struct:
			w.b.WriteString(line + "\n")
			w.section(rest+"  ", rest+"  ", field, nil)
			continue
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct: // with an example
			w.b.WriteString(line + "\n")
			w.section(rest+"  - ", rest+"    ", field.Index(0), nil)
			continue
		}
		w.b.WriteString(line + " " + inline(field) + "\n")
	}
}

// inline returns a value on one line.
func inline(v reflect.Value) string {
	n := encode(v)
	if n.Kind == yaml.MappingNode {
		n.Style = yaml.FlowStyle
	}
	b, err := yaml.Marshal(n)
	if err != nil {
		panic(err) // encode returns only nodes that can be written
	}
	return strings.TrimSpace(string(b))
}

// explain writes the documentation of a field as comment lines.
func (w *referenceWriter) explain(indent string, f reflect.StructField) {
	text := w.texts.Replace(f.Tag.Get("desc"))
	if limits := limitsOf(f); limits != "" {
		text += "; " + limits
	}
	const width = 100
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			w.b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	w.b.WriteString(line + "\n")
}

// limitsOf returns the limits of the `validate` tag of a field in words.
func limitsOf(f reflect.StructField) string {
	var said []string
	tag, choice := f.Tag.Get("validate"), "one of "
	if _, elements, ok := strings.Cut(tag, "dive,"); ok {
		tag, choice = elements, "any of "
	}
	var least, most string
	for rule := range strings.SplitSeq(tag, ",") {
		name, param, _ := strings.Cut(rule, "=")
		switch name {
		case "required":
			said = append(said, "required")
		case "oneof":
			if words := strings.Fields(param); !mentioned(f.Tag.Get("desc"), words) {
				said = append(said, choice+strings.Join(words, ", "))
			}
		case "cipher":
			said = append(said, "any of "+strings.Join(cipherSuites(), ", "))
		case "min":
			least = param
		case "max":
			most = param
		case "gt":
			said = append(said, "more than "+param)
		}
	}
	if f.Type == reflect.TypeFor[time.Duration]() && least == "0" {
		least = "0s"
	}
	switch {
	case f.Type.Kind() == reflect.Slice && !strings.Contains(f.Tag.Get("validate"), "dive"): // they limit the number of entries
	case f.Type.Kind() == reflect.String && most != "":
		said = append(said, "at most "+most+" characters")
	case least != "" && most != "":
		said = append(said, fmt.Sprintf("from %s to %s", least, most))
	case least != "" && least != "0" && least != "0s":
		said = append(said, "at least "+least)
	case most != "":
		said = append(said, "at most "+most)
	}
	return strings.Join(said, ", ")
}

// mentioned reports whether a text contains all the words.
func mentioned(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}
