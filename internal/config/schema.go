package config

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	"github.com/pingreq/pingreq/synthetic"
)

const (
	schemaID        = "https://raw.githubusercontent.com/pingreq/pingreq/main/docs/config.schema.json"
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	hostPattern     = `(\[[^\]/@]+\]|[^/:@?#\[\]]+)(:[1-9][0-9]{0,4})?`
	urlPattern      = `^(mqtts?|tcp|ssl|tls)://` + hostPattern + `/?$|^wss?://` + hostPattern + `([/?][^#]*)?$|^unix:///.+$`
	labelPattern    = `^([a-zA-Z][a-zA-Z0-9_]*|_([a-zA-Z0-9][a-zA-Z0-9_]*)?)$` // without __, which is reserved to Prometheus
	headerPattern   = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"                          // [RFC 9110 5.6.2]
)

// Schema returns the JSON Schema (draft 2020-12) of the file, for editors. The schema does not
// check rules about more than one value, such as the name of a target in a list.
func Schema(catalog synthetic.Catalog) ([]byte, error) {
	texts := descriptions(catalog)
	root := schemaOf(reflect.ValueOf(sections{
		Agent: defaultAgent(), Metrics: defaultMetrics(), Targets: []targetSection{defaultTarget()}, Discovery: []discoverySection{defaultDiscovery()}, Profiles: []profileSection{defaultProfile()}, Probes: []probeSection{{}}, Modules: []moduleSection{defaultModule(5 * time.Second)},
	}), texts)
	root.Version, root.ID, root.Title = jsonschema.Version, schemaID, "Configuration of pingreq"
	targets := property(root, "targets").Items
	property(targets, "url").Pattern = urlPattern
	property(targets, "labels").PropertyNames = &jsonschema.Schema{Pattern: labelPattern}
	property(targets, "tls").DependentRequired = map[string][]string{"cert_file": {"key_file"}, "key_file": {"cert_file"}}
	for _, key := range []string{"targets", "discovery"} { // at least one of them is not empty
		one, some := uint64(1), jsonschema.NewProperties()
		some.Set(key, &jsonschema.Schema{MinItems: &one})
		root.AnyOf = append(root.AnyOf, &jsonschema.Schema{Required: []string{key}, Properties: some})
	}
	sources := property(root, "discovery").Items
	for _, kind := range []string{"file", "http", "dns"} {
		sources.OneOf = append(sources.OneOf, &jsonschema.Schema{Required: []string{kind}})
	}
	template := property(sources, "template")
	property(template, "labels").PropertyNames = &jsonschema.Schema{Pattern: labelPattern}
	pairs := map[string][]string{"cert_file": {"key_file"}, "key_file": {"cert_file"}}
	property(template, "tls").DependentRequired = pairs
	property(property(sources, "http"), "tls").DependentRequired = pairs
	property(property(sources, "http"), "url").Pattern = `^https?://[^/@?#]+([/?][^#]*)?$`
	property(property(sources, "file"), "files").AnyOf[0].Items.Pattern = `\.(json|ya?ml)$`
	profiles := property(root, "profiles").Items
	property(property(profiles, "websocket"), "headers").PropertyNames = &jsonschema.Schema{Pattern: headerPattern}
	pattern(property(profiles, "proxy"), proxyPattern, true)
	addKinds(property(root, "probes").Items, catalog, texts)
	addKinds(property(root, "modules").Items, catalog, texts)
	property(property(root, "modules").Items, "tls").DependentRequired = pairs
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

// addKinds adds the blocks of the kinds to the schema of a probe. Each block is allowed for its
// kind only.
func addKinds(probe *jsonschema.Schema, catalog synthetic.Catalog, texts *strings.Replacer) {
	for _, k := range catalog.Kinds {
		block := schemaOf(reflect.ValueOf(k.Options()), texts)
		block.Description = "options of kind " + k.Name
		probe.Properties.Set(k.Name, block)

		kind := property(probe, "kind")
		kind.Enum = append(kind.Enum, k.Name)

		without := jsonschema.NewProperties()
		for _, other := range catalog.Names() {
			if other != k.Name {
				without.Set(other, jsonschema.FalseSchema)
			}
		}
		if k.Held() {
			without.Set("interval", jsonschema.FalseSchema)
		}
		is := jsonschema.NewProperties()
		is.Set("kind", &jsonschema.Schema{Const: k.Name})
		probe.AllOf = append(probe.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"kind"}},
			Then: &jsonschema.Schema{Properties: without},
		})
	}
}

// schemaOf returns the schema of a section. The values in the section are the defaults.
func schemaOf(v reflect.Value, texts *strings.Replacer) *jsonschema.Schema {
	v = reflect.Indirect(v)
	r := jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, RequiredFromJSONSchemaTags: true, FieldNameTag: "koanf",
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t != reflect.TypeFor[time.Duration]() {
				return nil
			}
			return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
		},
		LookupComment: func(t reflect.Type, field string) string {
			if field == "" { // the type itself
				return ""
			}
			f, _ := t.FieldByName(field)
			return texts.Replace(f.Tag.Get("desc"))
		},
	}
	s := r.ReflectFromType(v.Type())
	s.Version = ""
	decorate(s, v)
	return s
}

// decorate adds limits and defaults to the properties of a section.
func decorate(s *jsonschema.Schema, v reflect.Value) {
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		p := property(s, f.Tag.Get("koanf"))
		if p == nil {
			continue
		}
		if strings.HasPrefix(f.Tag.Get("validate"), "required") {
			s.Required = append(s.Required, f.Tag.Get("koanf"))
		}
		limit(p, f.Type, f.Tag.Get("validate"))
		if field.Kind() == reflect.Pointer {
			decorate(p, newBlock(field.Type().Elem()).Elem())
			continue
		}
		switch {
		case field.Kind() == reflect.Struct:
			decorate(p, field)
		case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct:
			decorate(p.Items, field.Index(0))
		case field.Type() == reflect.TypeFor[time.Duration]():
			p.Default = duration(time.Duration(field.Int()))
		case field.Type() == reflect.TypeFor[[]time.Duration]():
			var texts []string
			for i := range field.Len() {
				texts = append(texts, duration(time.Duration(field.Index(i).Int())))
			}
			p.Default = texts
		case field.Kind() != reflect.Map && (field.Kind() != reflect.String && field.Kind() != reflect.Slice || field.Len() > 0):
			p.Default = field.Interface()
		}
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() != reflect.Struct {
			orSingle(p)
		}
	}
}

// orSingle also allows a single value in place of a list with one entry.
func orSingle(s *jsonschema.Schema) {
	list := *s
	list.Description, list.Default = "", nil
	*s = jsonschema.Schema{Description: s.Description, Default: s.Default, AnyOf: []*jsonschema.Schema{&list, list.Items}}
}

// limit adds the limits of a `validate` tag.
func limit(s *jsonschema.Schema, t reflect.Type, tag string) {
	optional := false
	for tag != "" {
		var one string
		one, tag, _ = strings.Cut(tag, ",")
		name, param, _ := strings.Cut(one, "=")
		number := t.Kind() != reflect.String && t.Kind() != reflect.Slice && t != reflect.TypeFor[time.Duration]()
		switch r, ours := rules[name]; {
		case ours && r.words != nil:
			s.Enum = anys(r.words())
		case ours:
			pattern(s, r.pattern.String(), optional)
		case name == "dive":
			limit(s.Items, t.Elem(), tag)
			return
		case name == "omitempty":
			optional = true
		case name == "oneof":
			s.Enum = anys(strings.Fields(param))
			if optional {
				s.Enum = append(s.Enum, "")
			}
			if slicesHaveNumbers(s.Enum) {
				s.Type = "" // 1.2 without quotes means the same as "1.2"
			}
		case name == "startswith":
			pattern(s, "^"+param, optional)
		case name == "unique":
			s.UniqueItems = true
		case name == "gt":
			s.ExclusiveMinimum = json.Number(param)
		case name == "min" && number:
			s.Minimum = json.Number(param)
		case name == "max" && number:
			s.Maximum = json.Number(param)
		case name == "min" && t.Kind() == reflect.Slice:
			s.MinItems = count(param)
		case name == "max" && t.Kind() == reflect.Slice:
			s.MaxItems = count(param)
		case name == "max" && t.Kind() == reflect.String:
			s.MaxLength = count(param)
		}
	}
}

// pattern sets the pattern of a text. An optional text may be empty.
func pattern(s *jsonschema.Schema, p string, optional bool) {
	s.Pattern = p
	if optional {
		s.Pattern = "^$|" + p
	}
}

// anys returns the words. For a word that is a number it also returns the number, because YAML
// reads 1.2 without quotes as a number.
func anys(words []string) []any {
	var values []any
	for _, w := range words {
		values = append(values, w)
		if _, err := strconv.ParseFloat(w, 64); err == nil {
			values = append(values, json.Number(w))
		}
	}
	return values
}

func slicesHaveNumbers(values []any) bool {
	for _, v := range values {
		if _, ok := v.(json.Number); ok {
			return true
		}
	}
	return false
}

func count(param string) *uint64 {
	n, err := strconv.ParseUint(param, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// property returns a property of a schema, or nil if there is none.
func property(s *jsonschema.Schema, key string) *jsonschema.Schema {
	p, _ := s.Properties.Get(key)
	return p
}
