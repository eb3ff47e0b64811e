package build

import "github.com/pingreq/pingreq/internal/thresholds"

// target is the dashboard about one target in detail.
func target() page {
	const (
		success = "mqtt_probe_success"
		connect = `kind="connect"`
		held    = `kind="session"`
		session = "agent, target, probe, profile"
	)
	sessionTime := func(matchers ...string) string {
		return "sum(increase(" + probes.of("mqtt_probe_session_state_seconds_total", matchers...) + "[$__range]))"
	}
	fates := func(window, by string) []query {
		var out []query
		for _, f := range []string{"lost", "late", "duplicated", "reordered"} {
			out = append(out, q("sum by ("+by+") ("+events(window, probes.of("mqtt_probe_messages_"+f+"_total"))+") > 0", f+" QoS {{qos}}"))
		}
		return append(out, q("sum("+events(window, probes.of("mqtt_probe_messages_foreign_total"))+") > 0", "foreign"))
	}
	objective := thresholds.ConnectObjective
	burns := func(ratios ...string) (all []query) { // each with its name
		for i := 0; i < len(ratios); i += 2 {
			all = append(all, q(burn(ratios[i]), ratios[i+1]+": {{kind}}"))
		}
		return all
	}

	return page{
		file: "target", uid: targetUID, title: "pingreq / Target", from: "now-3h",
		text:        "One MQTT broker in detail: what fails and why, the phases of a connect, held sessions, messages, and vanished clients.",
		variables:   append(probeVariables(false), topVariable()),
		annotations: brokerAnnotations("60s", 120),
		sections: []section{
			{"", []*panel{
				newStat("Probes failing", "none", failingProbes(), "not watched",
					"Probes of this target that fail now. The table below lists them. Probes whose fault is mended do not count, although their own next run may be far.").colored(from(1)),
				newStat("Connects that succeed", "percentunit", ratio(shown, "", probes, connect), "no run",
					"Share of the conclusive connects in the time range that succeeded. The objective is {objective}.").colored(below(objective, 1-10*(1-objective))).digits(2),
				newStat("Slow connects (p99)", "s", connectDuration.quantile(thresholds.ConnectQuantile, shown, "", probes, connect), "no run",
					"99 of 100 connects in the time range took less time than this, from resolving the name to CONNACK.").colored(above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)),
				newStat("Session time connected", "percentunit", sessionTime(`state="connected"`)+" / "+sessionTime(), "no session",
					"Share of the time range in which held sessions were proven alive. If a session turns out to be dead, the time since it was last proven alive counts as blind or zombie, not as connected.").
					colored(below(thresholds.SessionObjective, 0.9)).digits(2),
				newStat("Messages lost", "short", orNone("", events(shown, probes.of("mqtt_probe_messages_lost_total")), probes.of("mqtt_probe_messages_published_total")), "none sent",
					"Messages in the time range that never arrived.").colored(from(0.5)).digits(0),
				newStat("Certificate expires in", "suffix: d", "min("+expiries(probes)+")", "no TLS",
					"The earliest expiry of any certificate in the chain that the broker sends, or of our own client certificate. Orange at {cert warning}, red at {cert critical}.").
					colored(below(thresholds.CertWarningDays, thresholds.CertCriticalDays)).digits(1),
				newTable("Address",
					"Where the target is, and a command that runs all its probes once and says what is wrong. If the broker wants credentials, add --username and --password-file.",
					"Agents",
					[]column{
						{field: "address", title: "Address", width: 360},
						{field: "command", title: "Try it by hand"},
						{field: "Value", title: "Agents", unit: "short", width: 90},
					},
					q(`count by (address, command) (label_join(label_replace(`+addressed("count by (agent, target) ("+targets.of("mqtt_target_info")+")")+
						`, "command", "pingreq probe", "", ""), "command", " ", "command", "address"))`, "")).sized(24, 4),
			}},
			{"What is broken", []*panel{
				diagnosisTable(),
				failingTable(probes),
				newTimeline("Probes, the $top worst",
					"Result of the latest run of each probe over time, by agent: those that have been failing for most of the time range. The table \"Every probe\" has all. A step with any failure is shown as failing. Missing: no conclusive run yet. Compare the agents. If only one of them sees a fault, the fault is on its path to the broker.",
					successColors(),
					q(among("min by ("+identity+") (min_over_time("+probes.of(success)+"[$__rate_interval]))", identity,
						failedMost(identity, probes.of("mqtt_probe_failing_since_timestamp_seconds"), probes.of("mqtt_probe_info"))), "{{kind}} {{probe}} {{profile}} · {{agent}}")).sized(24, 10),
				newSeries("Probes that fail, by kind", "short",
					"Probes that fail now. A run that failed during an outage is not counted after it, although the next run of its probe may be far.",
					q("max by (agent, kind) ("+targets.of("mqtt_target_failing_probes")+")", "{{kind}} · {{agent}}")).bars().faults().every("1m"),
				newSeries("Failures in a row", "short",
					"How many of the latest runs of a probe failed one after the other. From two on it is no accident.",
					q("max by (kind, probe, profile) ("+probes.of("mqtt_probe_consecutive_failures")+") > 0", "{{kind}} {{probe}} {{profile}}")).bars().faults().every("1m"),
				newSeries("Failures by reason", "short",
					"Failed runs in each step, by kind of probe and reason. Empty: no run failed.",
					q("sum by (kind, reason) ("+events(step, probes.of("mqtt_probe_failures_total"))+") > 0", "{{kind}}: {{reason}}")).bars().faults().every("1m"),
				newSeries("Runs by outcome", "short",
					"Runs in each step. Inconclusive: usually a problem on the agent's own side. The run says nothing about the broker. Unsupported: the broker announced that it does not support what the run needs. A held session counts as one run, from its connect to its end.",
					q("sum by (outcome) (increase("+probes.of("mqtt_probe_runs_total")+"[$__rate_interval]))", "{{outcome}}")).bars().painted(outcomePaints()).every("1m"),
			}},
			{"Error budget", []*panel{
				newStat("Budget left, of 30 days", "percentunit", "min("+budgetLeft()+")", "no recording rules",
					"How much of the error budget of 30 days is left, of connects or round trips, whichever has less. The objective of {objective} allows {allowed} of the runs to fail. Below 0 the objective is missed. It needs the recording rules of pingreq, and counts the days that Prometheus has, up to the last ten minutes.").
					colored(below(0.25, 0)).digits(1).sized(4, 8),
				newSeries("Budget left, by kind", "percentunit",
					"How much of the error budget of 30 days was left at each time, by kind of probe. At 0 the objective of {objective} is missed. It needs the recording rules of pingreq.",
					q(budgetLeft(), "{{kind}}")).colored(below(0.25, 0)).every("10m").sized(8, 8),
				newSeries("Burn rate, 1 h and 5 min", "none",
					"How many times faster than allowed the error budget is used up, as the agent that is worst off sees it, without the minutes in which no client could connect, which have an alert of their own. MQTTErrorBudgetBurn fires if both windows are above the line at {burn fast} for most agents. It needs the recording rules of pingreq.",
					burns("reachable_ratio5m", "5 min", "reachable_ratio1h", "1 h")...).colored(over(thresholds.BurnFast)).from(0).every("1m").sized(12, 8),
				newSeries("Burn rate, 6 h and 30 min", "none",
					"The same over longer windows. MQTTErrorBudgetBurn also fires if both windows are above the line at {burn slow}. It needs the recording rules of pingreq.",
					burns("reachable_ratio30m", "30 min", "reachable_ratio6h", "6 h")...).colored(over(thresholds.BurnSlow)).from(0).every("1m"),
				newSeries("Burn rate, days", "none",
					"The same over days, with all minutes. MQTTErrorBudgetBurnSlow fires if 1 d and 2 h are above 3, or 3 d and 6 h above 1. Above 1, the budget of 30 days does not last for 30 days. It needs the recording rules of pingreq.",
					burns("ratio2h", "2 h", "ratio1d", "1 d", "ratio6h", "6 h", "ratio3d", "3 d")...).colored(above(1, 3)).from(0).every("2m"),
			}},
			{"Connect", []*panel{
				newSeries("Phases of a connect", "s",
					"Mean duration of each phase. The phases add up to the whole connect: name, TCP, proxy, TLS, websocket, and CONNECT to CONNACK (mqtt). If tcp is slow, look at the path. If tls is slow, look at the server's load. If mqtt is slow, look at the broker or at the service that checks its users. 40 ms in mqtt are often caused by Nagle's algorithm. A panel below shows it.",
					q(phaseDuration.mean(step, "phase", probes, connect), "{{phase}}")).stacked().every("1m"),
				newHeat("Connect durations",
					"How long connects took, from the start of an attempt to CONNACK. Two bands mean two groups of connects: two nodes, two paths, or IPv4 and IPv6.",
					connectDuration, probes, connect).every("1m"),
				newSeries("Slow connects (p99), by profile and agent", "s",
					"99 of 100 connects took less time than this. The lines are at {slow} and {very slow}. Profiles differ in keepalive, TLS and protocol. Agents differ in their path to the broker.",
					q(connectDuration.quantile(thresholds.ConnectQuantile, step, "profile, agent", probes, connect), "{{profile}} · {{agent}}")).
					colored(above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)).from(0).every("1m"),
				newSeries("Connects that succeed, by profile and agent", "percentunit",
					"Share of conclusive connects that succeeded. The line is the objective, {objective}.",
					q(ratio(step, "profile, agent", probes, connect), "{{profile}} · {{agent}}")).colored(below(objective, 1-10*(1-objective))).within(0, 1).every("1m"),
				newTable("Every probe",
					"The result of the latest run of each probe, its protocol and transport, and the TLS version and cipher of the latest handshake. The keepalive is the one in effect: that of the profile, or the Server Keep Alive of the broker.",
					"Keepalive",
					[]column{
						{field: "kind", title: "Kind", width: 110}, {field: "probe", title: "Probe"}, {field: "profile", title: "Profile"}, {field: "agent", title: "Agent"},
						{field: "protocol", title: "MQTT", width: 80}, {field: "transport", title: "Transport", width: 100},
						{field: "version", title: "TLS", width: 80}, {field: "cipher", title: "Cipher"},
						{field: "Value #A", title: "Keepalive", unit: "s", width: 110},
						{field: "Value #B", title: "Latest run", width: 110, states: []state{{"0", "failed", bad}, {"1", "well", good}}},
					},
					q("max by ("+identity+", protocol, transport, version, cipher) ("+probes.of("mqtt_probe_keepalive_seconds")+
						" * on ("+identity+") group_left (protocol, transport) "+probes.of("mqtt_probe_info")+
						" * on ("+identity+") group_left (version, cipher) "+probes.of("mqtt_probe_tls_info")+
						" or "+probes.of("mqtt_probe_keepalive_seconds")+" * on ("+identity+") group_left (protocol, transport) "+probes.of("mqtt_probe_info")+
						" unless on ("+identity+") "+probes.of("mqtt_probe_tls_info")+")", ""),
					q("min by ("+identity+") ("+probes.of(success)+")", "")).sized(24, 8),
				newSeries("CONNACK delayed by Nagle's algorithm", "short",
					"1: the CONNACK comes about 40 ms late, because the broker first waits for our delayed TCP acknowledgement (Nagle's algorithm). If we acknowledge at once, it is not late. Real devices are delayed too. Set TCP_NODELAY at the broker. In Mosquitto, set set_tcp_nodelay true.",
					q("max by (profile, agent) ("+probes.of("mqtt_probe_connect_delayed_ack")+")", "{{profile}} · {{agent}}"),
					q("max by (probe, profile, agent) ("+probes.of("mqtt_probe_messages_delayed_ack")+")", "messages of {{probe}} {{profile}} · {{agent}}")).from(0).digits(0),
				newSeries("TLS sessions resumed", "percentunit",
					"Share of the probes whose latest TLS handshake resumed an earlier TLS session. Only profiles with tls.resumption offer this. If the share stays 0, the broker sends no tickets, or its nodes do not share their keys.",
					q("avg by (profile, agent) ("+probes.of("mqtt_probe_tls_resumed")+")", "{{profile}} · {{agent}}")).within(0, 1),
			}},
			{"Held sessions", []*panel{
				newTimeline("Session states, the $top worst",
					"The worst state of the sessions of each probe: the probes that have been failing for most of the time range. Connected: proven alive. Connecting: not yet connected. Waiting: between two connections. Blind: a ping has had no answer for half of its timeout, so commands to a device would be lost. Zombie: the broker answers pings but not publishes. The session of a device stays a zombie until the device reconnects.",
					sessionColors(),
					q(among(worst(session, sessionStates(), func(s string) string { return probes.of("mqtt_probe_sessions", matcher("state", s)) }), session,
						failedMost(session, probes.of("mqtt_probe_failing_since_timestamp_seconds", held), probes.of("mqtt_probe_info", held))), "{{probe}} {{profile}} · {{agent}}")).sized(24, 7),
				newSeries("Ends of sessions, by reason and initiator", "short",
					"Ends of held sessions in each step. Sessions that pingreq itself ended are left out. Empty: no session ended. Initiator server: the broker closed the connection. Network: the path or the whole host is dead. Unknown: for example a FIN without DISCONNECT, which may come from the broker, its kernel or a balancer. If the ends are regular, look for an idle limit or a restart.",
					q(happened(step, "reason, initiator", probes.of("mqtt_probe_session_disconnects_total", `initiator!="client"`)), "{{reason}} ({{initiator}})")).bars().faults().every("1m"),
				newTable("Ends of sessions, by evidence",
					"Ends of sessions in the time range, by agent, probe and evidence. close_notify or fin: the broker, or a balancer, firewall or NAT in front of it, closed the connection without an MQTT DISCONNECT. deadline: one of our own deadlines passed.",
					"Ends",
					[]column{
						{field: "reason", title: "Reason"}, {field: "initiator", title: "Initiator", width: 100}, {field: "evidence", title: "Evidence", width: 140},
						{field: "probe", title: "Probe", width: 120}, {field: "agent", title: "Agent", width: 140}, {field: "Value", title: "Ends", unit: "short", width: 80},
					},
					q(happened(shown, "agent, probe, reason, initiator, evidence", probes.of("mqtt_probe_session_disconnects_total")), "")).or("No session ended").sized(12, 8),
				newHeat("Ping round trips", "Time from sending a PINGREQ to receiving its PINGRESP. It is the simplest measure of the path and the broker. If it grows, all other times grow too.", pingDuration, probes).every("1m"),
				newSeries("Slow pings (p99)", "s",
					"99 of 100 pings were answered within this time, by profile and agent. The line is at {slow ping}.",
					q(pingDuration.quantile(thresholds.PingQuantile, step, "profile, agent", probes), "{{profile}} · {{agent}}")).
					colored(over(thresholds.PingSlowSeconds)).from(0).every("1m"),
				newHeat("Lives of sessions", "How long sessions lived before they ended. Sessions that pingreq itself ended are left out. If many end at the same age, there is a limit: an idle limit of a balancer, the lifetime of a token, or a regular restart.", lifetime, probes).every("5m"),
				newHeat("Blind times", "Time from the broker's last byte until a deadline showed that the session was dead. A device would have trusted a dead connection for this long. The keepalive and the ping timeout determine the maximum.", blind, probes).every("5m"),
				newSeries("Time by state", "percentunit",
					"Share of the sessions' time in each state. The time up to a packet from the broker counts as connected, as soon as the packet arrives.",
					q("sum by (state) (increase("+probes.of("mqtt_probe_session_state_seconds_total")+"[$__rate_interval])) / on () group_left sum(increase("+probes.of("mqtt_probe_session_state_seconds_total")+"[$__rate_interval]))", "{{state}}")).
					stacked().painted(sessionPaints()).within(0, 1).every("5m").sized(8, 8),
				newSeries("Connects of sessions", "short",
					"Held sessions that connected, in each step. If there are as many connects as ends, each session came back. If there are many connects, sessions flap.",
					q("sum by (probe, profile) (increase("+probes.of("mqtt_probe_session_connects_total")+"[$__rate_interval]))", "{{probe}} {{profile}}")).bars().every("1m").sized(8, 8),
				newSeries("Zombies, and pings without answer", "short",
					"Zombies in each step: the broker answered the session's pings, but acknowledgements or deliveries were missing. \"Cured\" shows whether a reconnect helped. If it did, devices in the field need a reconnect too: their sessions stay zombies until something makes them reconnect. \"Timeout\" counts pings without an answer in time.",
					q("sum by (outcome) ("+events(step, probes.of("mqtt_probe_pings_total", `outcome="timeout"`))+")", "pings: {{outcome}}"),
					q("sum by (missing) ("+events(step, probes.of("mqtt_probe_zombies_total"))+")", "missing: {{missing}}"),
					q("sum by (cured) ("+events(step, probes.of("mqtt_probe_zombie_reconnects_total"))+")", "cured: {{cured}}")).bars().faults().every("1m").sized(8, 8),
			}},
			{"Messages", []*panel{
				newHeat("Delivery times", "Time from writing a PUBLISH to its arrival at the subscriber, for round trips and echoes, and for every QoS.", deliveryDuration, probes).every("1m"),
				newSeries("Slow deliveries (p99), by QoS", "s",
					"99 of 100 messages arrived within this time, by QoS and kind of probe. The line is at {slow delivery}.",
					q(deliveryDuration.quantile(thresholds.DeliveryQuantile, step, "kind, qos", probes), "{{kind}} QoS {{qos}}")).
					colored(over(thresholds.DeliverySlowSeconds)).from(0).every("1m"),
				newSeries("Slow acknowledgements (p99), by QoS", "s",
					"99 of 100 acknowledgements came within this time, from writing a PUBLISH to PUBACK (QoS 1) or PUBCOMP (QoS 2). If acknowledgements are slow and deliveries are fast, look at the broker's storage. 40 ms are often caused by Nagle's algorithm.",
					q(ackDuration.quantile(thresholds.DeliveryQuantile, step, "kind, qos", probes), "{{kind}} QoS {{qos}}")).from(0).every("1m"),
				newSeries("Messages that went wrong", "short",
					"Messages in each step that were lost (they had not arrived when the run or the connection ended), late (they arrived after the timeout), duplicated (allowed at QoS 1) or reordered. Foreign messages on a topic of ours are ignored: see who else may write there. Empty: no problem.",
					fates(step, "qos")...).bars().faults().every("1m"),
				newSeries("Messages published and delivered", "mps",
					"Messages that the probes publish, and messages that arrive. A gap between the two lines means that messages are lost.",
					q("sum(rate("+probes.of("mqtt_probe_messages_published_total")+"[$__rate_interval]))", "published"),
					q("sum(rate("+probes.of("mqtt_probe_messages_delivered_total")+"[$__rate_interval]))", "delivered")).from(0).every("1m").sized(24, 7),
			}},
			{"Vanished clients", []*panel{
				newSeries("Half-open detection ÷ keepalive", "none",
					"How long the broker treated a vanished client as connected, as a multiple of its keepalive. There is no value if it did not notice at all. The lines are at {grace}, as the standard says, and at {late}. During this time a device looks online, and commands to it are lost.",
					q(probes.of("mqtt_probe_halfopen_grace_ratio"), "{{profile}} {{mode}} · {{agent}}")).
					points().colored(above(thresholds.KeepaliveGrace, thresholds.HalfopenLateRatio)).from(0).linked(to(halfopenUID, "Half-open and keepalive", seriesTarget)).sized(8, 8),
				newSeries("Takeovers (p99)", "s",
					"Time from CONNECT to CONNACK of a client whose id another connection already uses. That connection (the victim) is alive or half-open. A device that comes back waits this long.",
					q(takeoverDuration.quantile(0.99, step, "victim", probes), "{{victim}}")).points().from(0).every("10m").sized(8, 8),
				newSeries("Resumed sessions: messages", "short",
					"QoS 1 messages that waited for a client while it was gone, by what happened to them, in each step.",
					q("sum by (result) ("+events(step, probes.of("mqtt_probe_resume_messages_total"))+")", "{{result}}")).bars().painted(resultPaints()).every("10m").sized(8, 8),
			}},
		},
	}
}
