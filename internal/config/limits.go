package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"
	"github.com/pingreq/pingreq/internal/dialects"
)

// rule is a `validate` tag of our own that limits a text.
type rule struct {
	pattern *regexp.Regexp  // of a valid text; nil if words decides
	words   func() []string // returns the valid words
	problem string          // with words: what the words are
	hint    string
}

// rules are the limits that validator itself does not have.
var rules = map[string]rule{
	"name": {pattern: plainKey, problem: `may contain only letters, digits, ".", "_" and "-", at most 64 of them`},
	"clientid": {pattern: regexp.MustCompile(`^[0-9A-Za-z-]+$`),
		problem: `may contain only letters, digits and "-", which every broker accepts in a client id`},
	"clientidtemplate": {pattern: regexp.MustCompile(`^([^{}]|\{(agent|target|probe|profile|role|slot|hash)\})+$`),
		problem: "may contain braces only in {agent}, {target}, {probe}, {profile}, {role}, {slot} and {hash}"},
	"fixedid": {pattern: regexp.MustCompile(`^[^+#\x00-\x1f\x7f]{1,256}$`), problem: "is not a client id that pingreq can use in topics",
		hint: `use 1 to 256 characters, without "+", "#" and control characters`},
	"topic": {pattern: regexp.MustCompile(`^[^$/+#\x00-\x1f][^+#\x00-\x1f]*$`), problem: "must be the beginning of a topic",
		hint: `do not use "+" or "#", and do not begin with "$" or "/"`},
	"envref": {pattern: envOnly, problem: "a password must not be written here",
		hint: `use password_file, or "${NAME}" with the environment variable that holds the password`},
	"label": {pattern: labelName, problem: "is not a label name", hint: "use letters, digits and underscores, and do not begin with a digit"},
	"matcher": {pattern: regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*\s*(=|!=|=~|!~)\s*"([^"\\]|\\.)*"$`),
		problem: "is not a matcher of one label", hint: `write one such as 'cluster="eu"', with both kinds of quotes`},
	"weburl": {pattern: regexp.MustCompile(`^https?://[^\s/@]+(/\S*)?$`), problem: "is not an address without credentials that begins with http:// or https://"},
	"dnsname": {pattern: regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?$`),
		problem: `may contain only small letters, digits and "-" between them, at most 50 of them`},
	"alpn":    {pattern: regexp.MustCompile(`^[!-~]{1,255}$`), problem: "is not the name of a protocol", hint: "use 1 to 255 letters, digits and signs of ASCII, without spaces"},
	"domain":  {pattern: regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$`), problem: "is not a name of DNS", hint: "write one such as _mqtt._tcp.example.com"},
	"shard":   {pattern: regexp.MustCompile(`^(hostname|[0-9]{1,3})/[1-9][0-9]{0,2}$`), problem: "is not index/count", hint: "write 0/3, 1/3 or 2/3 for the first, second or third of three agents, or hostname/3"},
	"cipher":  {words: cipherSuites, problem: "cipher suite"},
	"dialect": {words: dialectNames, problem: "value"},
}

// cipherSuites returns the suites that can be chosen. They belong to TLS 1.2 and older.
func cipherSuites() []string {
	var names []string
	for _, c := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if !slices.Equal(c.SupportedVersions, []uint16{tls.VersionTLS13}) {
			names = append(names, c.Name)
		}
	}
	return names
}

// dialectNames returns the values of sys.dialect.
func dialectNames() []string {
	names := []string{dialects.Auto}
	for _, d := range dialects.All() {
		names = append(names, d.Name)
	}
	return names
}

// newValidator returns a validator that names keys by their `koanf` tags and has our rules.
func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("koanf") })
	for name, r := range rules {
		// The only errors are an empty tag and a missing function.
		_ = v.RegisterValidation(name, func(fl validator.FieldLevel) bool {
			text := fl.Field().String()
			if r.words != nil {
				return slices.Contains(r.words(), text)
			}
			return utf8.ValidString(text) && r.pattern.MatchString(text)
		})
	}
	_ = v.RegisterValidation("seconds", func(fl validator.FieldLevel) bool {
		return time.Duration(fl.Field().Int())%time.Second == 0
	})
	return v
}

// limits checks the `validate` tags of a decoded section.
func (l *loader) limits(path string, section any) {
	var faults validator.ValidationErrors
	if !errors.As(l.validate.Struct(section), &faults) {
		return
	}
	for _, f := range faults {
		_, below, _ := strings.Cut(f.Namespace(), ".")
		if p := join(path, below); !l.failed(p) {
			problem, hint := l.limit(f)
			l.bad(p, "%s", problem).hint("%s", hint)
		}
	}
}

// limit returns the message for a value that breaks a limit. The message repeats numbers and names,
// and no other text.
func (l *loader) limit(f validator.FieldError) (problem, hint string) {
	number := ""
	if d, ok := f.Value().(time.Duration); ok {
		number = duration(d) + " "
	} else if k := f.Kind(); k != reflect.String && k != reflect.Slice && k != reflect.Map {
		number = fmt.Sprintf("%v ", f.Value())
	}
	if r, ok := rules[f.Tag()]; ok {
		if r.words != nil {
			return unknown(r.problem, fmt.Sprint(f.Value()), r.words())
		}
		return r.problem, r.hint
	}
	switch f.Tag() {
	case "required":
		return "is missing", "give it a value"
	case "oneof":
		return unknown("value", fmt.Sprint(f.Value()), strings.Fields(f.Param()))
	case "min":
		return number + atLeast(f), ""
	case "max":
		return number + atMost(f), ""
	case "gt":
		return number + "is too small: it must be more than " + f.Param(), ""
	case "unique":
		return "contains an entry twice", "keep one"
	case "ip":
		return "is not an IP address", "write one such as 192.0.2.1 or 2001:db8::1"
	case "startswith":
		return fmt.Sprintf("must begin with %q", f.Param()), ""
	case "seconds":
		d := f.Value().(time.Duration)
		return duration(d) + " is not a whole number of seconds", "write " + duration((d + time.Second - 1).Truncate(time.Second))
	}
	return fmt.Sprintf("does not fit the rule %s %s", f.Tag(), f.Param()), ""
}

func atLeast(f validator.FieldError) string {
	switch f.Kind() {
	case reflect.Slice, reflect.Map:
		return "is empty: it needs at least " + f.Param()
	case reflect.String:
		return "is too short: at least " + f.Param() + " characters"
	}
	if f.Param() == "0" {
		return "is negative: at least 0"
	}
	return "is too small: at least " + f.Param()
}

func atMost(f validator.FieldError) string {
	switch f.Kind() {
	case reflect.Slice, reflect.Map:
		return "is too long: at most " + f.Param() + " entries"
	case reflect.String:
		return "is too long: at most " + f.Param() + " characters"
	}
	return "is too large: at most " + f.Param()
}
