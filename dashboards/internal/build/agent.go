package build

import (
	"fmt"

	"github.com/pingreq/pingreq/internal/thresholds"
)

// agent is the dashboard about the health of the agents.
func agent() page {
	const by = "agent"
	increase := func(metric, by string) string {
		return "sum by (" + by + ") (increase(" + agents.of(metric) + "[$__rate_interval]))"
	}
	// overdue is how many intervals ago a periodic probe last had a conclusive run.
	overdue := "max by (" + identity + ") ((time() - " + agents.of("mqtt_probe_last_conclusive_timestamp_seconds") + ") / " + agents.of("mqtt_probe_interval_seconds") + ")"

	return page{
		file: "agent", uid: agentUID, title: "pingreq / Agent", from: "now-3h",
		text:        "Shows whether the agents themselves are healthy. If an agent runs late or is short of CPU, its measurements say little about brokers.",
		variables:   agentVariables(),
		annotations: agentAnnotations(agentAlerts()),
		sections: []section{
			{"", []*panel{
				newStat("Agents down", "none", "sum("+scraped(shown, "up")+" == bool 0)", "no agent",
					"Agents that Prometheus cannot scrape. There are no results from them.").colored(over(0.5)),
				newStat("Configurations refused", "none", "sum("+agents.of("pingreq_config_last_reload_successful")+" == bool 0)", "no agent",
					"Agents whose last attempt to load the configuration failed. They continue with the previous configuration. The agent's log and the command pingreq config check show which line is wrong.").colored(over(0.5)),
				newStat("Start lag (p99)", "s", startLag.quantile(thresholds.StartLagQuantile, shown, "", agents), "no run",
					"How late runs start because of the agent itself: 99 of 100 runs in the time range started at most this long after their planned time. Above {lag} the agent is short of CPU.").colored(over(thresholds.StartLagSeconds)),
				newStat("Runs skipped", "short", "sum(increase("+agents.of("pingreq_runs_skipped_total")+"[$__range]))", "no agent",
					"Runs in the time range that were skipped because the previous run was still running.").colored(from(0.5)).digits(0),
				newStat("Inconclusive runs", "percentunit", orNone("", events(shown, agents.of("mqtt_probe_runs_total", `outcome="inconclusive"`)), agents.of("mqtt_target_info"))+" / ("+startLag.count(shown, "", agents)+")", "no run",
					"Share of the runs that started in the time range that have no result, usually because of a problem on pingreq's own side: late timers, no file descriptors left, or an observer whose connection ended. These runs say nothing about the brokers.").colored(above(0.01, 0.1)).digits(2),
				newStat("Faults of pingreq", "short", "sum(increase("+agents.of("pingreq_probe_panics_total")+"[$__range])) + (sum("+events(shown, agents.of("pingreq_samples_rejected_total"))+") or vector(0))", "no agent",
					"Panics of probes, and samples that could not be turned into metrics, in the time range. Each of them is a fault of pingreq. The agent's log has the stack trace. Please report it.").colored(over(0.5)).digits(0),
			}},
			{"Agents", []*panel{
				newTable("All agents",
					"One row for each agent. \"Probes\" is the number of probes in its plan. Each combination of a probe, a target and a profile counts as one. \"Failing\" is how many of them fail.",
					"Failing",
					[]column{
						{field: "agent", title: "Agent"},
						{field: "Value #A", title: "Up", width: 80, states: []state{{"0", "down", bad}, {"1", "up", good}}},
						{field: "Value #B", title: "Running for", unit: "dtdurations", width: 140},
						{field: "Value #C", title: "Configuration", width: 135, states: []state{{"0", "refused", bad}, {"1", "loaded", good}}},
						{field: "Value #D", title: "Loaded", unit: "dateTimeFromNow", width: 130},
						{field: "Value #E", title: "Targets", width: 90, unit: "short"},
						{field: "Value #F", title: "Probes", width: 80, unit: "short"},
						{field: "Value #G", title: "Failing", width: 95, unit: "short", steps: from(1)},
						{field: "Value #H", title: "Memory", unit: "bytes", width: 100},
						{field: "Value #I", title: "Series", unit: "none", width: 90},
						{field: "Value #J", title: "Scrape", unit: "s", width: 90, steps: over(thresholds.GatherSeconds)},
					},
					q("max by (agent) ("+scraped(shown, "up")+")", ""),
					q("time() - max by (agent) ("+agents.of("process_start_time_seconds")+")", ""),
					q("max by (agent) ("+agents.of("pingreq_config_last_reload_successful")+")", ""),
					q("max by (agent) ("+agents.of("pingreq_config_last_reload_success_timestamp_seconds")+") * 1000", ""),
					q("count by (agent) (count by (agent, target) ("+agents.of("mqtt_probe_info")+"))", ""),
					q("count by (agent) ("+agents.of("mqtt_probe_info")+")", ""),
					q("sum by (agent) ("+agents.of("mqtt_probe_success")+" == bool 0)", ""),
					q("max by (agent) ("+agents.of("process_resident_memory_bytes")+")", ""),
					q("max by (agent) ("+scraped(shown, "scrape_samples_scraped")+")", ""),
					q("max by (agent) ("+scraped(shown, "scrape_duration_seconds")+")", "")).sized(24, 7),
				newTable("Probes without a recent conclusive run",
					fmt.Sprintf("Periodic probes that have had no conclusive run for more than %g of their intervals, so the state they show is old. The cause is inconclusive or skipped runs. The agent's log and status page show why. Empty: there are no such probes.", thresholds.SuccessAgeIntervals),
					"Intervals",
					[]column{
						{field: "target", title: "Target", links: []link{fromAgents(targetUID, "Target ${__data.fields.target}", rowTarget)}},
						{field: "kind", title: "Kind", width: 120}, {field: "probe", title: "Probe"}, {field: "profile", title: "Profile"}, {field: "agent", title: "Agent"},
						{field: "Value", title: "Intervals", unit: "short", width: 120, steps: over(thresholds.SuccessAgeIntervals)},
					},
					q(fmt.Sprintf("%s > %g", overdue, thresholds.SuccessAgeIntervals), "")).or("Every probe has a recent result").sized(12, 8),
				newTable("Versions",
					"The version of each agent. Agents of different versions may measure in different ways.",
					"Agent",
					[]column{
						{field: "agent", title: "Agent"}, {field: "version", title: "Version"}, {field: "revision", title: "Revision"}, {field: "goversion", title: "Go", width: 120},
					},
					q("max by (agent, version, revision, goversion) ("+agents.of("pingreq_build_info")+")", "")).sized(12, 8),
				newTable("Secrets at risk",
					"What the configuration of an agent is careless about, at each target. \"plain_credentials\": a password is sent without encryption. \"unverified_broker\": it is sent to whoever answers, because of insecure_skip_verify. \"weak_tls\": a client may use TLS 1.0, TLS 1.1 or a broken cipher suite. pingreq config check shows the line. Empty: nothing.",
					"Target",
					[]column{
						{field: "target", title: "Target", links: []link{fromAgents(targetUID, "Target ${__data.fields.target}", rowTarget)}},
						{field: "risk", title: "Risk"}, {field: "agent", title: "Agent"},
					},
					q("max by (target, risk, agent) ("+agents.of("pingreq_target_insecure")+")", "")).or("None").sized(24, 4),
				newTable("Sources of targets",
					"Where agents find targets besides those of their configuration. While a source fails, its last good list stays in use. \"Refused\" are entries of a list that are not in use, because of their address, name or labels; the agent's log says why. Empty: no agent has such a source.",
					"Failures",
					[]column{
						{field: "source", title: "Source"}, {field: "agent", title: "Agent"},
						{field: "Value #A", title: "Refresh", width: 110, states: []state{{"0", "failed", bad}, {"1", "succeeded", good}}},
						{field: "Value #B", title: "Targets", width: 100, unit: "short"},
						{field: "Value #C", title: "Refused", width: 100, unit: "short", steps: from(1)},
						{field: "Value #D", title: "Last read", unit: "dateTimeFromNow", width: 140},
						{field: "Value #E", title: "Failures", unit: "short", width: 110},
					},
					q("max by (source, agent) ("+agents.of("pingreq_discovery_last_refresh_successful")+")", ""),
					q("max by (source, agent) ("+agents.of("pingreq_discovery_targets")+")", ""),
					q("max by (source, agent) ("+agents.of("pingreq_discovery_refused_targets")+")", ""),
					q("max by (source, agent) ("+agents.of("pingreq_discovery_last_success_timestamp_seconds")+") * 1000", ""),
					q("sum by (source, agent) (increase("+agents.of("pingreq_discovery_failures_total")+"[$__range]))", "")).or("None").sized(24, 4),
			}},
			{"Does it run on time?", []*panel{
				newHeat("Start lag", "How late runs started because of the agent itself. If it is more than a few milliseconds, the machine is short of CPU or the agent has too much to do.", startLag, agents),
				newSeries("Start lag (p99), by agent", "s",
					"99 of 100 runs started at most this long after their planned time. The line is at {lag}. Above the line, measurements are doubtful.",
					q(startLag.quantile(thresholds.StartLagQuantile, step, by, agents), "{{agent}}")).colored(over(thresholds.StartLagSeconds)).from(0),
				newSeries("Time during which the agent was late, by cause", "s",
					"How long the agent's own process was late in each step, by what showed it: timers, reads of a local socket, parts that had to wait for the scheduler, garbage collection. What was measured meanwhile is inconclusive.",
					q(increase("pingreq_lateness_seconds_total", "agent, cause"), "{{cause}} · {{agent}}")).bars().every("1m").sized(24, 8),
				newSeries("Runs skipped, by kind", "short",
					"Runs in each step that were skipped because the previous run was still running. A run of such a probe takes longer than its interval.",
					q(increase("pingreq_runs_skipped_total", "agent, kind")+" > 0", "{{kind}} · {{agent}}")).bars().faults().every("1m"),
				newSeries("Runs, and those without a result", "short",
					"Runs that started in each step, and how many had no result. Inconclusive: usually the agent itself had a problem. Unsupported: the broker announced that it does not support what the run needs.",
					q(startLag.count(step, "", agents), "started"),
					q("sum("+events(step, agents.of("mqtt_probe_runs_total", `outcome="inconclusive"`))+")", "inconclusive"),
					q("sum("+events(step, agents.of("mqtt_probe_runs_total", `outcome="unsupported"`))+")", "unsupported")).
					painted([]paint{{"started", good}, {"inconclusive", warning}, {"unsupported", passing}}).from(0).every("1m"),
				newSeries("Duration of runs, by kind", "s",
					"How long conclusive runs took on average. A held session counts as one run, from its connect to its end.",
					q(runDuration.mean(step, "kind", agents), "{{kind}}")).from(0).stepping(24).every("1m"),
				newSeries("Probes in the plan, by kind", "short",
					"The number of probes that each agent runs. It changes only when the configuration changes.",
					q("count by (kind, agent) ("+agents.of("mqtt_probe_info")+")", "{{kind}} · {{agent}}")).coarse().stacked(),
			}},
			{"Is it scraped?", []*panel{
				newSeries("Scrape duration", "s",
					"How long Prometheus needs to scrape the agent. The agent spends most of this time gathering its metrics. The line is at {gather}. By default Prometheus gives up after 10 s.",
					q(scraped(step, "scrape_duration_seconds"), "{{agent}}")).colored(over(thresholds.GatherSeconds)).from(0),
				newSeries("Series", "short",
					"Number of samples in each scrape. It grows with targets × profiles × probes.",
					q(scraped(step, "scrape_samples_scraped"), "{{agent}}")).from(0),
				newSeries("Scrapes, by HTTP status", "cps",
					"Requests for /metrics. Any status other than 200 means that the scrape failed. Look at the agent's log.",
					q("sum by (agent, code) (rate("+agents.of("promhttp_metric_handler_requests_total")+"[$__rate_interval]))", "{{code}} · {{agent}}")).from(0),
				newSeries("Panics, rejected samples, failed gathering, lost log", "short",
					"Panics of probes, samples that could not be turned into metrics, and errors while gathering, in each step. Each of them is a fault of pingreq. Messages of the log are dropped if nobody reads standard error.",
					q(increase("pingreq_probe_panics_total", "agent, kind"), "panic {{kind}} · {{agent}}"),
					q(happened(step, "agent, metric, cause", agents.of("pingreq_samples_rejected_total")), "rejected {{metric}} {{cause}} · {{agent}}"),
					q(increase("promhttp_metric_handler_errors_total", "agent, cause"), "{{cause}} · {{agent}}"),
					q(increase("pingreq_log_messages_dropped_total", "agent")+" > 0", "log messages dropped · {{agent}}")).bars().faults().every("1m"),
			}},
			{"The process", []*panel{
				newSeries("Memory", "bytes",
					"Resident memory, and the live heap of Go. Both grow with the number of held sessions and the number of exported series.",
					q(agents.of("process_resident_memory_bytes"), "resident {{agent}}"),
					q(agents.of("go_memstats_heap_alloc_bytes"), "heap {{agent}}")).from(0).sized(6, 8),
				newSeries("CPU", "percentunit",
					"CPU use: 100 % is one core. If it comes close to the number of cores, the agent runs late.",
					q("rate("+agents.of("process_cpu_seconds_total")+"[$__rate_interval])", "{{agent}}")).from(0).sized(6, 8),
				newSeries("Goroutines", "short",
					"About one for each held session, plus a few. If the number keeps growing, it is a leak. Please report it.",
					q(agents.of("go_goroutines"), "{{agent}}")).from(0).sized(6, 8),
				newSeries("File descriptors in use", "percentunit",
					"Share of the limit. Each connection needs one descriptor. At the limit, runs become inconclusive. The line is at {descriptors}. If the share is above it, raise LimitNOFILE.",
					q(agents.of("process_open_fds")+" / "+agents.of("process_max_fds"), "{{agent}}")).colored(over(thresholds.DescriptorShare)).within(0, 1).sized(6, 8),
			}},
		},
	}
}
