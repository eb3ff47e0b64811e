package config

import (
	"reflect"
	"slices"
)

// home is a part of the file that has keys.
type home struct {
	keys   reflect.Type
	at, of string // how a sentence says that a key belongs there, or to a block of it
}

// belongs says where a key belongs that is unknown in the mapping m at a section of type t, such as
// "under tls" or "to a profile". It returns "" if no other part of the file has the key.
func (l *loader) belongs(key string, m map[string]any, t reflect.Type) string {
	blocks := blocksWith(key, t, "")
	if t == reflect.TypeFor[probeSection]() {
		blocks = append(blocks, l.optionsWith(key, m)...)
	}
	if len(blocks) > 0 {
		return "under " + enumerate(blocks, "or")
	}
	if !l.variables { // the file is not an agent's
		return ""
	}
	homes := []home{{reflect.TypeFor[Agent](), "under agent", "agent"}, {reflect.TypeFor[Metrics](), "under metrics", "metrics"},
		{reflect.TypeFor[targetSection](), "to a target", "a target"}, {reflect.TypeFor[profileSection](), "to a profile", "a profile"},
		{reflect.TypeFor[probeSection](), "to a probe", "a probe"}}
	var places []string
	for _, h := range homes {
		if h.keys != t && fieldOf(h.keys, key) >= 0 {
			places = append(places, h.at)
		}
	}
	for _, h := range homes {
		if len(places) > 0 {
			break
		}
		for _, block := range blocksWith(key, h.keys, "") {
			places = append(places, "under "+block+" of "+h.of)
		}
	}
	if len(places) == 0 {
		for _, block := range l.optionsWith(key, nil) {
			places = append(places, "under "+block+" of a probe")
		}
	}
	return enumerate(places, "or")
}

// optionsWith returns the blocks of options that have a key. They are those of the kind that the probe m
// has, or of all kinds if it has none.
func (l *loader) optionsWith(key string, m map[string]any) (blocks []string) {
	for _, k := range l.catalog.Kinds {
		if kind, ok := m["kind"]; ok && kind != k.Name {
			continue
		}
		options := reflect.TypeOf(k.Options()).Elem()
		if fieldOf(options, key) >= 0 {
			blocks = append(blocks, k.Name)
		} else {
			blocks = append(blocks, blocksWith(key, options, k.Name)...)
		}
	}
	return blocks
}

// blocksWith returns the blocks inside a section that have a key. above is the path of the section.
func blocksWith(key string, t reflect.Type, above string) (blocks []string) {
	for _, name := range keysOf(t) {
		f := t.Field(fieldOf(t, name)).Type
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		switch path := join(above, name); {
		case f.Kind() != reflect.Struct:
		case slices.Contains(keysOf(f), key):
			blocks = append(blocks, path)
		default:
			blocks = append(blocks, blocksWith(key, f, path)...)
		}
	}
	return blocks
}
