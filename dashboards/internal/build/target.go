package build

import "github.com/pingreq/pingreq/internal/thresholds"

// target is one target in depth.
func target() page {
	const (
		success = "mqtt_probe_success"
		connect = `kind="connect"`
	)
	sessionTime := func(matchers ...string) string {
		return "sum(increase(" + probes.of("mqtt_probe_session_state_seconds_total", matchers...) + "[$__range]))"
	}
	fates := func(window, by string) []query {
		var out []query
		for _, f := range []string{"lost", "late", "duplicated", "reordered"} {
			out = append(out, q("sum by ("+by+") (increase("+probes.of("mqtt_probe_messages_"+f+"_total")+"["+window+"])) > 0", f+" QoS {{qos}}"))
		}
		return out
	}
	objective := thresholds.ConnectObjective

	return page{
		file: "target", uid: targetUID, title: "pingreq / Target", from: "now-3h",
		text:        "One MQTT broker in depth: what fails and why, the phases of a connect, held sessions, messages, vanished clients.",
		variables:   probeVariables(false),
		annotations: brokerAnnotations(),
		sections: []section{
			{"", []*panel{
				newStat("Probes failing", "none", "sum("+probes.of(success)+" == bool 0)", "not watched",
					"Probes of this target whose last conclusive run failed; they stand in the table below.").colored(from(1)),
				newStat("Connects that succeed", "percentunit", ratio(shown, "", probes, connect), "no run",
					"Share of the conclusive connects in the time range that were let in. The objective is {objective}.").colored(below(objective, 1-10*(1-objective))).digits(3),
				newStat("Slow connects (p99)", "s", connectDuration.quantile(thresholds.ConnectQuantile, shown, "", probes, connect), "no run",
					"99 of 100 connects in the time range took less, from resolving the name to CONNACK.").colored(above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)),
				newStat("Session time connected", "percentunit", sessionTime(`state="connected"`)+" / "+sessionTime(), "no session",
					"Share of the time range that held sessions were proven alive. What turned out to be dead counts as blind or zombie time, not as connected.").
					colored(below(thresholds.SessionObjective, 0.9)).digits(3),
				newStat("Messages lost", "short", "sum(increase("+probes.of("mqtt_probe_messages_lost_total")+"[$__range]))", "none sent",
					"Messages in the time range that never arrived.").colored(from(0.5)).digits(0),
				newStat("Certificate expires in", "d", "min("+expiries(probes)+")", "no TLS",
					"The earliest expiry in the chain that the broker sends, or of our client certificate. Orange at {cert warning}, red at {cert critical}.").
					colored(below(thresholds.CertWarningDays, thresholds.CertCriticalDays)).digits(1),
			}},
			{"What is broken", []*panel{
				failingTable(probes),
				newTimeline("Probes",
					"Result of each probe through time, by agent; a failure inside a step shows. Grey or missing: no conclusive run yet. Compare agents: what only one of them sees is on its way to the broker.",
					successColors(),
					q("min by ("+identity+") (min_over_time("+probes.of(success)+"[$__rate_interval]))", "{{kind}} {{probe}} {{profile}} · {{instance}}")).sized(24, 10),
				newSeries("Failures by reason", "short",
					"Failed runs in each step, by kind of probe and reason; empty where none failed.",
					q("sum by (kind, reason) (increase("+probes.of("mqtt_probe_failures_total")+"[$__rate_interval])) > 0", "{{kind}}: {{reason}}")).bars().every("1m"),
				newSeries("Runs by outcome", "short",
					"Runs in each step. Inconclusive runs were spoiled by the agent's own side and say nothing of the broker; unsupported: the broker announced that it does not offer what the run needs. A held session's whole life is one run.",
					q("sum by (outcome) (increase("+probes.of("mqtt_probe_runs_total")+"[$__rate_interval]))", "{{outcome}}")).bars().every("1m"),
			}},
			{"Connect", []*panel{
				newSeries("Phases of a connect", "s",
					"Mean duration of each phase, which sum to the whole: name, TCP, proxy, TLS, websocket, and CONNECT to CONNACK (mqtt). Slow tcp: the path. Slow tls: the server's load. Slow mqtt: the broker, or what checks its users. 40 ms in mqtt are often Nagle's algorithm: see below.",
					q(phaseDuration.mean(step, "phase", probes, connect), "{{phase}}")).stacked().every("1m"),
				newHeat("Connect durations",
					"How long connects took, from the start of an attempt to CONNACK. Two bands mean two populations: two nodes, two ways, IPv4 and IPv6.",
					connectDuration, probes, connect).every("1m"),
				newSeries("Slow connects (p99), by profile and agent", "s",
					"99 of 100 connects took less. The lines are at {slow} and {very slow}. Profiles differ in keepalive, TLS and protocol; agents in their way to the broker.",
					q(connectDuration.quantile(thresholds.ConnectQuantile, step, "profile, instance", probes, connect), "{{profile}} · {{instance}}")).
					colored(above(thresholds.ConnectSlowSeconds, thresholds.ConnectVerySlowSeconds)).from(0).every("1m"),
				newSeries("Connects that succeed, by profile and agent", "percentunit",
					"Share of conclusive connects that were let in. The line is the objective, {objective}.",
					q(ratio(step, "profile, instance", probes, connect), "{{profile}} · {{instance}}")).colored(below(objective, 1-10*(1-objective))).within(0, 1).every("1m"),
				newTable("What is spoken",
					"Protocol and transport of each probe, and what TLS agreed on: version and cipher of the latest handshake. The keepalive is the effective one: the profile's, or the Server Keep Alive of the broker.",
					"Keepalive",
					[]column{
						{field: "kind", title: "Kind", width: 110}, {field: "probe", title: "Probe"}, {field: "profile", title: "Profile"}, {field: "instance", title: "Agent"},
						{field: "protocol", title: "MQTT", width: 80}, {field: "transport", title: "Transport", width: 100},
						{field: "version", title: "TLS", width: 80}, {field: "cipher", title: "Cipher"},
						{field: "Value", title: "Keepalive", unit: "s", width: 110},
					},
					q("max by ("+identity+", protocol, transport, version, cipher) ("+probes.of("mqtt_probe_keepalive_seconds")+
						" * on ("+identity+") group_left (protocol, transport) "+probes.of("mqtt_probe_info")+
						" * on ("+identity+") group_left (version, cipher) "+probes.of("mqtt_probe_tls_info")+
						" or "+probes.of("mqtt_probe_keepalive_seconds")+" * on ("+identity+") group_left (protocol, transport) "+probes.of("mqtt_probe_info")+
						" unless on ("+identity+") "+probes.of("mqtt_probe_tls_info")+")", "")).sized(24, 8),
				newSeries("Answers that wait for our acknowledgement", "short",
					"1: CONNACK comes 40 ms late, and without that delay when we acknowledge at once: Nagle's algorithm at the broker, which real devices feel too. Set TCP_NODELAY there, in Mosquitto set_tcp_nodelay true.",
					q("max by (profile, instance) ("+probes.of("mqtt_probe_connect_delayed_ack")+")", "{{profile}} · {{instance}}")).from(0).digits(0),
				newSeries("TLS sessions resumed", "percentunit",
					"Share of the probes whose latest TLS handshake resumed an earlier session; only profiles with tls.resumption offer to. If it stays 0, the broker gives no tickets, or its nodes do not share their keys.",
					q("avg by (profile, instance) ("+probes.of("mqtt_probe_tls_resumed")+")", "{{profile}} · {{instance}}")).within(0, 1),
			}},
			{"Held sessions", []*panel{
				newTimeline("Session states",
					"The worst state of the sessions of each probe. Connected: proven alive. Connecting. Waiting: between two lives. Blind: a ping has been without answer for half of its timeout, so commands to a device would go nowhere. Zombie: pings are answered, publishes are not; a device stays so until it reconnects.",
					sessionColors(),
					q(worst("job, instance, target, probe, profile", sessionStates(), func(s string) string { return probes.of("mqtt_probe_sessions", matcher("state", s)) }), "{{probe}} {{profile}} · {{instance}}")).sized(24, 7),
				newSeries("Ends of sessions, by reason and initiator", "short",
					"Ends of held sessions in each step, our own orderly ones left out; empty where none ended. Initiator server: the broker closed. Network: the path is dead. Unknown: a bare FIN may come from the broker, its kernel or a balancer. A rhythm points to an idle limit or a restart.",
					q(happened(step, "reason, initiator", probes.of("mqtt_probe_session_disconnects_total", `initiator!="client"`)), "{{reason}} ({{initiator}})")).bars().every("1m"),
				newTable("Ends of sessions, and what told",
					"The same in the time range, by agent, probe and evidence: close_notify or fin without a word in MQTT come from whoever closed first on the way; deadline means that we found out ourselves.",
					"Ends",
					[]column{
						{field: "reason", title: "Reason"}, {field: "initiator", title: "Initiator", width: 100}, {field: "evidence", title: "Evidence", width: 140},
						{field: "probe", title: "Probe", width: 120}, {field: "instance", title: "Agent", width: 140}, {field: "Value", title: "Ends", unit: "short", width: 80},
					},
					q(happened(shown, "instance, probe, reason, initiator, evidence", probes.of("mqtt_probe_session_disconnects_total")), "")).sized(12, 8),
				newHeat("Ping round trips", "From a PINGREQ on the wire to its PINGRESP. It is the plainest measure of path and broker: when it grows, everything does.", pingDuration, probes).every("1m"),
				newSeries("Slow pings (p99)", "s",
					"99 of 100 pings were answered within this, by profile and agent; the line is at {slow ping}.",
					q(pingDuration.quantile(thresholds.PingQuantile, step, "profile, instance", probes), "{{profile}} · {{instance}}")).
					colored(over(thresholds.PingSlowSeconds)).from(0).every("1m"),
				newHeat("Lives of sessions", "How long sessions lived that ended, our own orderly ends left out. A band at one age is a limit somewhere: a balancer's, a token's, a restart's.", lifetime, probes).every("5m"),
				newHeat("Blind times", "From the broker's last byte to the moment that a deadline told us the session was dead: for so long a device would have believed in a dead connection. Bounded by the keepalive and the ping timeout.", blind, probes).every("5m"),
				newSeries("Time by state", "percentunit",
					"Share of the sessions' time in each state. Connected time is only counted once a packet of the broker proves it.",
					q("sum by (state) (increase("+probes.of("mqtt_probe_session_state_seconds_total")+"[$__rate_interval])) / on () group_left sum(increase("+probes.of("mqtt_probe_session_state_seconds_total")+"[$__rate_interval]))", "{{state}}")).
					stacked().within(0, 1).every("5m").sized(8, 8),
				newSeries("Connects of sessions", "short",
					"Held sessions that were let in, in each step. As many as ends: each came back. Many: sessions flap.",
					q("sum by (probe, profile) (increase("+probes.of("mqtt_probe_session_connects_total")+"[$__rate_interval]))", "{{probe}} {{profile}}")).bars().every("1m").sized(8, 8),
				newSeries("Zombies, and pings without answer", "short",
					"Sessions that answered pings while acknowledgements or deliveries were missing, in each step, and whether a reconnect cured them. If it does, devices in the field stay zombies until something makes them reconnect. Timeout: pings without an answer in time.",
					q("sum by (outcome) (increase("+probes.of("mqtt_probe_pings_total", `outcome="timeout"`)+"[$__rate_interval]))", "pings: {{outcome}}"),
					q("sum by (missing) (increase("+probes.of("mqtt_probe_zombies_total")+"[$__rate_interval]))", "missing: {{missing}}"),
					q("sum by (cured) (increase("+probes.of("mqtt_probe_zombie_reconnects_total")+"[$__rate_interval]))", "cured: {{cured}}")).bars().every("1m").sized(8, 8),
			}},
			{"Messages", []*panel{
				newHeat("Delivery times", "From writing a PUBLISH to its arrival at the subscriber, of round trips and echoes, all QoS.", deliveryDuration, probes).every("1m"),
				newSeries("Slow deliveries (p99), by QoS", "s",
					"99 of 100 messages arrived within this, by QoS and kind of probe. The line is at {slow delivery}.",
					q(deliveryDuration.quantile(thresholds.DeliveryQuantile, step, "kind, qos", probes), "{{kind}} QoS {{qos}}")).
					colored(over(thresholds.DeliverySlowSeconds)).from(0).every("1m"),
				newSeries("Slow acknowledgements (p99), by QoS", "s",
					"From writing a PUBLISH to PUBACK (QoS 1) or PUBCOMP (QoS 2). Slow while deliveries are fast: the broker's storage. 40 ms are often Nagle's algorithm.",
					q(ackDuration.quantile(thresholds.DeliveryQuantile, step, "kind, qos", probes), "{{kind}} QoS {{qos}}")).from(0).every("1m"),
				newSeries("Messages that went wrong", "short",
					"Messages in each step that were lost (had not arrived when run or connection ended), late (after the timeout), duplicated (allowed at QoS 1) or reordered; empty where all went well.",
					fates(step, "qos")...).bars().every("1m"),
				newSeries("Messages published and delivered", "mps",
					"What the probes publish, and what arrives. A gap between the two is loss.",
					q("sum(rate("+probes.of("mqtt_probe_messages_published_total")+"[$__rate_interval]))", "published"),
					q("sum(rate("+probes.of("mqtt_probe_messages_delivered_total")+"[$__rate_interval]))", "delivered")).from(0).every("1m").sized(24, 7),
			}},
			{"Vanished clients", []*panel{
				newSeries("Half-open detection ÷ keepalive", "none",
					"How long the broker believed in a client that had vanished, as a multiple of its keepalive; absent if it did not notice. The lines are at the standard's {grace} and at {late}. For so long a device shows as online and commands to it go nowhere.",
					q(probes.of("mqtt_probe_halfopen_grace_ratio"), "{{profile}} {{mode}} · {{instance}}")).
					points().colored(above(thresholds.KeepaliveGrace, thresholds.HalfopenLateRatio)).from(0).linked(to(halfopenUID, "Half-open and keepalive", seriesTarget)).sized(8, 8),
				newSeries("Takeovers (p99)", "s",
					"From CONNECT to CONNACK of a client whose id another connection has, which lives or is half-open. A device that comes back waits this long.",
					q(takeoverDuration.quantile(0.99, step, "victim", probes), "{{victim}}")).points().from(0).every("10m").sized(8, 8),
				newSeries("Resumed sessions: messages", "short",
					"What became of the QoS 1 messages that waited for a client that was gone, in each step.",
					q("sum by (result) (increase("+probes.of("mqtt_probe_resume_messages_total")+"[$__rate_interval]))", "{{result}}")).bars().every("10m").sized(8, 8),
			}},
		},
	}
}
