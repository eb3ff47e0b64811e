package build

import (
	"fmt"
	"strings"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/thresholds"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// identity lists the labels that identify a probe of an agent.
const identity = "agent, target, kind, probe, profile"

// histogram is a histogram that the agent exports. Prometheus may have its classic buckets, its native
// form, or both.
type histogram string

// The histograms.
const (
	connectDuration   histogram = "mqtt_probe_connect_duration_seconds"
	phaseDuration     histogram = "mqtt_probe_connect_phase_duration_seconds"
	pingDuration      histogram = "mqtt_probe_ping_duration_seconds"
	ackDuration       histogram = "mqtt_probe_publish_ack_duration_seconds"
	deliveryDuration  histogram = "mqtt_probe_delivery_duration_seconds"
	detectionDuration histogram = "mqtt_probe_halfopen_detection_seconds"
	closeDuration     histogram = "mqtt_probe_halfopen_close_seconds"
	takeoverDuration  histogram = "mqtt_probe_takeover_duration_seconds"
	resumeDuration    histogram = "mqtt_probe_resume_duration_seconds"
	startLag          histogram = "pingreq_run_start_lag_seconds"
	runDuration       histogram = "mqtt_probe_run_duration_seconds"
	lifetime          histogram = "mqtt_probe_session_lifetime_seconds"
	blind             histogram = "mqtt_probe_session_blind_seconds"
)

// The windows of rates: one step of a graph, and the whole time range.
const (
	step  = "$__rate_interval"
	shown = "$__range"
)

// quantile uses the classic buckets or, if they are missing, the native ones.
func (h histogram) quantile(quantile float64, window, by string, s scope, more ...string) string {
	out := fmt.Sprintf("histogram_quantile(%g, sum by (le%s) (rate(%s[%s])))", quantile, comma(by), s.of(string(h)+"_bucket", more...), window)
	return out + fmt.Sprintf(" or histogram_quantile(%g, sum%s (rate(%s[%s])))", quantile, grouped(by), s.of(string(h), more...), window)
}

// count returns how often something was measured in a window. It uses both forms, like quantile.
func (h histogram) count(window, by string, s scope) string {
	return fmt.Sprintf("sum%[1]s (increase(%[2]s_count%[3]s)) or histogram_count(sum%[1]s (increase(%[2]s%[3]s)))", grouped(by), h, "{"+string(s)+"}["+window+"]")
}

// meanEver returns the mean of all that was measured since the agents were started, by target: a
// choice that costs little, because it reads no range.
func (h histogram) meanEver(s scope) string {
	sum := func(suffix string) string { return "sum by (target) (" + s.of(string(h)+suffix) + " @ end())" }
	return sum("_sum") + " / (" + sum("_count") + " > 0) or histogram_sum(" + sum("") + ") / (histogram_count(" + sum("") + ") > 0)"
}

// mean uses both forms, like quantile.
func (h histogram) mean(window, by string, s scope, more ...string) string {
	rate := func(suffix string) string {
		return fmt.Sprintf("sum%s (rate(%s[%s]))", grouped(by), s.of(string(h)+suffix, more...), window)
	}
	return rate("_sum") + " / " + rate("_count") + " or histogram_sum(" + rate("") + ") / histogram_count(" + rate("") + ")"
}

func comma(by string) string {
	if by == "" {
		return ""
	}
	return ", " + by
}

func grouped(by string) string {
	if by == "" {
		return ""
	}
	return " by (" + by + ")"
}

// events counts the events in a window, for a counter whose series may appear only with the first
// event. increase() would not see that event. So if a series did not exist a window ago, but its
// agent watched something then, or started since, the whole value of the series counts.
func events(window, selector string) string {
	watched := agents.of("mqtt_target_info") + " offset " + window
	if window == shown {
		watched = "(" + watched + " or " + agents.of("process_start_time_seconds") + " > time() - $__range_s)"
	}
	return fmt.Sprintf("((%[1]s unless %[1]s offset %[2]s and on (agent) %[3]s) or increase(%[1]s[%[2]s]))", selector, window, watched)
}

// scraped returns what Prometheus says of the scrapes of the agents. It has no label agent, so the
// agent comes from what it exported, also when it is down.
func scraped(window, metric string) string {
	return metric + " * on (job, instance) group_left (agent) max by (job, instance, agent) (last_over_time(" + agents.of("pingreq_build_info") + "[" + window + "]))"
}

// happened counts events by labels, and leaves out counts of 0.
func happened(window, by, selector string) string {
	return fmt.Sprintf("sum by (%s) (%s) > 0", by, events(window, selector))
}

// orNone returns the sum of counts, which have no series as long as nothing happens. While there is a
// series of what could have happened, it is 0 then.
func orNone(by, counts, could string) string {
	return fmt.Sprintf("(sum%[1]s (%[2]s) or 0 * sum%[1]s (%[3]s))", grouped(by), counts, could)
}

// lateness returns the latest time after which vanished clients were noticed, as a share of the time
// after which that is late. With short keepalives a multiple of the keepalive says nothing.
func lateness(s scope, by string) string {
	return "max by (" + by + ") (" + s.of("mqtt_probe_halfopen_last_detection_seconds") + " / on (" + identity + ") group_left max by (" + identity + ") (" + s.of("mqtt_probe_halfopen_limit_seconds", matcher("bound", "late")) + "))"
}

// failingProbes counts the probes that fail now, and whose fault no other probe has shown to be mended.
func failingProbes() string {
	return orNone("", targets.of("mqtt_target_failing_probes"), targets.of("mqtt_target_info"))
}

// agentsDown counts the agents that Prometheus cannot scrape. A filter by a label of targets leaves
// nothing of what Prometheus says of scrapes. Then it counts agents that vanished in the time range.
func agentsDown() string {
	const watched = "mqtt_target_info"
	return "sum(" + scraped(shown, "up") + " == bool 0)" +
		" or count(group by (agent) (last_over_time(" + targets.of(watched) + "[" + shown + "])) unless on (agent) " + targets.of(watched) + ")" +
		" or 0 * count(" + targets.of(watched) + ")"
}

// told counts the client events that a broker reported, by labels. Each agent that subscribes
// receives all of them, so it returns the largest count of any agent.
func told(window, by, metric string) string {
	return "max by (" + by + ") (sum by (agent, " + by + ") (" + events(window, targets.of(metric)) + ")) > 0"
}

// The worst of the whole time range. A filter by them shows the same few lines or rows in every step;
// topk alone would choose others in each.

// among keeps the series of an expression that one of the chosen has the labels of.
func among(expr, by, chosen string) string {
	return "(" + expr + ") and on (" + by + ") " + chosen
}

// largest and smallest choose by a query over the time range. The viewer says how many.
func largest(expr string) string  { return "topk($top, " + atEnd(expr) + ")" }
func smallest(expr string) string { return "bottomk($top, " + atEnd(expr) + ")" }

// atEnd evaluates a query over the time range for its end, once for all steps.
func atEnd(expr string) string {
	return strings.ReplaceAll(expr, "["+shown+"]", "["+shown+"] @ end()")
}

// failedMost chooses what has been failing for most of the time range. since is a metric that exists
// only while something fails, so that only failures cost anything. all is a metric that everything
// has.
func failedMost(by, since, all string) string {
	return largest("max by (" + by + ") (count_over_time(" + since + "[" + shown + "])) or 0 * max by (" + by + ") (" + all + " @ end())")
}

// worstTargets chooses the targets that have been failing for most of the time range.
func worstTargets() string {
	return failedMost("target", targets.of("mqtt_target_failing_since_timestamp_seconds"), targets.of("mqtt_target_info"))
}

// worstHalfopen chooses the targets that noticed vanished clients the latest in their latest runs, those that did not
// notice at all first.
func worstHalfopen(s scope) string {
	return largest("1000 * max by (target) (" + s.of("mqtt_probe_halfopen_recent_verdicts", matcher("verdict", "undetected")) + " @ end() > 0)" +
		" or max by (target) (" + s.of("mqtt_probe_halfopen_grace_ratio") + " @ end())")
}

// ratio returns the share of conclusive runs that succeeded.
func ratio(window, by string, s scope, more ...string) string {
	rate := func(outcome string) string {
		return fmt.Sprintf("sum%s (rate(%s[%s]))", grouped(by), s.of("mqtt_probe_runs_total", append([]string{outcome}, more...)...), window)
	}
	return rate(`outcome="success"`) + " / " + rate(`outcome=~"success|failure"`)
}

// mostRows is how many rows a table has at most that has a row for each fault.
const mostRows = 200

// failing returns for how many seconds each failing probe has been failing, with the labels of its
// latest failure. It leaves out probes whose fault is mended, as a later result of another probe
// shows, but whose own next run is still to come.
func failing(s scope) string {
	return fmt.Sprintf("topk(%d, max by (%s, reason, phase, initiator, evidence, hint) (label_replace(", mostRows, identity) +
		"(time() - max by (" + identity + ") (" + s.of("mqtt_probe_failing_since_timestamp_seconds") + ")" +
		" and on (agent, target, kind) " + targets.of("mqtt_target_failing_probes") + ")" +
		" * on (" + identity + ") group_left (reason, phase, initiator, evidence) " + latest(identity, "reason, phase, initiator, evidence", s.of("mqtt_probe_last_failure_info")) +
		`, "hint", "$1", "reason", "(.*)")))`
}

// addressed adds the label address, a URL without credentials, to series of agents and targets.
func addressed(expr string) string {
	const target = "agent, target"
	return `label_join(label_join(label_replace(` + expr +
		" * on (" + target + ") group_left (url_host, port, transport) " + latest(target, "url_host, port, transport", targets.of("mqtt_target_info")) +
		`, "url_host", "[$1]", "url_host", "(.*:.*)"), "address", ":", "url_host", "port"), "address", "://", "transport", "address")`
}

// latest returns one series of an info metric for each value of the labels by. While an agent is
// replaced, the old and the new process both export one.
func latest(by, info, selector string) string {
	return "topk by (" + by + ") (1, max by (" + by + ", " + info + ") (" + selector + "))"
}

// diagnosed returns for how many seconds each target has been failing, with its cause and address. For a
// target whose state is not known, it returns 0.
func diagnosed() string {
	const target = "agent, target"
	return "max by (" + target + ", cause, address, url_host, hint) (label_replace(" +
		addressed("(max by ("+target+") (time() - "+targets.of("mqtt_target_failing_since_timestamp_seconds")+") or max by ("+target+") ("+targets.of("mqtt_target_state", `state="unknown"`)+" == 1) * 0)"+
			" * on ("+target+") group_left (cause) "+latest(target, "cause", targets.of("mqtt_target_diagnosis_info"))) +
		`, "hint", "$1", "cause", "(.*)"))`
}

// budgetLeft returns the share of the error budget of 30 days that is left, by kind. It needs the
// recording rules; reading 30 days of every run would take seconds.
func budgetLeft() string {
	over := func(what string) string {
		return "sum by (kind) (sum_over_time(" + targets.of("agent_target_kind:mqtt_probe_"+what+":rate10m") + "[30d]))"
	}
	return fmt.Sprintf("1 - %s / (%s > 0) / %.4g", over("runs_failed"), over("runs_conclusive"), 1-thresholds.ConnectObjective)
}

// burn returns how many times faster than allowed the error budget is used up in a window, from the
// recording rule of that ratio, as the agent that is worst off sees it.
func burn(ratio string) string {
	return fmt.Sprintf("max by (kind) (%s) / %.4g", targets.of("agent_target_kind:mqtt_probe_failures:"+ratio, `kind!="session"`), 1-thresholds.ConnectObjective)
}

// titles returns what is wrong, for each cause of a diagnosis.
func titles() map[string]string {
	out := make(map[string]string)
	for _, r := range diagnosis.Rules() {
		out[r.Cause] = r.Title
	}
	return out
}

// hints returns the sentence for each reason.
func hints() map[string]string {
	out := make(map[string]string)
	for _, r := range disconnect.Reasons() {
		out[string(r)] = r.Sentence()
	}
	for _, f := range disconnect.Findings() {
		out[string(f)] = f.Sentence()
	}
	return out
}

// worst returns the number of the worst state. The states are numbered from 1, in their order. The
// gauge is 1 or more for a state that is present. The query looks at the whole of each step, so it
// also finds a state that lasted only for a short time.
func worst(by string, states []string, selector func(state string) string) string {
	parts := make([]string, len(states))
	for i, s := range states {
		parts[i] = fmt.Sprintf("(max_over_time(%s[$__rate_interval]) > bool 0) * %d", selector(s), i+1)
	}
	return "max by (" + by + ") (" + strings.Join(parts, " or ") + ")"
}

// matcher returns the matcher of a label.
func matcher(label, value string) string { return label + `="` + value + `"` }

const (
	serverExpiry = "mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds"
	clientExpiry = "mqtt_probe_tls_client_cert_expiry_timestamp_seconds"
)

// daysLeft returns in how many days a certificate expires, for each agent and target. Kinds that
// connect often come first, because a held session has only seen the certificate of the day on
// which it connected.
func daysLeft(s scope, metric string) string {
	of := func(kind string) string {
		return "min by (agent, target) (" + s.of(metric, kind) + ")"
	}
	return "((" + of(`kind="connect"`) + " or " + of(`kind="roundtrip"`) + " or " + of(`kind!~"connect|roundtrip"`) + ") - time()) / 86400"
}

// lifeLeft returns the share of their life that the broker's certificate and ours have left. The label
// whose distinguishes them.
func lifeLeft(s scope) string {
	of := func(expiry, lifetime, whose string) string {
		const by = "min by (agent, target) ("
		return `label_replace((` + by + s.of(expiry) + ") - time()) / " + by + s.of(lifetime) + `), "whose", "` + whose + `", "", "")`
	}
	return of(serverExpiry, "mqtt_probe_tls_cert_lifetime_seconds", "broker") + " or " + of(clientExpiry, "mqtt_probe_tls_client_cert_lifetime_seconds", "ours")
}

// expiries returns the days left of the broker's chain and of our own certificate. The label whose
// distinguishes them.
func expiries(s scope) string {
	return `label_replace(` + daysLeft(s, serverExpiry) + `, "whose", "broker", "", "") or label_replace(` + daysLeft(s, clientExpiry) + `, "whose", "ours", "", "")`
}
