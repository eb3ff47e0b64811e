package build

import (
	"maps"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/heatmap"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// panel is one panel of a dashboard, with the fields that all kinds of panels have. Width and
// height are in units of the grid.
type panel struct {
	title, text, unit string
	width, height     uint32
	interval          string  // smallest step, for rare events
	mostSteps         float64 // 0: one for each pixel
	queries           []query
	instant           bool // the query asks only for the present
	format            prometheus.PromQueryFormat
	steps             []dashboard.Threshold
	mappings          []dashboard.ValueMapping
	links             []link
	overrides         []dashboard.DashboardFieldConfigSourceOverrides
	transformations   []dashboard.DataTransformerConfig
	min, max          *float64
	decimals          *float64
	none              string // text to show if there is no value
	sort              string // column that a table is sorted by
	color             dashboard.FieldColorModeId
	shade             string // of all series, if not each has its own colour

	builder cog.Builder[dashboard.Panel]
	series  *timeseries.PanelBuilder // of a time series
}

// query is one expression, and the legend of its series.
type query struct {
	expr, legend string
}

func q(expr, legend string) query { return query{expr, legend} }

// build finishes the panel at its position.
func (p *panel) build(at dashboard.GridPos) (built, error) {
	out, err := p.builder.Build()
	if err != nil {
		return built{}, err
	}
	id, src, text := identifier(p.title), source(), withNumbers(p.text)
	out.Id, out.Title, out.Description, out.GridPos, out.Datasource = &id, &p.title, &text, &at, &src
	out.Transparent, out.RepeatDirection = nil, nil
	if p.interval != "" {
		out.Interval = &p.interval
	}
	if p.mostSteps > 0 {
		out.MaxDataPoints = &p.mostSteps
	}
	out.Transformations = p.transformations
	if out.FieldConfig == nil {
		out.FieldConfig = dashboard.NewFieldConfigSource()
	}
	f := &out.FieldConfig.Defaults
	f.Unit, f.Min, f.Max, f.Decimals, f.Mappings = &p.unit, p.min, p.max, p.decimals, p.mappings
	if p.none != "" {
		f.NoValue = &p.none
	}
	if len(p.steps) > 0 {
		f.Thresholds = &dashboard.ThresholdsConfig{Mode: dashboard.ThresholdsModeAbsolute, Steps: p.steps}
	}
	if p.color != "" {
		f.Color = &dashboard.FieldColor{Mode: p.color}
		if p.shade != "" {
			f.Color.FixedColor = &p.shade
		}
	}
	for _, l := range p.links {
		link, err := l.Build()
		if err != nil {
			return built{}, err
		}
		link.Placement = nil
		f.Links = append(f.Links, link)
	}
	out.FieldConfig.Overrides = append([]dashboard.DashboardFieldConfigSourceOverrides{}, p.overrides...)
	for i, q := range p.queries {
		b := prometheus.NewDataqueryBuilder().Expr(q.expr).RefId(string(rune('A' + i))).Datasource(source()).
			Format(p.format).EditorMode(prometheus.QueryEditorModeCode)
		if q.legend != "" {
			b.LegendFormat(q.legend)
		}
		if p.instant {
			b.Instant()
		} else {
			b.Range()
		}
		target, err := b.Build()
		if err != nil {
			return built{}, err
		}
		out.Targets = append(out.Targets, target)
	}
	return built(out), nil
}

func (p *panel) sized(width, height uint32) *panel {
	p.width, p.height = width, height
	return p
}

// every sets the smallest step. A rate looks back over at least this time.
func (p *panel) every(interval string) *panel {
	p.interval = interval
	return p
}

// coarse makes a graph ask for few steps, because it asks for the series of every target. With one
// step a pixel, hundreds of targets would take many seconds.
func (p *panel) coarse() *panel { return p.stepping(36) }

// stepping sets the largest number of steps.
func (p *panel) stepping(most float64) *panel {
	p.mostSteps = most
	return p
}

func (p *panel) within(min, max float64) *panel {
	p.min, p.max = &min, &max
	return p
}

func (p *panel) from(min float64) *panel {
	p.min = &min
	return p
}

func (p *panel) digits(n float64) *panel {
	p.decimals = &n
	return p
}

// colored colours values by thresholds. A time series draws the thresholds as lines.
func (p *panel) colored(steps []dashboard.Threshold) *panel {
	p.steps = steps
	switch b := p.builder.(type) {
	case *timeseries.PanelBuilder:
		b.ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(common.GraphThresholdsStyleModeDashed))
	case *stat.PanelBuilder:
		b.ColorMode(common.BigValueColorModeBackground)
		p.mappings = append(p.mappings, nothingMapping(p.none))
	}
	return p
}

// mapped makes a tile show states in their colours.
func (p *panel) mapped(m ...dashboard.ValueMapping) *panel {
	p.mappings = append(m, nothingMapping(p.none))
	p.builder.(*stat.PanelBuilder).ColorMode(common.BigValueColorModeBackground)
	return p
}

// faults draws all series in shades of red, because none of them is good. The usual palette has pale
// green too.
func (p *panel) faults() *panel {
	p.color, p.shade, p.none = dashboard.FieldColorModeIdShades, bad, "None in this time range"
	return p
}

// painted gives the series with these names their colours.
func (p *panel) painted(colors []paint) *panel {
	for _, c := range colors {
		p.override("byName", c.name, []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": c.color}}})
	}
	return p
}

// paint is the colour of what has a name.
type paint struct{ name, color string }

func (p *panel) linked(links ...link) *panel {
	p.links = links
	return p
}

// newStat makes a tile with one present value. It shows the text none if there is no value. Without
// thresholds or states it has no colour, because it says nothing good or bad.
func newStat(title, unit, expr, none, text string) *panel {
	b := stat.NewPanelBuilder().ColorMode(common.BigValueColorModeNone).GraphMode(common.BigValueGraphModeNone).
		JustifyMode(common.BigValueJustifyModeAuto).TextMode(common.BigValueTextModeAuto).Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	return &panel{title: title, text: text, unit: unit, width: 4, height: 4, queries: []query{q(expr, "")}, instant: true,
		format: prometheus.PromQueryFormatTimeSeries, builder: b, none: none,
		color: dashboard.FieldColorModeIdThresholds, steps: plain()}
}

// named makes a tile show its labels through a legend instead of its value.
func (p *panel) named(legend string) *panel {
	p.queries[0].legend = legend
	p.builder.(*stat.PanelBuilder).TextMode(common.BigValueTextModeName)
	return p
}

// newSeries makes a time series.
func newSeries(title, unit, text string, queries ...query) *panel {
	b := timeseries.NewPanelBuilder().
		LineWidth(1).FillOpacity(8).ShowPoints(common.VisibilityModeNever).PointSize(5).LineInterpolation(common.LineInterpolationLinear).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true).Calcs([]string{})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	return &panel{title: title, text: text, unit: unit, width: 12, height: 8, queries: queries,
		format: prometheus.PromQueryFormatTimeSeries, builder: b, series: b, color: dashboard.FieldColorModeIdPaletteClassicByName}
}

// bars shows counts of events as stacked bars.
func (p *panel) bars() *panel {
	p.series.DrawStyle(common.GraphDrawStyleBars).FillOpacity(80).LineWidth(0).
		Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	return p.from(0)
}

// stacked shows parts of a whole.
func (p *panel) stacked() *panel {
	p.series.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	return p.from(0)
}

// points shows single values without lines between them.
func (p *panel) points() *panel {
	p.series.ShowPoints(common.VisibilityModeAlways).LineInterpolation(common.LineInterpolationStepAfter).FillOpacity(0)
	return p
}

// dashed draws the series of a query as a limit.
func (p *panel) dashed(refID, color string) *panel {
	return p.override("byFrameRefID", refID, []dashboard.DynamicConfigValue{
		{Id: "custom.lineStyle", Value: map[string]any{"fill": "dash", "dash": []int{10, 10}}},
		{Id: "custom.fillOpacity", Value: 0},
		{Id: "custom.showPoints", Value: "never"},
		{Id: "color", Value: map[string]any{"mode": "fixed", "fixedColor": color}},
	})
}

// override shows the fields that the matcher selects in another way. Without properties it adds
// nothing, because Grafana cannot load an override that has none.
func (p *panel) override(matcher, options string, properties []dashboard.DynamicConfigValue) *panel {
	if len(properties) > 0 {
		p.overrides = append(p.overrides, dashboard.DashboardFieldConfigSourceOverrides{
			Matcher: dashboard.MatcherConfig{Id: matcher, Options: options}, Properties: properties,
		})
	}
	return p
}

// newHeat makes a heatmap of a histogram. Query A has its classic buckets, B its native ones.
// Grafana shows the native ones if both exist.
func newHeat(title, text string, h histogram, s scope, more ...string) *panel {
	b := heatmap.NewPanelBuilder().Calculate(false).CellGap(1).ShowLegend().
		Color(heatmap.NewHeatmapColorOptionsBuilder().Mode(heatmap.HeatmapColorModeScheme).Scheme("Oranges").Scale(heatmap.HeatmapColorScaleExponential).Exponent(0.5).Steps(64).Fill("dark-orange").Reverse(false)).
		FilterValues(heatmap.NewFilterValueRangeBuilder().Le(1e-9)).
		RowsFrame(heatmap.NewRowsHeatmapOptionsBuilder().Layout(common.HeatmapCellLayoutAuto)).
		CellValues(heatmap.NewCellValuesBuilder().Unit("short")).
		YAxis(heatmap.NewYAxisConfigBuilder().Unit("s").AxisPlacement(common.AxisPlacementLeft).Reverse(false)).
		Tooltip(heatmap.NewHeatmapTooltipBuilder().Mode(common.TooltipDisplayModeSingle).YHistogram(true).ShowColorScale(false))
	queries := []query{
		q("sum by (le) (increase("+s.of(string(h)+"_bucket", more...)+"[$__rate_interval]))", "{{le}}"),
		q("sum(increase("+s.of(string(h), more...)+"[$__rate_interval]))", ""),
	}
	return &panel{title: title, text: text, unit: "s", width: 12, height: 8, queries: queries, format: prometheus.PromQueryFormatHeatmap, builder: b}
}

// newTimeline makes a timeline of states. The values of the queries are mapped to the states.
func newTimeline(title, text string, states []state, queries ...query) *panel {
	b := statetimeline.NewPanelBuilder().ShowValue(common.VisibilityModeNever).RowHeight(0.9).MergeValues(true).FillOpacity(80).LineWidth(0).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true).Calcs([]string{})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeSingle).Sort(common.SortOrderNone))
	return &panel{title: title, text: text, unit: "none", width: 24, height: 8, queries: queries, format: prometheus.PromQueryFormatTimeSeries,
		builder: b, mappings: []dashboard.ValueMapping{stateMapping(states)}, color: dashboard.FieldColorModeIdThresholds, steps: plain()}
}

// column is a column of a table: a label, or the value of a query.
type column struct {
	field, title string
	unit         string
	width        int
	steps        []dashboard.Threshold
	states       []state
	texts        map[string]string // the text to show instead of a value
	links        []link
}

// newTable makes a table of the present with these columns, in this order. Other fields are hidden.
// Queries after the first add columns to the rows with the same labels. The rows are sorted by the
// column sort, largest first. What is good, and a cell without a value, has no colour: only what is
// not good stands out.
func newTable(title, text, sort string, columns []column, queries ...query) *panel {
	b := table.NewPanelBuilder().ShowHeader(true).CellHeight(common.TableCellHeightSm).Filterable(true).
		Footer(common.NewTableFooterOptionsBuilder().Show(false).Reducer([]string{})). // without it the field is null, which Grafana's schema forbids
		SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(sort).Desc(true)})
	p := &panel{title: title, text: text, unit: "none", width: 24, height: 8, queries: queries, instant: true,
		format: prometheus.PromQueryFormatTable, builder: b, sort: sort, color: dashboard.FieldColorModeIdThresholds, steps: plain()}
	if len(queries) > 1 {
		p.transformations = append(p.transformations, dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}})
	}
	names := make([]string, len(columns))
	index, rename := make(map[string]int), make(map[string]string)
	for i, c := range columns {
		names[i], index[c.field], rename[c.field] = c.field, i, c.title
		p.override("byName", c.title, c.properties())
	}
	if len(queries) > 1 { // Grafana uses this name for the values if only one query has any
		names = append(names, "Value")
		for _, c := range columns {
			if c.field == "Value #A" {
				index["Value"], rename["Value"] = index[c.field], c.title
			}
		}
	}
	p.transformations = append(p.transformations,
		dashboard.DataTransformerConfig{Id: "filterFieldsByName", Options: map[string]any{"include": map[string]any{"names": names}}},
		dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"excludeByName": map[string]bool{}, "indexByName": index, "renameByName": rename}})
	return p
}

// properties returns how Grafana shows the column, if not as every other.
func (c column) properties() (properties []dashboard.DynamicConfigValue) {
	set := func(id string, value any) {
		properties = append(properties, dashboard.DynamicConfigValue{Id: id, Value: value})
	}
	if c.unit != "" {
		set("unit", c.unit)
	}
	if c.unit == "short" { // a count, also where Prometheus extrapolates it
		set("decimals", 0)
	}
	if c.width > 0 {
		set("custom.width", c.width)
	}
	if c.steps != nil {
		steps := slices.Clone(c.steps)
		for i := range steps {
			if steps[i].Color == good {
				steps[i].Color = transparent
			}
		}
		set("thresholds", map[string]any{"mode": "absolute", "steps": steps})
	}
	var mappings []dashboard.ValueMapping
	if c.states != nil {
		states := slices.Clone(c.states)
		for i := range states {
			if states[i].color == good {
				states[i].color = transparent
			}
		}
		mappings = append(mappings, stateMapping(states))
	}
	if c.steps != nil || c.states != nil {
		set("mappings", append(mappings, nothingMapping("")))
		set("custom.cellOptions", map[string]any{"type": "color-background", "mode": "basic"})
	}
	if c.texts != nil {
		set("mappings", []dashboard.ValueMapping{textMapping(c.texts)})
		if slices.ContainsFunc(slices.Collect(maps.Values(c.texts)), func(text string) bool { return len(text) > 100 }) { // sentences
			set("custom.cellOptions", map[string]any{"type": "auto", "wrapText": true})
		}
	}
	if c.links != nil {
		var links []dashboard.DashboardLink
		for _, l := range c.links {
			link, err := l.Build()
			if err != nil {
				panic(err) // the JSON of a constant
			}
			link.Placement = nil
			links = append(links, link)
		}
		set("links", links)
	}
	return properties
}

// state is a number and the word that it stands for.
type state struct {
	value, text, color string
}

func stateMapping(states []state) dashboard.ValueMapping {
	m := dashboard.NewValueMap()
	for i, s := range states {
		index := int32(i)
		m.Options[s.value] = dashboard.ValueMappingResult{Text: &s.text, Color: &s.color, Index: &index}
	}
	return dashboard.ValueMapping{ValueMap: m}
}

// nothingMapping shows this text, and no colour, if there is no value. Otherwise it has the colour of
// the lowest value, which may be the worst.
func nothingMapping(text string) dashboard.ValueMapping {
	m := dashboard.NewSpecialValueMap()
	color, index := transparent, int32(100)
	m.Options.Match = dashboard.SpecialValueMatchNullAndNan
	m.Options.Result = dashboard.ValueMappingResult{Text: &text, Color: &color, Index: &index}
	return dashboard.ValueMapping{SpecialValueMap: m}
}

func textMapping(texts map[string]string) dashboard.ValueMapping {
	m := dashboard.NewValueMap()
	for i, value := range slices.Sorted(maps.Keys(texts)) {
		text, index := texts[value], int32(i)
		m.Options[value] = dashboard.ValueMappingResult{Text: &text, Index: &index}
	}
	return dashboard.ValueMapping{ValueMap: m}
}

// The colours.
const (
	good    = "green"
	warning = "orange"
	bad     = "red"
	worse   = "dark-red"
	odd     = "purple"
	neutral = "text"
	passing = "blue"
	waiting = "yellow"
	grey    = "#808080"

	transparent = "transparent"
)

func plain() []dashboard.Threshold { return []dashboard.Threshold{{Color: neutral}} }

// above colours values that are too high: from warn on, and from critical on.
func above(warn, critical float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: good}, {Value: &warn, Color: warning}, {Value: &critical, Color: bad}}
}

// from colours values mildly from a limit on.
func from(limit float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: good}, {Value: &limit, Color: warning}}
}

// over colours values above a limit.
func over(limit float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: good}, {Value: &limit, Color: bad}}
}

// below colours values that are too low: below warn, and below critical.
func below(warn, critical float64) []dashboard.Threshold {
	return []dashboard.Threshold{{Color: bad}, {Value: &critical, Color: warning}, {Value: &warn, Color: good}}
}

// or shows a text instead of an empty table. Its columns show a missing value as a dash.
func (p *panel) or(text string) *panel {
	p.none = text
	for i := range p.overrides {
		p.overrides[i].Properties = append(p.overrides[i].Properties, dashboard.DynamicConfigValue{Id: "noValue", Value: "–"})
	}
	return p
}

// ascending sorts a table by the same column, the smallest first.
func (p *panel) ascending() *panel {
	b := p.builder.(*table.PanelBuilder)
	b.SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(p.sort).Desc(false)})
	return p
}
