// Package build makes the dashboards with Grafana's foundation SDK, as classic JSON. The program
// does not import it. The JSON is committed, and package dashboards embeds it.
package build

//lint:file-ignore SA1019 every Grafana reads the classic form, but only the newest reads the other form

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The identifiers of the dashboards in Grafana's addresses (/d/<uid>), which links and alerts use.
const (
	fleetUID    = "pingreq-fleet"
	targetUID   = "pingreq-target"
	halfopenUID = "pingreq-halfopen"
	brokerUID   = "pingreq-broker"
	agentUID    = "pingreq-agent"
)

// tag is the tag that all dashboards share, so that they can link to each other.
const tag = "pingreq"

// page is a dashboard. Each page has its own source file and is listed in [pages].
type page struct {
	file        string // without .json
	uid, title  string
	text        string
	from        string // start of the time range
	many        bool   // its graphs ask for the series of every target
	variables   []variable
	annotations []annotation
	sections    []section
}

// section is a part of a page under a heading. The first section of a page has no heading.
type section struct {
	title  string
	panels []*panel
}

// pages lists the dashboards.
func pages() []page {
	return []page{fleet(), target(), halfopen(), broker(), agent()}
}

// JSON makes every dashboard. It returns the bytes by file name. The same source always makes the
// same bytes. An error names the panel that is wrong.
func JSON() (map[string][]byte, error) {
	files := make(map[string][]byte)
	var errs []error
	for _, p := range pages() {
		d, err := p.build()
		if err != nil {
			errs = append(errs, fmt.Errorf("dashboard %s: %w", p.file, err))
			continue
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(d); err != nil {
			errs = append(errs, fmt.Errorf("dashboard %s: %w", p.file, err))
			continue
		}
		files[p.file+".json"] = b.Bytes()
	}
	return files, errors.Join(errs...)
}

// build puts the panels on the grid, row by row, and numbers them. The SDK does neither: it does
// not break a full row.
func (p *page) build() (dashboard.Dashboard, error) {
	b := dashboard.NewDashboardBuilder(p.title).
		Uid(p.uid).Description(p.text).Tags([]string{tag, "mqtt"}).
		Readonly().Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Refresh("30s").Time(p.from, "now").
		Variables(p.variables).Annotations(p.annotations).Link(others())
	var errs []error
	var y uint32
	for _, s := range p.sections {
		if s.title != "" {
			b.WithRow(dashboard.NewRowBuilder(s.title).Id(identifier("row " + s.title)).GridPos(dashboard.GridPos{X: 0, Y: y, W: columns, H: 1}))
			y++
		}
		var x, tallest uint32
		for _, panel := range s.panels {
			if x+panel.width > columns {
				x, y, tallest = 0, y+tallest, 0
			}
			if p.many && !panel.instant && panel.mostSteps == 0 {
				panel.coarse()
			}
			built, err := panel.build(dashboard.GridPos{X: x, Y: y, W: panel.width, H: panel.height})
			if err != nil {
				errs = append(errs, fmt.Errorf("panel %q: %w", panel.title, err))
				continue
			}
			b.WithPanel(built)
			x += panel.width
			tallest = max(tallest, panel.height)
		}
		y += tallest
	}
	if err := errors.Join(errs...); err != nil {
		return dashboard.Dashboard{}, err
	}
	d, err := b.Build()
	for i := range d.Links { // the SDK hides both in a menu that not every Grafana has
		d.Links[i].Placement = nil
	}
	for i := range d.Annotations.List {
		d.Annotations.List[i].Placement = nil
	}
	return d, err
}

// columns is the width of Grafana's grid.
const columns = 24

// identifier returns the number of a panel. It depends only on the title, so that links to a panel
// stay valid when other panels are added or removed.
func identifier(title string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(title))
	return h.Sum32()%99_999 + 1
}

// built is a finished panel.
type built dashboard.Panel

func (b built) Build() (dashboard.Panel, error) { return dashboard.Panel(b), nil }
