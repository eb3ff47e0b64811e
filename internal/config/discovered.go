package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/pingreq/pingreq/internal/discovery"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Refusal says why a target that a source has found is not watched.
type Refusal struct {
	Source string
	// Address is its address, without credentials, path and query.
	Address string
	// Problem says what is wrong, and Hint what to do about it.
	Problem, Hint string
}

// Message returns the refusal as [Message] lays it out.
func (r Refusal) Message() string {
	return Message(fmt.Sprintf("source %s: target %s: %s", r.Source, r.Address, r.Problem), r.Hint)
}

// Limits of what a list may say of a target. Its labels are on each of its series.
const (
	maxLabels     = 32
	maxLabelValue = 512 // bytes
	maxURL        = 512 // bytes
)

// WithDiscovered returns the configuration with the targets that its sources have found, besides those of
// the file, and what must be refused. A refused target takes no other with it. Of two targets with one
// name and different settings, the first stays; those of the file come first, then those of the sources
// in their order.
func (c *Config) WithDiscovered(found map[string]discovery.List) (*Config, []Refusal) {
	all := slices.DeleteFunc(slices.Clone(c.known), func(t knownTarget) bool { return t.path == "" })
	for i := range all {
		all[i].from = nil
	}
	index := make(map[string]int, len(all))
	for i, t := range all {
		index[t.Name] = i
	}
	var refusals []Refusal
	for i := range c.sources {
		s := &c.sources[i]
		for _, labels := range found[s.Name] {
			t, err := c.discovered(s, labels)
			if j, ok := index[t.Name]; ok && err == nil {
				if err = all[j].merge(&t, s.Name); err == nil {
					continue
				}
			}
			if err != nil {
				problem, hint := split(err.Error())
				refusals = append(refusals, Refusal{s.Name, printable(labels[model.AddressLabel]), problem, hint})
				continue
			}
			index[t.Name] = len(all)
			all = append(all, t)
		}
	}
	next := *c
	next.knowAgain(all)
	next.found = map[string]int{}
	for _, t := range all {
		for _, name := range t.from {
			next.found[name]++
		}
	}
	next.risks = next.findRisks(nil)
	return &next, refusals
}

// Found returns how many targets of a source are in use, on all shards.
func (c *Config) Found(source string) int { return c.found[source] }

// SameTargets reports whether two configurations that came from one file have the same targets.
func (c *Config) SameTargets(o *Config) bool { return reflect.DeepEqual(c.known, o.known) }

// merge joins another target of the same name, which a source has found.
func (t *knownTarget) merge(o *knownTarget, source string) error {
	if !reflect.DeepEqual(t.Target, o.Target) || t.sys != o.sys {
		where := "a target of the configuration"
		if t.path == "" {
			where = "another target of source " + t.from[0]
		}
		return fmt.Errorf("%s has the name %s too, with another address or other settings: give one of them another name with the label target", where, t.Name)
	}
	if !slices.Contains(t.from, source) {
		t.from = append(t.from, source)
	}
	return nil
}

// discovered returns the target that labels stand for. The error has the form problem: hint, and contains
// nothing that may be a secret.
func (c *Config) discovered(s *source, labels model.LabelSet) (knownTarget, error) {
	t := s.template
	var err error
	if t.URL, err = address(s.scheme, labels); err != nil {
		return knownTarget{}, err
	}
	u, err := mqtt.ParseURL(t.URL)
	if err != nil {
		return knownTarget{}, err
	}
	if t.Name = string(labels["target"]); t.Name == "" {
		t.Name = hostName(u)
	}
	switch {
	case !plainKey.MatchString(t.Name) && labels["target"] != "":
		return knownTarget{}, errors.New(`the label target is not a name: use only letters, digits, ".", "_" and "-", at most 64 of them`)
	case !plainKey.MatchString(t.Name):
		return knownTarget{}, errors.New("the host does not make a name: give it one with the label target")
	case slices.ContainsFunc(c.sources, func(s source) bool { return s.Name == t.Name }):
		return knownTarget{}, fmt.Errorf("%s is the name of a source: give the target another with the label target", t.Name)
	}
	if t.Labels, err = c.visible(t.Labels, labels); err != nil {
		return knownTarget{}, err
	}
	t.autoDialect()
	return knownTarget{Target: t.target(s.password), sys: t.Sys, from: []string{s.Name}}, nil
}

// address returns the URL of a target.
func address(scheme string, labels model.LabelSet) (string, error) {
	address := string(labels[model.AddressLabel])
	switch {
	case address == "":
		return "", errors.New("the address is empty")
	case len(address) > maxURL:
		return "", fmt.Errorf("the address is longer than %d bytes", maxURL)
	case strings.Contains(address, "://"):
		return address, nil
	}
	if own := string(labels[model.SchemeLabel]); own != "" {
		scheme = own
	}
	if _, ok := mqtt.Schemes()[scheme]; !ok {
		return "", errors.New("the label __scheme__ is none of mqtt, mqtts, ws, wss, unix")
	}
	path := string(labels["__path__"])
	if path == "" || scheme != "ws" && scheme != "wss" {
		return scheme + "://" + address, nil
	}
	return scheme + "://" + address + "/" + strings.TrimPrefix(path, "/"), nil
}

// exported begins the names of labels that are renamed.
const exported = "exported_"

// visible returns the labels of the series of a target: those of the template, and those of the list that
// do not vanish. As in Prometheus, these are all that do not begin with __ and have a value. A label that
// our own series have gets another name, as Prometheus names the labels of a scraped series that it has
// itself: many lists have the label job.
func (c *Config) visible(template map[string]string, labels model.LabelSet) (map[string]string, error) {
	all := maps.Clone(template)
	n := 0
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		text, value := string(name), string(labels[name])
		if strings.HasPrefix(text, "__") || text == "target" || value == "" {
			continue
		}
		switch n++; {
		case !labelName.MatchString(text):
			return nil, errors.New("the name of a label is not one: use letters, digits and underscores, and do not begin with a digit")
		case len(value) > maxLabelValue || len(text) > maxLabelValue:
			return nil, fmt.Errorf("the label %.64s is longer than %d bytes: it would be on every series", text, maxLabelValue)
		case n > maxLabels:
			return nil, fmt.Errorf("it has more than %d labels: they would be on every series", maxLabels)
		}
		if all == nil {
			all = map[string]string{}
		}
		for slices.Contains(c.reserved, text) || text != string(name) && labels[model.LabelName(text)] != "" {
			text = exported + text
		}
		all[text] = value
	}
	return all, nil
}

// maxAddress is how much of an address is shown, in characters.
const maxAddress = 80

// printable returns an address for humans, without anything that may be a secret.
func printable(address model.LabelValue) string {
	text := string(address)
	if i := strings.LastIndex(text, "@"); i >= 0 {
		text = "…" + text[i:]
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	if scheme != "unix://" {
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			rest = rest[:i]
		}
	}
	text = scheme + rest
	if utf8.RuneCountInString(text) > maxAddress {
		text = string([]rune(text)[:maxAddress]) + "…"
	}
	if quoted := strconv.Quote(text); text == "" || quoted != `"`+text+`"` {
		return quoted
	}
	return text
}
