package config

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

	"github.com/pingreq/pingreq/internal/files"
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

// MaxFile is the largest size of a configuration file in bytes. 500 targets need about a tenth of it.
const MaxFile = 2 << 20

// envPrefix begins the names of variables that set keys. envNesting replaces the dot of a key.
const (
	envPrefix  = "PINGREQ_"
	envNesting = "__"
)

// Load reads, checks and completes a configuration. The error is [Errors] with every fault. Load
// also reads the files that keys name, to check them. A target whose name cannot be resolved is not
// a fault, because the probes measure that. If ctx is done while a file is read, the error is that of
// ctx.
func Load(ctx context.Context, src Source) (*Config, Warnings, error) {
	l, text, err := open(ctx, src.Path, src.Bytes, src.Name)
	if err != nil {
		return nil, nil, err
	}
	src.Bytes = text
	l.variables, l.env, l.reserved, l.catalog = true, environment(src.Env), src.Reserved, src.Catalog
	raw, ok := l.layers(src)
	if !ok {
		return nil, nil, l.sorted()
	}
	c := l.config(raw)
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	l.strangers(src.Env)
	if len(l.faults) > 0 {
		return nil, l.remarks(), l.sorted()
	}
	return c, l.remarks(), nil
}

// open returns a loader and the text of a file, or of bytes that stand for a file of this name.
func open(ctx context.Context, path string, text []byte, name string) (*loader, []byte, error) {
	if path != "" {
		name = path
		b, err := readConfig(ctx, path)
		switch {
		case ctx.Err() != nil:
			return nil, nil, fmt.Errorf("the configuration was not read to its end: %w", err)
		case err != nil:
			return nil, nil, Errors{{File: path, Problem: err.Error()}}
		}
		text = b
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, nil, Errors{{File: name, Problem: "the working directory does not exist any more"}}
	}
	return &loader{
		ctx:      ctx,
		findings: newFindings(name), dir: dir, referenced: map[string]bool{}, profilePath: map[string]string{}, validate: newValidator(),
	}, text, nil
}

// readConfig reads the configuration file, which may be a pipe. Its errors do not contain the path.
func readConfig(ctx context.Context, path string) ([]byte, error) {
	f, err := new(files.Reader).ReadOrPipe(ctx, path, MaxFile)
	if unfit, ok := errors.AsType[files.Error](err); ok {
		return nil, fmt.Errorf("the file %w", unfit)
	} else if err != nil {
		return nil, fmt.Errorf("the file cannot be read: %w", err)
	}
	return f.Content, nil
}

// loader turns layers of raw values into a Config and collects faults.
type loader struct {
	*findings
	ctx        context.Context
	files      files.Reader
	dir        string            // of the file
	env        map[string]string // the environment
	variables  bool              // some values may name variables: the file is an agent's
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
	k, ok := l.parsed(src.Bytes, "targets and probes")
	if !ok {
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

// parsed returns the layer of the file. keys are examples of its keys, for a message. It returns false
// if the file is not YAML or cannot be used as a whole.
func (l *loader) parsed(text []byte, keys string) (*koanf.Koanf, bool) {
	k := koanf.New(".")
	doc := &document{findings: l.findings, examples: keys}
	err := k.Load(rawbytes.Provider(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))), doc)
	return k, err == nil && !doc.unusable
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
	t := reflect.TypeFor[Agent]()
	for i, k := range keysOf(t) {
		if t.Field(i).Type.Kind() != reflect.Slice {
			keys = append(keys, "agent."+k)
		}
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
