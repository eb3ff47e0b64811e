package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"

	"github.com/pingreq/pingreq/synthetic"
)

// Source is where a configuration comes from.
type Source struct {
	// Path is the path of the YAML file. If it is empty, Load reads Bytes instead.
	Path string
	// Bytes are YAML.
	Bytes []byte
	// Name stands for the file in faults about Bytes. Relative paths in Bytes start at its
	// directory.
	Name string
	// Env is the environment, in the form of os.Environ. Nil is an empty environment.
	Env []string
	// Flags are the values of flags, by dotted key such as "agent.id". They override all other
	// layers. A list is given as a whole, as []any.
	Flags map[string]any
	// Reserved are the names that a target's labels must not have.
	Reserved []string
	// Catalog has the kinds of probes to choose from, and the probes that run if none is
	// configured. The entries of the plan share its kinds.
	Catalog synthetic.Catalog
}

// envPrefix begins the names of variables that set keys. envNesting replaces the dot of a key.
const (
	envPrefix  = "PINGREQ_"
	envNesting = "__"
	maxConfig  = 16 << 20 // bytes
)

// Load reads, checks and completes a configuration. The error is [Errors] with every fault. Load
// also reads the files that keys name, to check them. A target whose name cannot be resolved is not
// a fault, because the probes measure that.
func Load(src Source) (*Config, Warnings, error) {
	name := src.Name
	if src.Path != "" {
		name = src.Path
		b, err := readConfig(src.Path)
		if err != nil {
			return nil, nil, Errors{{File: src.Path, Problem: err.Error()}}
		}
		src.Bytes = b
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, nil, Errors{{File: name, Problem: "the working directory does not exist any more"}}
	}
	l := &loader{
		findings: newFindings(name), dir: dir, env: environment(src.Env), referenced: map[string]bool{}, profilePath: map[string]string{},
		reserved: src.Reserved, catalog: src.Catalog, validate: newValidator(),
	}
	raw, ok := l.layers(src)
	if !ok {
		return nil, nil, l.sorted()
	}
	c := l.config(raw)
	l.strangers(src.Env)
	if len(l.faults) > 0 {
		return nil, l.remarks(), l.sorted()
	}
	return c, l.remarks(), nil
}

// readConfig reads the configuration file, which may be a pipe. Its errors do not contain the path.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err == nil {
		defer func() { _ = f.Close() }() // only read
		var b []byte
		if b, err = io.ReadAll(io.LimitReader(f, maxConfig+1)); err == nil && len(b) <= maxConfig {
			return b, nil
		} else if err == nil {
			return nil, fmt.Errorf("the file is larger than %d MiB", maxConfig>>20)
		}
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return nil, fmt.Errorf("the file cannot be read: %w", err)
}

// loader turns layers of raw values into a Config and collects faults.
type loader struct {
	*findings
	dir        string            // of the file
	env        map[string]string // the environment
	referenced map[string]bool   // variables that a ${NAME} names
	// profilePath is the path of each profile, by name.
	profilePath map[string]string
	reserved    []string
	catalog     synthetic.Catalog
	validate    *validator.Validate
}

// layers merges file, environment and flags. The defaults are already in the structs that the
// values are decoded into. It returns false if the file is not YAML or cannot be used as a whole.
func (l *loader) layers(src Source) (map[string]any, bool) {
	k := koanf.New(".")
	doc := &document{findings: l.findings}
	text := bytes.TrimPrefix(src.Bytes, []byte("\xef\xbb\xbf"))
	if err := k.Load(rawbytes.Provider(text), doc); err != nil || doc.unusable {
		return nil, false
	}
	if v := k.Get("agent"); k.Exists("agent") && shapeOf(v) != "a mapping" {
		l.shape("agent", v, reflect.TypeFor[Agent](), nil) // now, because a variable below agent would replace it
		k.Delete("agent")
	}
	if err := errors.Join(k.Load(l.fromEnv(src.Env), nil), k.Load(l.fromFlags(src.Flags), nil)); err != nil {
		l.bad("", "the environment and the flags cannot be loaded") // unreachable, because maps do not fail
		return nil, false
	}
	return k.Raw(), true
}

// environment returns the environment as a map.
func environment(environ []string) map[string]string {
	m := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			m[name] = value
		}
	}
	return m
}

// fromEnv provides the variables that set a key.
func (l *loader) fromEnv(environ []string) koanf.Provider {
	return env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key := envKey(name)
			if !slices.Contains(envKeys(), key) {
				return "", nil
			}
			l.origin[key] = name
			return key, value
		},
	})
}

// envKey returns the key that a variable sets.
func envKey(name string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), envNesting, "."))
}

// envKeys returns the keys that variables can set. No list contains them.
func envKeys() []string {
	var keys []string
	for _, k := range keysOf(reflect.TypeFor[Agent]()) {
		keys = append(keys, "agent."+k)
	}
	return keys
}

// kubernetes matches the variables that Kubernetes sets in every pod if a service is named pingreq.
var kubernetes = regexp.MustCompile(`^PINGREQ_(SERVICE_(HOST|PORT)|PORT)(_|$)`)

// strangers warns about variables with our prefix that set nothing. It does not repeat their
// values.
func (l *loader) strangers(environ []string) {
	for _, name := range slices.Sorted(maps.Keys(environment(environ))) {
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(envKeys(), envKey(name)) || l.referenced[name] || kubernetes.MatchString(name) {
			continue
		}
		var known []string
		for _, k := range envKeys() {
			known = append(known, envPrefix+strings.ToUpper(strings.ReplaceAll(k, ".", envNesting)))
		}
		l.warnings = append(l.warnings, Error{File: name, Problem: "the environment variable sets nothing", Hint: instead(name, known)})
	}
}

// fromFlags provides the values that the caller set.
func (l *loader) fromFlags(flags map[string]any) koanf.Provider {
	m := map[string]any{}
	for key, value := range flags {
		l.origin[key] = "command line"
		m[key] = plain(value)
	}
	return confmap.Provider(m, ".")
}

// plain turns every scalar into text, so that it is like a scalar of the file.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, e := range v {
			m[key] = plain(e)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = plain(e)
		}
		return list
	case nil:
		return nil
	}
	return fmt.Sprint(v)
}
