package config

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/pingreq/pingreq/internal/monitoring"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/probe"
)

var unused = regexp.MustCompile(`(?m)^( *)#([^ ])`)

// uncommented returns the reference with the "#" before every key removed.
func uncommented() string { return unused.ReplaceAllString(string(Reference(probe.Catalog())), "$1$2") }

// TestReferenceLoads loads the reference as it is and uncommented, and expects the same result.
func TestReferenceLoads(t *testing.T) {
	for name, text := range map[string]string{"as it is": string(Reference(probe.Catalog())), "uncommented": uncommented()} {
		c, warnings, err := loadText(text)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, warnings %v", name, err, warnings)
			continue
		}
		if got := c.Targets[0]; got.Name != "broker" || got.ConnectRate != 5 {
			t.Errorf("%s: target %+v", name, got)
		}
		if p := c.Profiles[0]; !reflect.DeepEqual(p, profileOf(t, "targets: [{name: a, url: \"mqtt://a\"}]")) {
			t.Errorf("%s: the profile differs from the default one: %+v", name, p)
		}
	}
}

func profileOf(t *testing.T, text string) synthetic.Profile {
	t.Helper()
	c, _, err := loadText(text)
	if err != nil {
		t.Fatal(err)
	}
	return c.Profiles[0]
}

// TestReferenceNamesEveryKey expects every key of the sections and of the options of every kind.
func TestReferenceNamesEveryKey(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal([]byte(uncommented()), &root); err != nil {
		t.Fatal(err)
	}
	named(t, "", root, reflect.TypeFor[sections]())
	for _, k := range probe.Catalog().Kinds {
		found := false
		for _, p := range root["probes"].([]any) {
			if block, ok := p.(map[string]any)[k.Name]; ok {
				named(t, k.Name, block, reflect.TypeOf(k.Options()).Elem())
				found = true
			}
		}
		if !found {
			t.Errorf("no block of kind %s", k.Name)
		}
	}
}

// named fails for every key of a section that is missing in a value, and for every field without
// documentation.
func named(t *testing.T, path string, value any, section reflect.Type) {
	t.Helper()
	m, ok := value.(map[string]any)
	if !ok {
		t.Errorf("%s is not a mapping", path)
		return
	}
	for i := range section.NumField() {
		f := section.Field(i)
		key := f.Tag.Get("koanf")
		if key == "" || f.Tag.Get("desc") == "" {
			t.Errorf("%s.%s has no key or no documentation", section, f.Name)
		}
		below, ok := m[key]
		if !ok {
			t.Errorf("the reference does not name %s", join(path, key))
			continue
		}
		typ := f.Type
		if list, ok := below.([]any); ok && typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct {
			all := map[string]any{} // what any of the entries has
			for _, e := range list {
				maps.Copy(all, e.(map[string]any))
			}
			below, typ = all, typ.Elem()
		}
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if typ.Kind() == reflect.Struct {
			named(t, join(path, key), below, typ)
		}
	}
}

// TestRulesHaveWords fails for a limit in a tag that has no message.
func TestRulesHaveWords(t *testing.T) {
	known := []string{"", "omitempty", "required", "dive", "oneof", "min", "max", "gt", "unique", "ip", "startswith", "seconds"}
	for name := range rules {
		known = append(known, name)
	}
	var walk func(reflect.Type)
	walk = func(section reflect.Type) {
		for section.Kind() == reflect.Pointer || section.Kind() == reflect.Slice {
			section = section.Elem()
		}
		if section.Kind() != reflect.Struct {
			return
		}
		for i := range section.NumField() {
			for rule := range strings.SplitSeq(section.Field(i).Tag.Get("validate"), ",") {
				if name, _, _ := strings.Cut(rule, "="); !slices.Contains(known, name) {
					t.Errorf("%s.%s: no message for the limit %q", section, section.Field(i).Name, name)
				}
			}
			walk(section.Field(i).Type)
		}
	}
	walk(reflect.TypeFor[sections]())
	walk(reflect.TypeFor[monitoring.Config]())
	walk(reflect.TypeFor[monitoring.Alert]())
	for _, k := range probe.Catalog().Kinds {
		walk(reflect.TypeOf(k.Options()))
	}
}

// beyondSchema are the bad files whose faults a schema cannot find. To find them, one must also
// look at other values, files or the environment.
var beyondSchema = []string{
	// the content of a file or a variable
	"discovery-http-files", "ca-file-broken", "ca-file-missing", "ca-file-without-certificate", "cert-and-key-differ", "cert-missing", "key-broken", "key-encrypted",
	"key-is-cert", "key-missing", "option-file", "password-file-directory", "password-file-empty", "password-file-missing", "password-variable-missing",
	// other values
	"duplicate-probe", "duplicate-profile", "duplicate-target", "keepalive-bounds", "password-twice", "password-without-username-311",
	"client-ids-too-few", "discovery-client-ids", "discovery-dns-port", "discovery-name-of-target", "discovery-template-311", "shard-index", "receive-at-unknown", "session-expiry-311", "source-address-family", "timeout-longer", "timeout-longer-than-default", "tls-cipher-no-effect",
	"tls-order", "refuse-tls", "refuse-nothing", "refuse-expect", "unknown-profile", "unknown-target",
	// the length of a duration
	"keepalive-fraction", "keepalive-range", "short-interval", "zero-interval",
	// the names that the caller reserves, and the meaning of a text
	"label-reserved", "header-credentials", "header-line-break", "header-of-handshake", "source-address",
	// the needs of a profile
	"halfopen-keepalive", "halfopen-timeout",
	// a variable in a free text
	"variable-elsewhere",
	// YAML syntax: a schema sees only the values
	"tag", "two-documents",
}

// TestSchemaJudgesAlike expects that the good files, their printed form and the reference are
// valid. It expects a fault in every bad file, except those in beyondSchema.
func TestSchemaJudgesAlike(t *testing.T) {
	schema := compiled(t)
	for _, file := range append(inputs(t, "good"), mustGlob(t, "testdata/good/*.print")...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(schema, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, text := range map[string]string{"reference": string(Reference(probe.Catalog())), "uncommented": uncommented()} {
		if err := valid(schema, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, file := range inputs(t, "bad") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		beyond := slices.Contains(beyondSchema, strings.TrimSuffix(filepath.Base(file), ".yaml"))
		if err := valid(schema, text); (err == nil) != beyond {
			t.Errorf("%s: beyond the schema: %v, but the result is: %v", file, beyond, err)
		}
	}
}

func mustGlob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", pattern, err)
	}
	return files
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := Schema(probe.Catalog())
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, b, schemaID)
}

func compile(t *testing.T, text []byte, id string) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(id, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valid reads YAML as editors do and validates it.
func valid(s *jsonschema.Schema, text []byte) error {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}
