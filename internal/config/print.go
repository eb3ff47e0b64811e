package config

import (
	"io"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Print writes the effective configuration as YAML. It writes every default, the names of all
// targets where a probe named none, and absolute paths. The result can be loaded again. Print
// writes a secret as the ${NAME} that it came from, never as its value.
func (c *Config) Print(w io.Writer) error {
	root := encode(reflect.ValueOf(c.sections))
	probes := &yaml.Node{Kind: yaml.SequenceNode}
	for _, p := range c.probes {
		n := encode(reflect.ValueOf(p.probeSection))
		if p.Interval == 0 {
			n.Content = without(n.Content, "interval")
		}
		add(n, p.Kind, encode(reflect.ValueOf(p.options)))
		probes.Content = append(probes.Content, n)
	}
	root.Content = without(without(root.Content, "probes"), "modules")
	add(root, "probes", probes)
	modules := &yaml.Node{Kind: yaml.SequenceNode}
	for _, m := range c.modules {
		modules.Content = append(modules.Content, m.encode())
	}
	add(root, "modules", modules)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return err
	}
	return enc.Close()
}

// encode turns a section into a YAML node. It uses the `koanf` tags and keeps the order of fields.
func encode(v reflect.Value) *yaml.Node {
	if d, ok := v.Interface().(time.Duration); ok {
		return scalar(duration(d))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for i := range v.NumField() {
			field := v.Field(i)
			if key := v.Type().Field(i).Tag.Get("koanf"); key != "" && (field.Kind() != reflect.Pointer || !field.IsNil()) {
				add(n, key, encode(field))
			}
		}
		return n
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		if v.Type().Elem().Kind() != reflect.Struct {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Map:
		if v.Len() == 0 {
			return &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		}
	}
	return scalar(v.Interface())
}

// scalar encodes a value that the yaml package can write and quote.
func scalar(v any) *yaml.Node {
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		panic(err) // no section has a type that cannot be encoded
	}
	return n
}

// add appends a key to a mapping.
func add(m *yaml.Node, key string, value *yaml.Node) {
	m.Content = append(m.Content, scalar(key), value)
}

// without returns the content of a mapping without a key.
func without(content []*yaml.Node, key string) []*yaml.Node {
	var kept []*yaml.Node
	for i := 0; i+1 < len(content); i += 2 {
		if content[i].Value != key {
			kept = append(kept, content[i], content[i+1])
		}
	}
	return kept
}

// duration writes d in its short form: 10m, not 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
