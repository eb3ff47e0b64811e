package build

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// source returns the data source that the viewer chooses.
func source() common.DataSourceRef {
	kind, uid := "prometheus", "${datasource}"
	return common.DataSourceRef{Type: &kind, Uid: &uid}
}

// scope holds the label matchers that the variables of a dashboard select.
type scope string

// The scopes, each within the one before.
const (
	agents  scope = `agent=~"$agent"`
	targets scope = agents + `, target=~"$target"`
	probes  scope = targets + `, probe=~"$probe", profile=~"$profile"`
)

// of returns a selector in the scope, with further matchers.
func (s scope) of(metric string, more ...string) string {
	out := metric + "{" + string(s)
	for _, m := range more {
		out += ", " + m
	}
	return out + "}"
}

// The parts of a dashboard other than its panels.
type (
	variable   = cog.Builder[dashboard.VariableModel]
	annotation = cog.Builder[dashboard.AnnotationQuery]
	link       = cog.Builder[dashboard.DashboardLink]
)

func datasourceVariable() variable {
	return dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")
}

// labelVariable makes a variable whose options are the values of a label. With many, the viewer may
// choose several values or all.
func labelVariable(name, label, text, of string, s scope, many bool) variable {
	selector := of
	if s != "" {
		selector = s.of(of)
	}
	query := fmt.Sprintf("label_values(%s, %s)", selector, label)
	b := dashboard.NewQueryVariableBuilder(name).Label(text).Datasource(source()).
		Query(dashboard.StringOrMap{String: &query}).Definition(query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc)
	if many {
		all, value := "All", "$__all"
		b.Multi(true).IncludeAll(true).AllValue(".+").Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{all}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{value}},
		})
	}
	return b
}

// agentVariables choose the agents.
func agentVariables() []variable {
	return []variable{
		datasourceVariable(),
		labelVariable("agent", "agent", "Agent", "pingreq_build_info", "", true),
	}
}

// targetVariables choose the agents and the targets, and filter by the labels of targets. of is a
// metric that every such target has.
func targetVariables(of string, many bool) []variable {
	return append(agentVariables(), labelVariable("target", "target", "Target", of, agents, many), filters())
}

// probeVariables choose the agents, the targets, the probes and the profiles.
func probeVariables(many bool) []variable {
	return append(targetVariables("mqtt_probe_info", many),
		labelVariable("probe", "probe", "Probe", "mqtt_probe_info", targets, true),
		labelVariable("profile", "profile", "Profile", "mqtt_probe_info", targets, true))
}

// filters makes a variable that filters by any label, such as one that the targets have in the
// agents' configuration. Grafana adds its matchers to every metric of every query. So a query of a
// dashboard with filters needs another answer for metrics that belong to no target, such as up.
func filters() variable {
	return dashboard.NewAdHocVariableBuilder("filters").Label("Filters").Datasource(source()).
		Description("Filters by labels, such as those that the targets have in the agents' configuration.")
}

// topVariable chooses how many targets or probes a graph shows, the worst first.
func topVariable() variable {
	counts := []string{"10", "20", "50", "100"}
	query := strings.Join(counts, ",")
	var options []dashboard.VariableOption
	for i, count := range counts {
		chosen := i == 0
		options = append(options, dashboard.VariableOption{Selected: &chosen,
			Text: dashboard.StringOrArrayOfString{String: &count}, Value: dashboard.StringOrArrayOfString{String: &count}})
	}
	return dashboard.NewCustomVariableBuilder("top").Label("Show the worst").
		Description("How many targets or probes a graph shows. The tables list all.").
		Values(dashboard.StringOrMap{String: &query}).Options(options).Current(options[0])
}

// others makes the link to the other dashboards. It passes the variables on.
func others() link {
	return dashboard.NewDashboardLinkBuilder("pingreq").Type(dashboard.DashboardLinkTypeDashboards).
		Tags([]string{tag}).AsDropdown(false).IncludeVars(true).KeepTime(true).
		Tooltip("The other dashboards of pingreq, for the same agents and targets")
}

// to makes a link from a value to a dashboard, for the target that the value belongs to. Both
// dashboards have filters.
func to(uid, title, target string) link { return linkTo(uid, title, target, "&${filters:queryparam}") }

// fromAgents makes such a link on the dashboard that has no filters.
func fromAgents(uid, title, target string) link { return linkTo(uid, title, target, "") }

func linkTo(uid, title, target, more string) link {
	return dashboard.NewDashboardLinkBuilder(title).Type(dashboard.DashboardLinkTypeLink).
		Url("/d/" + uid + "?${datasource:queryparam}&${agent:queryparam}" + more + "&var-target=" + target + "&${__url_time_range}")
}

// Where a link finds the target: in the row of a table, or in the labels of a series.
const (
	rowTarget    = "${__data.fields.target}"
	seriesTarget = "${__field.labels.target}"
)

// mark makes an annotation for the times at which an expression returns a result, evaluated every
// minute.
func mark(name, color, expr, title, text string) annotation {
	return markEvery("60s", name, color, expr, title, text)
}

func markEvery(step, name, color, expr, title, text string) annotation {
	return dashboard.NewAnnotationQueryBuilder().Name(name).Datasource(source()).Enable(true).IconColor(color).
		Expr(expr).Step(step).TitleFormat(title).TextFormat(text).
		Target(prometheus.NewDataqueryBuilder().Expr(expr).RefId("Anno").Datasource(source()).Range().Interval(step))
}

// firing marks the times at which alerts fire. These matchers select the alerts.
func firing(matchers string) annotation {
	return mark("Alerts", "red", `count by (alertname, severity) (ALERTS{alertstate="firing", `+matchers+`})`, // one mark for 82 targets of one broker
		"{{alertname}}", "{{severity}}")
}

// agentAlerts mark the alerts about the agents. An alert that nobody watches names no agent.
func agentAlerts() annotation { return firing(`alertname=~"Pingreq.+", agent=~"$agent|"`) }

// targetAlerts mark the alerts about the targets, and about the agents that watch them. Where a
// majority of agents decides, an alert names no agent.
func targetAlerts() annotation {
	return firing(`alertname=~"MQTT.+|Pingreq.+", target=~"$target|", agent=~"$agent|"`)
}

// agentAnnotations mark events of the agents.
func agentAnnotations(alerts annotation) []annotation {
	return []annotation{
		alerts,
		mark("Configuration reloaded", "blue",
			"changes("+agents.of("pingreq_config_last_reload_success_timestamp_seconds")+"[2m]) > 0",
			"Configuration reloaded", "{{agent}}"),
		mark("Configuration refused", "orange",
			agents.of("pingreq_config_last_reload_successful")+" == 0",
			"Configuration refused, the previous one is in use", "{{agent}}"),
		mark("Agent started", "purple",
			"time() - "+agents.of("process_start_time_seconds")+" < 120",
			"Agent started", "{{agent}}"),
	}
}

// brokerAnnotations also mark restarts of brokers. They use the broker's age, so they also find a
// restart after an outage that is longer than any window.
//
// A mark lasts for the first seconds of the broker. The step must be shorter.
func brokerAnnotations(step string, seconds int) []annotation {
	return append(agentAnnotations(targetAlerts()), markEvery(step, "Broker started", "yellow",
		fmt.Sprintf("max by (target, node) (%[1]s < %[3]d or time() - %[2]s < %[3]d)", targets.of("mqtt_broker_uptime_seconds"), targets.of("mqtt_broker_start_time_seconds"), seconds),
		"Broker started", "{{target}} {{node}}"))
}
