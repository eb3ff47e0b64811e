package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// decode decodes raw, the value at path, into the struct that into points to. Then it checks the
// limits in the tags of the struct. A key that the struct does not have is a fault, unless others
// contains it. A faulty value is reported and keeps its default. decode returns false if there was
// nothing to decode.
func (l *loader) decode(path string, raw, into any, others ...string) bool {
	clean, ok := l.shape(path, raw, reflect.TypeOf(into).Elem(), others)
	if !ok {
		return false
	}
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", DecodeHook: mapstructure.DecodeHookFuncValue(l.hook), IgnoreUntaggedFields: true,
		MatchName: func(key, field string) bool { return key == field },
	})
	if err == nil {
		err = dec.Decode(clean)
	}
	l.undecodable(path, err)
	l.limits(path, into)
	return true
}

// shape compares raw with the type that it will be decoded into. It reports values that do not fit
// and leaves them out.
func (l *loader) shape(path string, raw any, t reflect.Type, others []string) (any, bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if raw == nil {
		l.badKey(path, "has no value").hint("give one, or remove the key")
		return nil, false
	}
	switch t.Kind() {
	case reflect.Struct:
		m, ok := raw.(map[string]any)
		if !ok {
			l.bad(path, "needs keys below it (%s), not %s", strings.Join(keysOf(t), ", "), shapeOf(raw))
			return nil, false
		}
		return l.fields(path, m, t, others), true
	case reflect.Map:
		m, ok := raw.(map[string]any)
		if !ok {
			l.bad(path, "needs a mapping such as {name: value}, not %s", shapeOf(raw))
			return nil, false
		}
		clean := map[string]any{}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if v, ok := l.shape(join(path, safeKey(key)), m[key], t.Elem(), nil); ok {
				clean[key] = v
			}
		}
		return clean, true
	case reflect.Slice:
		list, ok := raw.([]any)
		if one, scalar := raw.(string); scalar && t.Elem().Kind() != reflect.Struct {
			if v, ok := l.shape(path, one, t.Elem(), nil); ok { // one value is a list of one
				return []any{v}, true
			}
			return nil, false
		}
		if !ok {
			l.bad(path, "needs a list such as [a, b], not %s", shapeOf(raw))
			return nil, false
		}
		clean := []any{}
		for i, e := range list {
			if v, ok := l.shape(item(path, i), e, t.Elem(), nil); ok {
				clean = append(clean, v)
			}
		}
		return clean, len(clean) == len(list)
	}
	text, ok := raw.(string)
	if !ok {
		l.bad(path, "needs a single value, not %s", shapeOf(raw))
		return nil, false
	}
	if l.variables && envRef.MatchString(text) && !expands.MatchString(path) {
		l.bad(path, "${NAME} is not replaced here").
			hint("write the value itself, because variables work only in passwords of targets, sources and modules, and in proxy and websocket.headers of a profile")
		return nil, false
	}
	return raw, true
}

// fields does the work of shape for a mapping. It keeps the keys that the struct has and whose
// values fit.
func (l *loader) fields(path string, m map[string]any, t reflect.Type, others []string) map[string]any {
	clean := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if i := fieldOf(t, key); i >= 0 {
			if v, ok := l.shape(join(path, key), m[key], t.Field(i).Type, nil); ok {
				clean[key] = v
			}
		}
	}
	l.unknownKeys(path, m, t, others)
	return clean
}

// unknownKeys reports a fault for every key of a mapping that neither its section nor others has.
func (l *loader) unknownKeys(path string, m map[string]any, t reflect.Type, others []string) {
	known := slices.Concat(keysOf(t), others)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if slices.Contains(known, key) {
			continue
		}
		switch p, home := join(path, safeKey(key)), l.belongs(key, m, t); {
		case safeKey(key) != key:
			l.badKey(p, "not a key").hint(`write "key: value", with a space after the colon`)
		case home != "":
			l.badKey(p, "unknown key").hint("it belongs %s", home)
		case nearest(key, known) != "":
			l.badKey(p, "unknown key").hint("did you mean %s?", nearest(key, known))
		default:
			l.badKey(p, "unknown key").hint("use one of %s", strings.Join(known, ", "))
		}
	}
}

// hook turns the text of a scalar into the value of a field.
func (l *loader) hook(from, to reflect.Value) (any, error) {
	switch to.Kind() {
	case reflect.Pointer:
		if to.IsNil() {
			to.Set(newBlock(to.Type().Elem()))
		}
	case reflect.Slice, reflect.Map:
		to.SetZero() // a list replaces the default list and is not merged with it
		if from.Len() == 0 {
			return nil, nil // empty is the same as absent
		}
	}
	if from.Kind() != reflect.String {
		return from.Interface(), nil
	}
	text := from.String()
	if to.Type() == reflect.TypeFor[time.Duration]() {
		return parseDuration(text)
	}
	switch to.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return nil, errors.New("needs true or false")
		}
		return text == "true", nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, to.Type().Bits())
		return n, numberError(text, "a whole number", strconv.FormatUint(1<<(to.Type().Bits()-1)-1, 10), err)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, to.Type().Bits())
		return n, numberError(text, "a whole number, not negative", strconv.FormatUint(1<<to.Type().Bits()-1, 10), err)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err == nil && (math.IsNaN(x) || math.IsInf(x, 0)) {
			err = strconv.ErrSyntax
		}
		return x, numberError(text, "a number", "1e308", err)
	}
	return text, nil
}

func numberError(text, want, most string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return errors.New("is out of range: at most " + most)
	}
	return fmt.Errorf("%sneeds %s", numeral(text), want)
}

var bareNumber = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]+)?$`)

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case bareNumber.MatchString(text):
		return 0, fmt.Errorf("%s has no unit: write %ss", text, text)
	case err != nil:
		return 0, fmt.Errorf("%sneeds a number with a unit, such as 500ms, 15s, 5m or 1h30m", numeral(text))
	}
	return d, nil
}

var startsAsNumber = regexp.MustCompile(`^[+-]?[0-9]+[a-zµ ]{0,8}$`)

// numeral returns a faulty number for use in a message. It returns "" for any other text, because
// that text may be a misplaced secret.
func numeral(text string) string {
	if startsAsNumber.MatchString(text) {
		return text + ": "
	}
	return ""
}

// undecodable reports the faults that the hook found.
func (l *loader) undecodable(path string, err error) {
	switch e := err.(type) {
	case nil:
	case *mapstructure.DecodeError:
		if _, ok := e.Unwrap().(mapstructure.Error); ok {
			l.bad(join(path, e.Name()), "has the wrong type") // the library's text may contain values
			return
		}
		l.bad(join(path, e.Name()), "%s", e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			l.undecodable(path, one)
		}
	case interface{ Unwrap() error }:
		l.undecodable(path, e.Unwrap())
	default:
		l.bad(path, "cannot be decoded")
	}
}

// keysOf returns the keys of a section.
func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		if k := t.Field(i).Tag.Get("koanf"); k != "" {
			keys = append(keys, k)
		}
	}
	return keys
}

// fieldOf returns the index of the field of a key, or -1 if there is none.
func fieldOf(t reflect.Type, key string) int {
	for i := range t.NumField() {
		if key != "" && t.Field(i).Tag.Get("koanf") == key {
			return i
		}
	}
	return -1
}

func shapeOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	case nil:
		return "nothing"
	}
	return "a single value"
}
