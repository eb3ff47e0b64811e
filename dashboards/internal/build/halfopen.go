package build

import "github.com/pingreq/pingreq/internal/thresholds"

// halfopen is the dashboard about how brokers treat clients that vanish, and which keepalive the
// path allows.
func halfopen() page {
	verdicts := func(window, matchers string) string {
		const all = "mqtt_probe_halfopen_verdicts_total"
		return orNone("", events(window, probes.of(all, matchers)), probes.of(all))
	}
	keepalive := probes.of("mqtt_probe_keepalive_seconds", `kind="halfopen"`)
	limit := func(bound string) string {
		return "max by (target, probe, profile) (" + probes.of("mqtt_probe_halfopen_limit_seconds", matcher("bound", bound)) + " / ignoring (bound) " + keepalive + ")"
	}
	late := func(expr string) string { return among(expr, "target", worstHalfopen(probes)) }
	shortest := func(expr string) string {
		return among(expr, "target", smallest("min by (target) ("+probes.of("mqtt_probe_idle_cut_seconds")+" @ end()) or min by (target) (1e6 + "+probes.of("mqtt_probe_idle_survived_seconds")+" @ end())"))
	}
	slowest := func(h histogram, by string) string {
		return among(h.mean(step, by, probes), "target", largest(h.meanEver(probes)))
	}
	const (
		who  = "{{target}} {{profile}}"
		kept = "target, profile, agent"
	)
	row := []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}

	return page{
		file: "halfopen", uid: halfopenUID, title: "pingreq / Half-open and keepalive", from: "now-3h", many: true,
		text:        "When brokers notice clients that vanished, what happens when clients come back, and which keepalive the path allows.",
		variables:   append(probeVariables(true), topVariable()),
		annotations: brokerAnnotations("5m", 600),
		sections: []section{
			{"", []*panel{
				newStat("Late or undetected", "short", verdicts(shown, `verdict=~"late|undetected"`), "no run",
					"Runs in the time range in which the broker noticed a vanished client too late, or did not notice it while the probe watched. Devices that are gone then look online. Look at the broker's keepalive settings and load. An alert fires if {bad verdicts} of the last {verdicts} runs are bad.").colored(above(0.5, 1.5)).digits(0),
				newStat("Early", "short", verdicts(shown, `verdict="early"`), "no run",
					"Runs in the time range in which the broker disconnected a client earlier than {grace} × keepalive − 1 s. Devices that are slow but alive lose their connection. Look at the broker's keepalive factor and timers.").colored(above(0.5, 1.5)).digits(0),
				newStat("Path cut, or no Will", "short", verdicts(shown, `verdict=~"path_cut|will_missing"`), "no run",
					"Runs in the time range in which something on the path cut the connection (path_cut), or the Will never came (will_missing). For will_missing, first look at the access rules of the Will's topic.").colored(above(0.5, 1.5)).digits(0),
				newStat("Largest T ÷ late limit", "percentunit", "max("+lateness(probes, identity)+")", "no run",
					"Time to detection as a share of the time after which it is late: the worst of the latest runs. The limit is {late} × keepalive + 10 s, or as configured.").
					colored(over(1)).digits(0),
				newStat("Shortest idle limit found", "s", "min("+probes.of("mqtt_probe_idle_cut_seconds")+")", "none found",
					"The shortest idle time after which a connection was cut. Keepalives must be shorter than this. None found: no tested connection was cut.").digits(0),
				newStat("Keepalive to use", "s", "min("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", "not known",
					"The longest keepalive that every path here allows, minus a reserve: 0.8 of the longest idle time that a connection survived, or the broker's limit if that is lower.").digits(0),
			}},
			{"When is a vanished client noticed?", []*panel{
				newSeries("Detection ÷ keepalive, the $top worst targets", "none",
					"T ÷ K of the latest run: the time from the last packet of a client that vanished to the arrival of its Will, as a multiple of the effective keepalive. The line is at {grace}, as the standard says. The dashed lines are the limits of each probe for late ({late} K + 10 s, or as configured) and early. There is no value if the broker did not notice at all.",
					q(late(probes.of("mqtt_probe_halfopen_grace_ratio")), who+" {{mode}} · {{agent}}"),
					q(late(limit("late")), "late: "+who),
					q(late(limit("early")), "early: "+who)).
					points().dashed("B", bad).dashed("C", warning).colored(over(thresholds.KeepaliveGrace)).from(0).sized(24, 10),
				newSeries("Verdicts", "short",
					"Conclusive runs in each step. On time: from {grace} K − 1 s to the late limit. Early: clients that are alive lose their connection. Late or undetected: dead clients stay connected for too long. Path cut: a balancer, firewall or NAT ended the connection first. Will missing: the Will was not published.",
					q("sum by (verdict) ("+events(step, probes.of("mqtt_probe_halfopen_verdicts_total"))+") > 0", "{{verdict}}")).bars().painted(verdictPaints()).every("10m").sized(8, 8),
				newHeat("Detection times", "Time from the last packet of a client that vanished to the arrival of its Will, for all selected runs.", detectionDuration, probes).every("10m").sized(8, 8),
				newHeat("Times to the broker's close", "Time from the last packet of a client that vanished until the broker closed its connection. Only the modes mute and silent can see the close. If it is much later than the detection, the broker kept the connection after it had published the Will.", closeDuration, probes).every("10m").sized(8, 8),
				newSeries("Latest three verdicts, the $top worst targets", "short",
					"The latest three verdicts of each probe on the broker. Two bad ones of three raise an alert.",
					q(late("max by ("+identity+", verdict) ("+probes.of("mqtt_probe_halfopen_recent_verdicts")+")"), who+" {{verdict}} · {{agent}}")).points().from(0).digits(0).sized(24, 6),
				newSeries("Detection time and its limits, the $top worst targets", "s",
					"The latest detection time, and the late limit (dashed), in seconds. Until the detection, a device looks online, its messages queue, and commands to it are lost.",
					q(late(probes.of("mqtt_probe_halfopen_last_detection_seconds")), who+" {{mode}} · {{agent}}"),
					q(late("max by (target, probe, profile) ("+probes.of("mqtt_probe_halfopen_limit_seconds", `bound="late"`)+")"), "late: "+who)).
					points().dashed("B", bad).from(0).sized(24, 8),
				newTable("Latest runs",
					"One row for each half-open probe: how the client vanished (mode), T ÷ K, the detection time T, the effective keepalive K, the late limit, and T as a share of it. Deaf and mute are like a pulled cable. Silent is like a device that hangs while its TCP still answers.",
					"T ÷ limit",
					[]column{
						{field: "target", title: "Target", links: row}, {field: "profile", title: "Profile"}, {field: "agent", title: "Agent"}, {field: "mode", title: "Mode", width: 80},
						{field: "Value #A", title: "T ÷ K", width: 80, unit: "none"},
						{field: "Value #B", title: "T", unit: "s", width: 80},
						{field: "Value #C", title: "K", unit: "s", width: 80},
						{field: "Value #D", title: "Late after", unit: "s", width: 110},
						{field: "Value #E", title: "T ÷ limit", unit: "percentunit", width: 105, steps: over(1)},
					},
					q("max by ("+identity+", mode) ("+probes.of("mqtt_probe_halfopen_grace_ratio")+")", ""),
					q("max by ("+identity+", mode) ("+probes.of("mqtt_probe_halfopen_last_detection_seconds")+")", ""),
					q("max by ("+identity+") ("+keepalive+")", ""),
					q("max by ("+identity+") ("+probes.of("mqtt_probe_halfopen_limit_seconds", `bound="late"`)+")", ""),
					q(lateness(probes, identity), "")).sized(24, 7),
			}},
			{"Can a client come back and get its messages?", []*panel{
				newSeries("Takeovers, the $top slowest targets", "s",
					"Mean time from CONNECT to CONNACK of a client whose id another connection already uses. That connection (the victim) is alive, or half-open as after a lost network. A device that comes back waits this long. If a victim has no new values, its takeovers fail.",
					q(slowest(takeoverDuration, "target, victim"), "{{target}} {{victim}}")).points().from(0).every("10m"),
				newSeries("Failed takeovers, by reason", "short",
					"Takeover runs that failed in each step. With connack_timeout or not_authorized, the device cannot connect until the broker notices the dead connection. With not_taken_over, two clients with the same id are connected.",
					q(`topk($top, sum by (target, reason) (`+events(step, probes.of("mqtt_probe_failures_total", `kind="takeover"`))+`) > 0)`, "{{target}}: {{reason}}")).bars().faults().every("10m"),
				newSeries("Resume: time to the last message, the $top slowest targets", "s",
					"Time from the CONNACK of a client that came back until it had all QoS 1 messages that waited for it, on average. Runs in which messages are missing are left out. NATS takes 30 s for messages that it had already sent to the dead connection.",
					q(slowest(resumeDuration, "target"), "{{target}}")).points().from(0).every("10m"),
				newSeries("Resume: results of the messages", "short",
					"Messages that the broker acknowledged to their publisher while the client was gone, by what happened to them, in each step. Duplicates are allowed at QoS 1.",
					q("sum by (result) ("+events(step, probes.of("mqtt_probe_resume_messages_total"))+")", "{{result}}")).bars().painted(resultPaints()).every("10m"),
				newTimeline("Resume: was the session kept? The $top worst",
					"Whether the broker still had the session when the client came back. If it did not, the client's messages and subscriptions are lost. Look for a restart without persistence, a limit on sessions, or a balancer that chose another node.",
					[]state{{"0", "lost", bad}, {"1", "kept", good}},
					q(among("min by ("+kept+") (min_over_time("+probes.of("mqtt_probe_resume_session_present")+"[$__rate_interval]))", kept,
						smallest("min by ("+kept+") (min_over_time("+probes.of("mqtt_probe_resume_session_present")+"[$__range]))")), who+" · {{agent}}")).sized(24, 5),
			}},
			{"Which keepalive does the path allow?", []*panel{
				newTable("Keepalive and idle limit",
					"One row for each agent and target with an idle probe: the longest idle time that a connection survived, the shortest idle time after which one was cut, and the keepalive to use. \"In use\" is the longest effective keepalive of the held sessions to the same target. \"Too long by\" is red if that keepalive is longer than the path allows.",
					"Too long by",
					[]column{
						{field: "target", title: "Target", links: row}, {field: "agent", title: "Agent"},
						{field: "Value #A", title: "Keepalive to use", unit: "s", width: 155},
						{field: "Value #B", title: "In use, at most", unit: "s", width: 145},
						{field: "Value #C", title: "Too long by", unit: "s", width: 120, steps: over(1e-9)},
						{field: "Value #D", title: "Survived", unit: "s", width: 100},
						{field: "Value #E", title: "Cut", unit: "s", width: 100},
					},
					q("min by (agent, target) ("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", ""),
					q("max by (agent, target) ("+targets.of("mqtt_probe_keepalive_seconds", `kind="session"`)+")", ""),
					q("max by (agent, target) ("+targets.of("mqtt_probe_keepalive_seconds", `kind="session"`)+") - min by (agent, target) ("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", ""),
					q("max by (agent, target) ("+probes.of("mqtt_probe_idle_survived_seconds")+")", ""),
					q("min by (agent, target) ("+probes.of("mqtt_probe_idle_cut_seconds")+")", "")).sized(24, 7),
				newSeries("Idle times survived and cut, the $top shortest", "s",
					"The idle limit of the path lies between the two lines. If it changes, a balancer, firewall or NAT on the path changed. A line is missing if no connection survived, or if none was cut.",
					q(shortest("max by (target, profile) ("+probes.of("mqtt_probe_idle_survived_seconds")+")"), "survived: "+who),
					q(shortest("min by (target, profile) ("+probes.of("mqtt_probe_idle_cut_seconds")+")"), "cut: "+who)).dashed("B", bad).from(0),
				newSeries("Sessions that ended after silence", "short",
					"Ends of held sessions in each step whose reason fits an idle limit or a keepalive: the connection was closed or dead after a silence. Compare with the limits on the left.",
					q("topk($top, "+happened(step, "target, reason", targets.of("mqtt_probe_session_disconnects_total", `reason=~"keepalive_timeout|idle_timeout|pingresp_timeout|peer_closed|connection_reset"`, `initiator!="client"`))+")", "{{target}}: {{reason}}")).bars().faults().every("5m"),
			}},
		},
	}
}
