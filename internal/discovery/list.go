package discovery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

const (
	// maxList is the largest size of a file or an answer, in bytes. 5 000 targets with ten labels each
	// need less than half of it.
	maxList = 4 << 20
	// maxTargets is the largest number of targets of a source.
	maxTargets = 10_000
)

// List is what a source has found: the labels of each target, as Prometheus has them before
// relabelling. The label __address__ is the address.
type List []model.LabelSet

// group is an entry of a list: addresses with common labels. It differs from Prometheus'
// targetgroup.Group in that addresses become label sets only after they were counted.
type group struct {
	Targets []string       `json:"targets" yaml:"targets"`
	Labels  model.LabelSet `json:"labels" yaml:"labels"`
}

// decodeJSON decodes a list as Prometheus does, and adds the labels of more to each target. If any
// part of the list is not in the format, the error says what, and repeats nothing of the list that may be
// a secret.
func decodeJSON(b []byte, more model.LabelSet) (List, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var groups []*group
	if err := dec.Decode(&groups); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list")
	}
	if groups == nil { // null would take all targets away
		return nil, errors.New("the list is null: write [] if there are no targets")
	}
	return flatten(groups, more)
}

// unknownField matches the error of encoding/json about a key that a group does not have.
var unknownField = regexp.MustCompile(`^json: unknown field "([A-Za-z0-9_]{1,64})"$`)

// notJSON says what is wrong with a list.
func notJSON(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not valid JSON at byte %d", syntax.Offset)
	}
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType(strings.ToLower(typ.Field), typ.Value)
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("a group has the key %q: only targets and labels are allowed", m[1])
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not valid JSON: it ends too early")
	}
	return errors.New("not a list of groups with targets and labels")
}

// wrongType says that a part of a list has a wrong type. field is the path of the part.
func wrongType(field, is string) error {
	switch {
	case strings.HasPrefix(field, "labels"):
		return fmt.Errorf("the value of a label is a JSON %s: every label needs a string, in quotes", is)
	case strings.HasPrefix(field, "targets"):
		return fmt.Errorf("targets needs a list of strings, not a JSON %s", is)
	}
	return fmt.Errorf("a JSON %s is not a list of groups such as [{\"targets\": [\"host:8883\"], \"labels\": {\"site\": \"fra\"}}]", is)
}

// decodeYAML is like [decodeJSON], for YAML. An empty text is an empty list.
func decodeYAML(b []byte, more model.LabelSet) (List, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	var groups []*group
	if err := dec.Decode(&groups); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, notYAML(err)
	}
	var second yaml.Node
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the list")
	}
	return flatten(groups, more)
}

// yamlLine matches where the library finds a fault. The rest of its messages may repeat values.
var yamlLine = regexp.MustCompile(`\bline (\d+): (field [A-Za-z0-9_]{1,64} not found)?`)

// notYAML says what is wrong with a list.
func notYAML(err error) error {
	const want = "a list of groups with targets (a list) and labels (a mapping of strings)"
	m := yamlLine.FindStringSubmatch(err.Error())
	switch {
	case m == nil:
		return errors.New("not " + want)
	case m[2] != "":
		return fmt.Errorf("line %s: a group has the key %q: only targets and labels are allowed", m[1], strings.Fields(m[2])[1])
	}
	return fmt.Errorf("line %s: not %s", m[1], want)
}

// flatten returns the targets of groups, each with the labels of its group and of more.
func flatten(groups []*group, more model.LabelSet) (List, error) {
	n := 0
	for i, g := range groups {
		if g == nil {
			return nil, fmt.Errorf("group %d of the list is null", i+1)
		}
		n += len(g.Targets)
	}
	if n > maxTargets {
		return nil, tooMany(n)
	}
	list := make(List, 0, n)
	for _, g := range groups {
		for name, value := range g.Labels {
			if !value.IsValid() || !model.LabelValue(name).IsValid() {
				return nil, errors.New("a label is not UTF-8")
			}
		}
		for _, address := range g.Targets {
			t := make(model.LabelSet, len(g.Labels)+len(more)+1)
			maps.Copy(t, g.Labels)
			maps.Copy(t, more)
			t[model.AddressLabel] = model.LabelValue(address) // as in Prometheus, a label of the group does not replace it
			list = append(list, t)
		}
	}
	return list, nil
}

func tooMany(n int) error {
	return fmt.Errorf("%d targets are too many: at most %d in one source", n, maxTargets)
}

// sorted returns a list in an order that depends only on its content, without repetitions.
func (l List) sorted() List {
	type keyed struct {
		key string
		set model.LabelSet
	}
	all := make([]keyed, len(l))
	for i, set := range l {
		all[i] = keyed{string(set[model.AddressLabel]) + "\x00" + set.String(), set}
	}
	slices.SortFunc(all, func(a, b keyed) int { return strings.Compare(a.key, b.key) })
	all = slices.CompactFunc(all, func(a, b keyed) bool { return a.key == b.key })
	out := make(List, len(all))
	for i, k := range all {
		out[i] = k.set
	}
	return out
}

// equal reports whether two sorted lists have the same content.
func (l List) equal(o List) bool { return slices.EqualFunc(l, o, model.LabelSet.Equal) }
