package web

import (
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
)

//go:embed index.html
var indexHTML string

// crowd is the number of targets above which a healthy one is shown with little.
const crowd = 40

// targetsPage is the data of the page of all targets.
type targetsPage struct {
	Title  string
	Root   string // relative address of this page
	Agent  status.Agent
	Filter status.Filter
	Label  string // the labels of the filter
	Group  string // label to group by
	States []stateLink
	Groups []*group
	// Labels, Names and Kinds are what can be chosen.
	Labels, Names, Kinds []string
}

// stateLink selects the targets of a state.
type stateLink struct {
	look
	N       int
	Link    string
	Current bool
}

// group is the targets with one value of a label.
type group struct {
	Name    string
	Targets []card
	Calm    []card // healthy ones of many targets, which are shown with little
	Bad     int    // those that are not healthy
}

// All returns the number of targets.
func (g *group) All() int { return len(g.Targets) + len(g.Calm) }

// card is a target on the page.
type card struct {
	status.Target
	Look  look
	Shown []status.Kind
}

// readFilter reads the filter of a request.
func readFilter(r *http.Request) (f status.Filter, group string, err error) {
	q := r.URL.Query()
	f = status.Filter{Text: strings.TrimSpace(q.Get("q")), State: q.Get("state"), Kind: q.Get("kind")}
	if f.State != "" && !slices.Contains(status.States(), f.State) {
		return f, "", fmt.Errorf("there is no state %s: use one of %s", history.Printable(f.State), strings.Join(status.States(), ", "))
	}
	for _, list := range q["label"] {
		for pair := range strings.SplitSeq(list, ",") {
			if pair = strings.TrimSpace(pair); pair == "" {
				continue
			}
			name, value, ok := strings.Cut(pair, "=")
			if !ok {
				return f, "", fmt.Errorf("label %s needs a value: label=site=fra", history.Printable(pair))
			}
			if f.Labels == nil {
				f.Labels = map[string]string{}
			}
			f.Labels[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return f, q.Get("group"), nil
}

// targetsHandler shows all targets, or those that the query selects.
func targetsHandler(o Options, shared *pages) http.Handler {
	page, looks := newTemplate(indexHTML), looks()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, by, err := readFilter(r)
		if err != nil {
			answer(w, http.StatusBadRequest, err.Error())
			return
		}
		shared.serve(w, r, "page?"+r.URL.Query().Encode(), func(w http.ResponseWriter) {
			now := time.Now()
			all := o.View.Targets(now)
			data := targetsPage{Agent: o.View.Agent(all, now), Filter: f, Group: by}
			data.Title = title(&data.Agent)
			data.choices(all)
			data.links(r.URL.Query(), looks)
			data.group(status.Select(all, f), looks)
			writePage(w, page, &data, o.Logger)
		})
	})
}

// title begins with what is wrong, because a tab shows little of it.
func title(a *status.Agent) string {
	bad := a.Targets.Down + a.Targets.Degraded
	if bad == 0 {
		return "pingreq " + a.ID
	}
	return fmt.Sprintf("(%d) pingreq %s", bad, a.ID)
}

// choices sets what can be chosen.
func (p *targetsPage) choices(all []status.Target) {
	labels, names, kinds := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, t := range all {
		for name, value := range t.Labels {
			labels[name+"="+value], names[name] = true, true
		}
		for _, k := range t.Kinds {
			kinds[k.Kind] = true
		}
	}
	p.Labels, p.Names, p.Kinds = slices.Sorted(maps.Keys(labels)), slices.Sorted(maps.Keys(names)), slices.Sorted(maps.Keys(kinds))
	var chosen []string
	for _, name := range slices.Sorted(maps.Keys(p.Filter.Labels)) {
		chosen = append(chosen, name+"="+p.Filter.Labels[name])
	}
	p.Label = strings.Join(chosen, ",")
}

// links sets the links that select a state, and keep the rest of the query.
func (p *targetsPage) links(q url.Values, looks map[string]look) {
	link := func(state string) string {
		q := maps.Clone(q)
		q.Del("state")
		if state != "" {
			q.Set("state", state)
		}
		return "?" + q.Encode()
	}
	p.States = []stateLink{{look{"", "", "all"}, p.Agent.Targets.All, link(""), p.Filter.State == ""}}
	for _, s := range status.States() {
		if n := p.Agent.Targets.Of(s); n > 0 || p.Filter.State == s {
			p.States = append(p.States, stateLink{looks[s], n, link(s), p.Filter.State == s})
		}
	}
}

// group puts the targets into groups. The group with the worst target comes first.
func (p *targetsPage) group(targets []status.Target, looks map[string]look) {
	at := map[string]int{}
	for _, t := range targets {
		c := card{Target: t, Look: looks[t.State()]}
		calm := len(targets) > crowd && c.Look.Class == "healthy"
		for _, k := range t.Kinds {
			if p.Filter.Kind == "" || k.Kind == p.Filter.Kind {
				c.Shown = append(c.Shown, k)
			}
		}
		if calm {
			c.Shown = c.Shown[:min(len(c.Shown), 1)]
		}
		name := ""
		if p.Group != "" {
			name = t.Labels[p.Group]
		}
		i, ok := at[name]
		if !ok {
			i = len(p.Groups)
			at[name] = i
			p.Groups = append(p.Groups, &group{Name: name})
		}
		if calm {
			p.Groups[i].Calm = append(p.Groups[i].Calm, c)
		} else {
			p.Groups[i].Targets = append(p.Groups[i].Targets, c)
		}
		if c.Look.Class != "healthy" {
			p.Groups[i].Bad++
		}
	}
}
