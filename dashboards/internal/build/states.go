package build

// sessionStates lists the states of held sessions, from the best to the worst.
func sessionStates() []string {
	return []string{"connected", "connecting", "waiting", "blind", "zombie"}
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
	return []state{{"1", "receiving", good}, {"2", "subscribing", passing}, {"3", "silent", grey}, {"4", "unsupported", grey}, {"5", "disconnected", warning}, {"6", "refused", odd}}
}

func successColors() []state {
	return []state{{"0", "failing", bad}, {"1", "well", good}}
}

// targetColors lists the states and colours of a target as a whole.
func targetColors() []state {
	return []state{{"0", "no client connects", worse}, {"1", "something fails", warning}, {"2", "well", good}}
}

// diagnosisTable lists the targets that are not well, for how long, and why.
func diagnosisTable(s scope) *panel {
	return newTable("Diagnoses",
		"What is wrong with each target, in one line for each agent that sees it, the longest first. Empty: every target is healthy. \"Unknown\" means that for three intervals some probe could not tell; it has no time. "+
			"If only one agent is in the list, the fault may be in its own network. docs/diagnoses explains each cause.",
		"Failing for",
		[]column{
			{field: "target", title: "Target", width: 150, links: []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}},
			{field: "agent", title: "Agent", width: 150},
			{field: "url_host", title: "Host", width: 160},
			{field: "port", title: "Port", width: 80},
			{field: "transport", title: "Transport", width: 100},
			{field: "Value", title: "Failing for", unit: "dtdurations", width: 170, steps: above(0, 300)},
			{field: "cause", title: "Cause", width: 200},
			{field: "hint", title: "What is wrong", texts: titles()},
		},
		q(diagnosed(s), "")).sized(24, 8)
}

// failingTable lists what is broken, for how long, and why.
func failingTable(s scope) *panel {
	links := []link{to(targetUID, "Target ${__data.fields.target}", rowTarget)}
	return newTable("Failing now, and why",
		"Every probe whose last conclusive run failed. The probe that has been failing for the longest time comes first. Empty: no probe fails. \"Failing for\" looks back one day, minute by minute. "+
			"\"Reason\" is the reason of the latest failure. The last column says what it means and where to look first. If only one agent is in the list, "+
			"the fault may be in its own network. If all agents are in the list, devices are affected too.",
		"Failing for",
		[]column{
			{field: "target", title: "Target", width: 150, links: links},
			{field: "kind", title: "Kind", width: 100},
			{field: "probe", title: "Probe", width: 140},
			{field: "profile", title: "Profile", width: 110},
			{field: "agent", title: "Agent", width: 150},
			{field: "Value", title: "Failing for", unit: "dtdurations", width: 170, steps: above(0, 300)},
			{field: "reason", title: "Reason", width: 170},
			{field: "phase", title: "Phase", width: 100},
			{field: "initiator", title: "By", width: 80},
			{field: "evidence", title: "Evidence", width: 130},
			{field: "hint", title: "What it means, where to look first", texts: hints()},
		},
		q(failing(s), "")).sized(24, 9)
}
