package build

import "github.com/pingreq/pingreq/internal/thresholds"

// halfopen is the dashboard about how brokers treat clients that vanish, and which keepalive the
// path allows.
func halfopen() page {
	verdicts := func(window, matchers string) string {
		return "sum(increase(" + probes.of("mqtt_probe_halfopen_verdicts_total", matchers) + "[" + window + "]))"
	}
	keepalive := probes.of("mqtt_probe_keepalive_seconds", `kind="halfopen"`)
	limit := func(bound string) string {
		return "max by (target, probe, profile) (" + probes.of("mqtt_probe_halfopen_limit_seconds", matcher("bound", bound)) + " / ignoring (bound) " + keepalive + ")"
	}
	const who = "{{target}} {{profile}}"
	row := []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}

	return page{
		file: "halfopen", uid: halfopenUID, title: "pingreq / Half-open and keepalive", from: "now-24h",
		text:        "When brokers notice clients that vanished, how clients come back, and which keepalive the path allows.",
		variables:   probeVariables(true),
		annotations: brokerAnnotations(),
		sections: []section{
			{"", []*panel{
				newStat("Late or undetected", "short", verdicts(shown, `verdict=~"late|undetected"`), "no run",
					"Runs in the time range in which the broker noticed a vanished client too late, or not while we watched. Devices that are gone are shown as online. Look at the broker's keepalive settings and load. The alert needs {bad verdicts} of the last {verdicts} runs.").colored(above(0.5, 1.5)).digits(0),
				newStat("Early", "short", verdicts(shown, `verdict="early"`), "no run",
					"Runs in which the broker disconnected a client earlier than {grace} × keepalive minus one second: slow but working devices lose their connection. Look at the broker's keepalive factor and timers.").colored(above(0.5, 1.5)).digits(0),
				newStat("Path cut, or no Will", "short", verdicts(shown, `verdict=~"path_cut|will_missing"`), "no run",
					"A device on the path cut the connection (path_cut), or a Will never came (will_missing: first look at the access rules of its topic).").colored(above(0.5, 1.5)).digits(0),
				newStat("Largest T ÷ K now", "none", "max("+probes.of("mqtt_probe_halfopen_grace_ratio")+")", "no run",
					"The worst of the latest runs: time to detection as a multiple of the keepalive. The standard says {grace}. Up to {late}, plus 10 s, is usual for good brokers.").
					colored(above(thresholds.HalfopenLateRatio, 3)).digits(2),
				newStat("Shortest idle limit found", "s", "min("+probes.of("mqtt_probe_idle_cut_seconds")+")", "none found",
					"The shortest idle time after which a connection was cut. Keepalives must be shorter. None found: every tested connection survived.").digits(0),
				newStat("Keepalive to use", "s", "min("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", "not known",
					"The longest keepalive that every path here allows, minus a reserve: 0.8 of the longest idle time that a connection survived, or the broker's limit if that is lower.").digits(0),
			}},
			{"When is a vanished client noticed?", []*panel{
				newSeries("Detection ÷ keepalive", "none",
					"T ÷ K of the latest run: the time from the last packet of a client that vanished to the arrival of its Will, as a multiple of the effective keepalive. The line is at the standard's {grace}. Dashed: the late limit of each probe ({late} K + 10 s, or as configured). Absent if the broker did not notice at all.",
					q(probes.of("mqtt_probe_halfopen_grace_ratio"), who+" {{mode}} · {{instance}}"),
					q(limit("late"), "late: "+who),
					q(limit("early"), "early: "+who)).
					points().dashed("B", bad).dashed("C", warning).colored(over(thresholds.KeepaliveGrace)).from(0).sized(24, 10),
				newSeries("Verdicts", "short",
					"Conclusive runs in each step. On time is from {grace} K − 1 s to the late limit. Early: working clients lose their connection. Late, undetected: dead clients stay. Path cut: a balancer, firewall or NAT ended the connection first. Will missing: the Will was not published.",
					q("sum by (verdict) (increase("+probes.of("mqtt_probe_halfopen_verdicts_total")+"[$__rate_interval])) > 0", "{{verdict}}")).bars().every("10m").sized(8, 8),
				newHeat("Detection times", "Time from the last packet of a client that vanished to the arrival of its Will, in seconds, of all runs here.", detectionDuration, probes).every("10m").sized(8, 8),
				newHeat("Times to the broker's close", "Time from the last packet of a client that vanished until the broker closed its connection, if the client can see it (modes mute and silent). If this is much later than the detection, the broker still holds the connection after it published the Will.", closeDuration, probes).every("10m").sized(8, 8),
				newSeries("Detection time and its limits", "s",
					"The latest detection in seconds, against the late limit (dashed). During this time a device is shown as online, its messages queue, and commands to it are lost.",
					q(probes.of("mqtt_probe_halfopen_last_detection_seconds"), who+" {{mode}} · {{instance}}"),
					q("max by (target, probe, profile) ("+probes.of("mqtt_probe_halfopen_limit_seconds", `bound="late"`)+")", "late: "+who)).
					points().dashed("B", bad).from(0),
				newTable("Latest runs",
					"Each half-open probe: effective keepalive K, how the client vanished, detection time T, T ÷ K, and the limits. Deaf and mute are like a pulled cable. Silent is like a hung device whose TCP still answers.",
					"T ÷ K",
					[]column{
						{field: "target", title: "Target", links: row}, {field: "profile", title: "Profile"}, {field: "instance", title: "Agent"}, {field: "mode", title: "Mode", width: 80},
						{field: "Value #A", title: "T ÷ K", width: 80, unit: "none", steps: above(thresholds.HalfopenLateRatio, 3)},
						{field: "Value #B", title: "T", unit: "s", width: 80},
						{field: "Value #C", title: "K", unit: "s", width: 80},
						{field: "Value #D", title: "Late after", unit: "s", width: 95},
					},
					q("max by ("+identity+", mode) ("+probes.of("mqtt_probe_halfopen_grace_ratio")+")", ""),
					q("max by ("+identity+", mode) ("+probes.of("mqtt_probe_halfopen_last_detection_seconds")+")", ""),
					q("max by ("+identity+") ("+keepalive+")", ""),
					q("max by ("+identity+") ("+probes.of("mqtt_probe_halfopen_limit_seconds", `bound="late"`)+")", "")).sized(12, 8),
			}},
			{"Does it get back in, and are its messages there?", []*panel{
				newSeries("Takeovers (p99)", "s",
					"From CONNECT to CONNACK of a client whose id another connection already uses: a live one, or a half-open one as after a lost network. A device that comes back waits this long. If the count of a victim stops growing, its takeovers fail.",
					q(takeoverDuration.quantile(0.99, step, "target, victim", probes), "{{target}} {{victim}}")).points().from(0).every("10m"),
				newSeries("Failed takeovers, by reason", "short",
					"Takeover runs that failed in each step. connack_timeout, not_authorized: the device stays out until the broker notices the dead connection. not_taken_over: two clients with one id are connected.",
					q(`sum by (target, reason) (increase(`+probes.of("mqtt_probe_failures_total", `kind="takeover"`)+`[$__rate_interval])) > 0`, "{{target}}: {{reason}}")).bars().every("10m"),
				newSeries("Resume: time to the last message", "s",
					"From CONNACK of a client that came back to the last of the QoS 1 messages that waited for it, if all came (p99). NATS takes 30 s for messages that it had already sent to the dead connection.",
					q(resumeDuration.quantile(0.99, step, "target", probes), "{{target}}")).points().from(0).every("10m"),
				newSeries("Resume: results of the messages", "short",
					"Messages that were acknowledged to their publisher while the client was gone, in each step: delivered or lost. Duplicates are allowed at QoS 1.",
					q("sum by (result) (increase("+probes.of("mqtt_probe_resume_messages_total")+"[$__rate_interval]))", "{{result}}")).bars().every("10m"),
				newTimeline("Resume: was the session kept?",
					"Whether the broker still had the session when the client came back. If not, its messages and subscriptions are lost: look for a restart without persistence, a limit on sessions, or a balancer that chose another node.",
					[]state{{"0", "lost", bad}, {"1", "kept", good}},
					q("min by (target, profile, instance) (min_over_time("+probes.of("mqtt_probe_resume_session_present")+"[$__rate_interval]))", who+" · {{instance}}")).sized(24, 5),
			}},
			{"Which keepalive does the path allow?", []*panel{
				newTable("Keepalive and idle limit",
					"Each idle probe: the longest idle time that a connection survived, the shortest idle time after which one was cut, and the keepalive to use. \"In use\" is the longest effective keepalive of the held sessions to the same target. It is red if it is longer than the path allows.",
					"Too long by",
					[]column{
						{field: "target", title: "Target", links: row}, {field: "instance", title: "Agent"},
						{field: "Value #A", title: "Keepalive to use", unit: "s", width: 140},
						{field: "Value #B", title: "In use, at most", unit: "s", width: 130},
						{field: "Value #C", title: "Too long by", unit: "s", width: 110, steps: over(1e-9)},
						{field: "Value #D", title: "Survived", unit: "s", width: 100},
						{field: "Value #E", title: "Cut", unit: "s", width: 100},
					},
					q("min by (job, instance, target) ("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", ""),
					q("max by (job, instance, target) ("+targets.of("mqtt_probe_keepalive_seconds", `kind="session"`)+")", ""),
					q("max by (job, instance, target) ("+targets.of("mqtt_probe_keepalive_seconds", `kind="session"`)+") - min by (job, instance, target) ("+probes.of("mqtt_probe_recommended_keepalive_seconds")+")", ""),
					q("max by (job, instance, target) ("+probes.of("mqtt_probe_idle_survived_seconds")+")", ""),
					q("min by (job, instance, target) ("+probes.of("mqtt_probe_idle_cut_seconds")+")", "")).sized(24, 7),
				newSeries("Idle times survived and cut", "s",
					"The limit lies between the two. If the limit changes, a balancer, firewall or NAT on the path changed. Absent: nothing survived, or nothing was cut.",
					q("max by (target, profile) ("+probes.of("mqtt_probe_idle_survived_seconds")+")", "survived: "+who),
					q("min by (target, profile) ("+probes.of("mqtt_probe_idle_cut_seconds")+")", "cut: "+who)).dashed("B", bad).from(0),
				newSeries("Sessions that ended after silence", "short",
					"Ends of held sessions in each step that fit an idle limit or a keepalive: closed or dead after silence. Compare with the limits on the left.",
					q(happened(step, "target, reason", targets.of("mqtt_probe_session_disconnects_total", `reason=~"keepalive_timeout|idle_timeout|pingresp_timeout|peer_closed|connection_reset"`, `initiator!="client"`)), "{{target}}: {{reason}}")).bars().every("5m"),
			}},
		},
	}
}
