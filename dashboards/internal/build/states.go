package build

import "fmt"

// sessionStates lists the states of held sessions, from the best to the worst.
func sessionStates() []string {
	return []string{"connected", "connecting", "waiting", "blind", "zombie"}
}

// sessionPaints are the colours of these states as names of series.
func sessionPaints() (all []paint) {
	for _, s := range sessionColors() {
		all = append(all, paint{s.text, s.color})
	}
	return all[1:] // a series is in some state
}

// outcomePaints are the colours of the outcomes of runs.
func outcomePaints() []paint {
	return []paint{{"success", good}, {"failure", bad}, {"inconclusive", grey}, {"unsupported", passing}}
}

// verdictPaints are the colours of the verdicts on vanished clients.
func verdictPaints() []paint {
	return []paint{{"on_time", good}, {"early", waiting}, {"late", warning}, {"undetected", bad}, {"path_cut", odd}, {"will_missing", passing}}
}

// resultPaints are the colours of what happened to messages that waited.
func resultPaints() []paint {
	return []paint{{"delivered", good}, {"lost", bad}, {"duplicated", waiting}, {"reordered", odd}}
}

func sessionColors() []state {
	return []state{{"0", "none", grey}, {"1", "connected", good}, {"2", "connecting", passing}, {"3", "waiting", warning}, {"4", "blind", bad}, {"5", "zombie", odd}}
}

// sysStates lists the states of reading $SYS, from the best to the worst.
func sysStates() []string {
	return []string{"fresh", "partial", "subscribing", "disconnected", "stale", "refused"}
}

func sysColors() []state {
	return []state{{"1", "fresh", good}, {"2", "partial", grey}, {"3", "subscribing", passing}, {"4", "disconnected", warning}, {"5", "stale", bad}, {"6", "refused", odd}}
}

// eventStates lists the states of receiving client events, from the best to the worst.
func eventStates() []string {
	return []string{"receiving", "subscribing", "silent", "unsupported", "disconnected", "refused"}
}

func eventColors() []state {
	return []state{{"1", "receiving", good}, {"2", "subscribing", passing}, {"3", "silent", waiting}, {"4", "unsupported", grey}, {"5", "disconnected", warning}, {"6", "refused", odd}}
}

func successColors() []state {
	return []state{{"0", "failing", bad}, {"1", "well", good}}
}

// targetColors lists the states and colours of a target as a whole.
func targetColors() []state {
	return []state{{"1", "healthy", good}, {"2", "not known", grey}, {"3", "something fails", warning}, {"4", "down for every agent", worse}}
}

// targetLevels returns the states of the targets as numbers, the worst moment of each step.
func targetLevels() string {
	was := func(by, state string) string {
		return by + " by (target) (max_over_time(" + targets.of("mqtt_target_state", `state=~"`+state+`"`) + "[$__rate_interval]))"
	}
	return "(1 + 2 * " + was("max", "degraded|down") + " + " + was("min", "down") + ") > 1 or 1 + " + was("max", "unknown")
}

// timeless is the time of a target whose state is not known: nothing is known to fail.
func timeless() []state { return []state{{"0", "not known", transparent}} }

// causeTable counts the targets that are not well, by cause and host.
func causeTable() *panel {
	return newTable("Causes",
		"What is wrong with how many targets, by cause and host. One cause at many targets of one host is one fault: repair that first. Empty: every target is healthy.",
		"Targets",
		[]column{
			{field: "Value #A", title: "Targets", unit: "short", width: 90},
			{field: "Value #B", title: "Failing for", unit: "dtdurations", width: 135, steps: above(1, 300), states: timeless()},
			{field: "url_host", title: "Host", width: 200},
			{field: "cause", title: "Cause", width: 200},
			{field: "hint", title: "What is wrong", texts: titles()},
		},
		q("count by (cause, url_host, hint) (max by (target, cause, url_host, hint) ("+diagnosed()+"))", ""),
		q("max by (cause, url_host, hint) ("+diagnosed()+")", "")).or("Every target is healthy").sized(24, 4)
}

// diagnosisTable lists the targets that are not well, for how long, and why.
func diagnosisTable() *panel {
	return newTable("Diagnoses",
		"What is wrong with each target, in one line for each agent that sees it, the longest first. Empty: every target is healthy. \"Unknown\" means that for three intervals some probe could not tell; it has no time. "+
			"If only one agent is in the list, the fault may be in its own network. docs/diagnoses explains each cause.",
		"Failing for",
		[]column{
			{field: "target", title: "Target", width: 140, links: []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}},
			{field: "agent", title: "Agent", width: 150},
			{field: "address", title: "Address", width: 250},
			{field: "Value", title: "Failing for", unit: "dtdurations", width: 135, steps: above(1, 300), states: timeless()},
			{field: "cause", title: "Cause", width: 200},
			{field: "hint", title: "What is wrong", texts: titles()},
		},
		q(fmt.Sprintf("topk(%d, %s)", mostRows, diagnosed()), "")).or("Every target is healthy").sized(24, 6)
}

// failingTable lists what is broken, for how long, and why.
func failingTable(s scope) *panel {
	links := []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}
	return newTable("Failing now, and why",
		"Every probe whose last conclusive run failed. The probe that has been failing for the longest time comes first; there are at most 200 rows. Empty: no probe fails. "+
			"A probe is left out if another one has shown since that the fault is mended, although its own next run is still to come. "+
			"\"Reason\" is the reason of the latest failure. The column after it says what it means and where to look first. If only one agent is in the list, "+
			"the fault may be in its own network. If all agents are in the list, devices are affected too.",
		"Failing for",
		[]column{
			{field: "target", title: "Target", width: 110, links: links},
			{field: "kind", title: "Kind", width: 80},
			{field: "probe", title: "Probe", width: 85},
			{field: "profile", title: "Profile", width: 90},
			{field: "agent", title: "Agent", width: 85},
			{field: "Value", title: "Failing for", unit: "dtdurations", width: 120, steps: above(0, 300)},
			{field: "reason", title: "Reason", width: 150},
			{field: "hint", title: "What it means, where to look first", width: 640, texts: hints()},
			{field: "phase", title: "Phase", width: 90},
			{field: "initiator", title: "By", width: 80},
			{field: "evidence", title: "Evidence", width: 110},
		},
		q(failing(s), "")).or("No probe fails").sized(24, 7)
}
