package build

import "github.com/pingreq/pingreq/internal/thresholds"

// fleet is the dashboard with an overview of every target.
func fleet() page {
	const (
		success = "mqtt_probe_success"
		connect = `kind="connect"`
	)
	reached := "max by (agent, target) (" + targets.of(success, connect) + ")"
	lost := func(window string) string {
		return orNone("target", events(window, targets.of("mqtt_probe_messages_lost_total")), targets.of("mqtt_probe_messages_published_total"))
	}
	sessions := "sum by (target) (" + targets.of("mqtt_probe_sessions", `state="connected"`) + ") / sum by (target) (" + targets.of("mqtt_probe_sessions") + ")"
	expiry := "min by (target) (" + daysLeft(targets, serverExpiry) + ")"
	toTarget := to(targetUID, "Target ${__data.fields.target}", rowTarget)
	objective := thresholds.ConnectObjective

	return page{
		file: "fleet", uid: fleetUID, title: "pingreq / Fleet", from: "now-3h", many: true,
		text:        "An overview of every watched MQTT broker. It shows what is broken now, since when and why. The history is below.",
		variables:   append(targetVariables("mqtt_probe_info", true), topVariable()),
		annotations: agentAnnotations(targetAlerts()),
		sections: []section{
			{"", []*panel{
				newStat("Targets down", "none", "sum((max by (target) ("+targets.of(success, connect)+") or max by (target) ("+targets.of(success, `kind=~"session|roundtrip"`)+")) == bool 0)", "no agent",
					"Targets whose connect probes fail for every agent and profile. Devices cannot connect to them either. For a target without connect probes, session and roundtrip probes count instead. The table below shows the reason.").colored(over(0.5)),
				newStat("Targets in trouble", "none", "sum(max by (target) ("+targets.of("mqtt_target_state", `state=~"degraded|down"`)+"))", "no agent",
					"Targets with at least one failing probe, of any kind and any agent. Probes whose fault is mended do not count, although their own next run may be far.").colored(from(1)),
				newStat("Probes failing", "none", failingProbes(), "no agent",
					"Probes that fail now. The table below lists them. Probes whose fault is mended do not count, although their own next run may be far. A probe is one kind of check of one target with one profile by one agent.").colored(from(1)),
				newStat("Connects that succeed", "percentunit", ratio(shown, "", targets, connect), "no run",
					"Share of the conclusive connects in the time range that succeeded. Inconclusive runs, which usually had a problem on pingreq's own side, do not count. The objective is {objective}.").
					colored(below(objective, 1-10*(1-objective))).digits(2),
				newStat("Sessions connected", "percentunit", "sum("+targets.of("mqtt_probe_sessions", `state="connected"`)+") / sum("+targets.of("mqtt_probe_sessions")+")", "no session",
					"Share of the held sessions that are proven alive now. The others reconnect, wait to reconnect, are blind (a ping has had no answer for half of its timeout) or are zombies (the broker answers pings but not publishes).").
					colored(below(thresholds.SessionObjective, 0.9)).digits(1),
				newStat("Agents down", "none", agentsDown(), "no agent",
					"Agents that Prometheus cannot scrape. With a filter: agents that watched such a target in the time range and now do not. They deliver no results, so green values here may be old.").colored(over(0.5)),
			}},
			{"What is broken", []*panel{
				causeTable(),
				diagnosisTable(),
				failingTable(targets),
				newTimeline("Targets, the $top worst",
					"The targets that have been failing for most of the time range, over time; the table below has all. \"Down for every agent\": nothing succeeds, so devices cannot connect either. \"Something fails\": at least one probe of any agent fails. The colour shows the worst moment of each step.",
					targetColors(),
					q(among(targetLevels(), "target", worstTargets()), "{{target}}")).
					stepping(72).linked(to(targetUID, "Target ${__field.labels.target}", seriesTarget)),
			}},
			{"Every target", []*panel{
				newTable("All targets",
					"One row for each target. The name links to its dashboard. Only what is not good has a colour. \"Failing\" is the number of probes that fail now. \"Reached by\" is the share of the agents whose connect probe succeeds. If it is between 0 and 100 %, the fault is on the path of the agents that cannot connect. "+
						"\"Connects\" is the share of the connects that succeeded. It, \"Connect p99\", \"Session ends\" and \"Lost\" (messages) cover the time range. \"Sessions\" is the share of the held sessions that are connected. The other columns show the present. \"Half-open\" is how long the broker treated a vanished client as connected, as a share of the time after which that is late.",
					"Failing",
					[]column{
						{field: "target", title: "Target", links: []link{toTarget}},
						{field: "Value #A", title: "Failing", width: 90, steps: from(1)},
						{field: "Value #B", title: "Reached by", unit: "percentunit", width: 115, steps: below(1, 0.5)},
						{field: "Value #C", title: "Connects", unit: "percentunit", width: 105, steps: below(objective, 1-10*(1-objective))},
						{field: "Value #D", title: "Connect p99", unit: "s", width: 125, steps: above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)},
						{field: "Value #E", title: "Sessions", unit: "percentunit", width: 105, steps: below(thresholds.SessionObjective, 0.9)},
						{field: "Value #F", title: "Session ends", width: 125, unit: "short"},
						{field: "Value #G", title: "Lost", unit: "short", width: 75, steps: from(0.5)},
						{field: "Value #H", title: "Half-open", width: 110, unit: "percentunit", steps: over(1)},
						{field: "Value #I", title: "Certificate", unit: "suffix: d", width: 120, steps: below(thresholds.CertWarningDays, thresholds.CertCriticalDays)},
						{field: "Value #J", title: "$SYS", width: 110, states: sysColors()},
						{field: "Value #K", title: "Clients", unit: "short", width: 95},
					},
					q("sum by (target) ("+targets.of("mqtt_target_failing_probes")+") or 0 * count by (target) ("+targets.of("mqtt_target_info")+")", ""),
					q("sum by (target) ("+reached+") / count by (target) ("+reached+")", ""),
					q(ratio(shown, "target", targets, connect), ""),
					q(connectDuration.quantile(thresholds.ConnectQuantile, shown, "target", targets, connect), ""),
					q(sessions, ""),
					q("sum by (target) ("+events(shown, targets.of("mqtt_probe_session_disconnects_total", `initiator!="client"`))+")", ""),
					q(lost(shown), ""),
					q(lateness(targets, "target"), ""),
					q(expiry, ""),
					q(worst("target", sysStates(), func(s string) string { return targets.of("mqtt_broker_sys_state", matcher("state", s)) }), ""),
					q("sum by (target) (max by (target, node) ("+targets.of("mqtt_broker_clients_connected")+"))", ""),
				).sized(24, 10),
			}},
			{"History", []*panel{
				newSeries("Failures by reason", "short",
					"Failed runs of all kinds in each step, by reason. Empty: no run failed. If many targets have the same reason at once, the cause is most likely the agent's own network, or a balancer, name server or certificate authority that they share.",
					q("sum by (reason) ("+events(step, targets.of("mqtt_probe_failures_total"))+") > 0", "{{reason}}")).bars().faults().every("1m"),
				newSeries("Connects that succeed, by target, the $top worst", "percentunit",
					"Share of conclusive connects that succeeded, for all agents and profiles together, of the targets where the fewest succeeded in the time range. The line is the objective, {objective}.",
					q(among(ratio(step, "target", targets, connect), "target", smallest(ratio(shown, "target", targets, connect))), "{{target}}")).colored(below(objective, 1-10*(1-objective))).within(0, 1).every("1m"),
				newSeries("Slow connects (p99), by target, the $top worst", "s",
					"99 of 100 connects took less time than this, from resolving the name to CONNACK, at the targets that have been the slowest on average since the agents were started. The lines are at {slow} and {very slow}. A device that waits this long also keeps its radio on for this long.",
					q(among(connectDuration.quantile(thresholds.ConnectQuantile, step, "target", targets, connect), "target",
						largest(connectDuration.meanEver(targets))), "{{target}}")).
					colored(above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)).from(0).stepping(24).every("1m"),
				newSeries("Sessions that ended, by reason", "short",
					"Ends of held sessions in each step. Sessions that pingreq itself ended are left out. If sessions to many targets end at the same moment, look at the agent's network.",
					q(happened(step, "reason", targets.of("mqtt_probe_session_disconnects_total", `initiator!="client"`)), "{{reason}}")).bars().faults().every("1m"),
				newSeries("Half-open detection ÷ keepalive, by target, the $top worst", "none",
					"How long brokers treat vanished clients as connected, as a multiple of the keepalive. Each target shows its worst profile in the latest runs. The lines are at {grace}, as the standard says, and at {late}. A detection is late above {late} × keepalive + 10 s. The 10 s matter only with short keepalives.",
					q(among("max by (target) ("+targets.of("mqtt_probe_halfopen_grace_ratio")+")", "target", worstHalfopen(targets)), "{{target}}")).
					points().colored(above(thresholds.KeepaliveGrace, thresholds.HalfopenLateRatio)).from(0).linked(to(halfopenUID, "Half-open of ${__field.labels.target}", seriesTarget)),
				newSeries("Zombies and messages lost, by target", "short",
					"Sessions on which the broker answered pings but not publishes (zombies), and messages that never arrived, in each step, at the targets that have most. Devices do not notice that their session is a zombie, and stay in it until they reconnect. Restart the broker or fail over.",
					q("topk($top, sum by (target) ("+events(step, targets.of("mqtt_probe_zombies_total"))+") > 0)", "zombies {{target}}"),
					q("topk($top, sum by (target) ("+events(step, targets.of("mqtt_probe_messages_lost_total"))+") > 0)", "lost {{target}}")).bars().faults().every("1m"),
			}},
			{"Certificates and keepalives", []*panel{
				newTable("Certificates",
					"Days until a certificate expires. In the column \"Whose\", \"broker\" means the chain of the broker that verifies. \"Life left\" is the share of its life: certificates that live for days only are renewed at half of it. From that day on, devices that verify it cannot connect. \"Ours\" means our own client certificate. Orange at {cert warning}, red at {cert critical}.",
					"Days",
					[]column{
						{field: "target", title: "Target", links: []link{toTarget}},
						{field: "whose", title: "Whose", width: 100},
						{field: "Value #A", title: "Days", unit: "suffix: d", width: 100, steps: below(thresholds.CertWarningDays, thresholds.CertCriticalDays)},
						{field: "Value #B", title: "Life left", unit: "percentunit", width: 100},
					},
					q("min by (target, whose) ("+expiries(targets)+")", ""),
					q("min by (target, whose) ("+lifeLeft(targets)+")", "")).ascending().sized(12, 8),
				newTable("Keepalives longer than the path allows",
					"Profiles of held sessions whose effective keepalive is longer than the recommended one. The recommended keepalive is the longest that the path to the target allows, minus a reserve. The path cuts silent connections with a longer keepalive, and devices notice it late. Lower the keepalive, or raise the idle limit of the balancer, firewall or NAT. Empty: no keepalive is too long, or no idle probe has found a limit.",
					"Too long by",
					[]column{
						{field: "target", title: "Target", links: []link{to(halfopenUID, "Half-open and keepalive of ${__data.fields.target}", rowTarget)}},
						{field: "profile", title: "Profile", width: 160},
						{field: "Value", title: "Too long by", unit: "s", width: 140, steps: over(0)},
					},
					q("max by (target, profile) ("+targets.of("mqtt_probe_keepalive_seconds", `kind="session"`)+" - on (agent, target) group_left min by (agent, target) ("+targets.of("mqtt_probe_recommended_keepalive_seconds")+")) > 0", "")).or("No keepalive is too long").sized(12, 8),
			}},
		},
	}
}
