package status

import (
	"time"
)

// Agent is how the agent itself is.
type Agent struct {
	ID       string       `json:"agent" jsonschema_description:"Name of the agent, as in the label agent."`
	Version  string       `json:"version"`
	Revision string       `json:"revision,omitempty" jsonschema_description:"Revision of the source."`
	Start    time.Time    `json:"start" jsonschema_description:"When the agent started."`
	Uptime   float64      `json:"uptime_seconds"`
	Config   Config       `json:"config"`
	Late     *Late        `json:"late,omitempty" jsonschema_description:"The longest delay of the agent itself in the last five minutes. Absent if there was none worth mentioning."`
	Shard    *Shard       `json:"shard,omitempty" jsonschema_description:"Which part of the targets the agent has. Absent if it has all."`
	Sources  []Source     `json:"discovery,omitempty" jsonschema_description:"Sources of targets, in the order of the configuration."`
	Targets  TargetCounts `json:"targets" jsonschema_description:"Numbers of targets by state."`
	Probes   Counts       `json:"probes" jsonschema_description:"Numbers of probes."`
}

// Config is whether the configuration could be loaded.
type Config struct {
	File       string     `json:"file,omitempty" jsonschema_description:"The configuration file. Absent if the targets were given on the command line."`
	Loaded     time.Time  `json:"loaded" jsonschema_description:"When the configuration in use was loaded."`
	Successful bool       `json:"last_reload_successful"`
	Tried      *time.Time `json:"last_reload,omitempty" jsonschema_description:"When a reload was last tried."`
	Error      string     `json:"error,omitempty" jsonschema_description:"Why the last reload was refused."`
}

// Shard is a part of the targets.
type Shard struct {
	Index int `json:"index" jsonschema_description:"Number of the shard, from 0."`
	Count int `json:"count"`
}

// Source is a source of targets.
type Source struct {
	Name        string     `json:"name"`
	Kind        string     `json:"kind" jsonschema:"enum=file,enum=http,enum=dns"`
	Targets     int        `json:"targets" jsonschema_description:"Number of its targets that are in use, on all shards."`
	Refused     []Refusal  `json:"refused,omitempty" jsonschema_description:"Targets that are not in use."`
	Answered    bool       `json:"answered" jsonschema_description:"Whether it could ever be read."`
	LastSuccess *time.Time `json:"last_success,omitempty" jsonschema_description:"When it was last read without a failure."`
	Failures    int        `json:"failures" jsonschema_description:"How often reading it failed."`
	Failing     string     `json:"failing,omitempty" jsonschema_description:"Why the latest attempt failed. The last good list stays in use."`
	Since       *time.Time `json:"failing_since,omitempty"`
}

// Refusal is a target of a source that is not in use.
type Refusal struct {
	Address string `json:"address"`
	Problem string `json:"problem"`
	Hint    string `json:"hint,omitempty"`
}

// Late is a delay of the agent itself, which makes results doubtful.
type Late struct {
	Seconds float64   `json:"seconds"`
	Cause   string    `json:"cause"`
	Time    time.Time `json:"time"`
}

// TargetCounts are numbers of targets.
type TargetCounts struct {
	All      int `json:"all"`
	Down     int `json:"down"`
	Degraded int `json:"degraded"`
	Unknown  int `json:"unknown"`
	Warning  int `json:"warning" jsonschema_description:"Healthy ones with warnings."`
	Healthy  int `json:"healthy" jsonschema_description:"Those without warnings."`
}

// Of returns the number of targets in a state of [States].
func (c *TargetCounts) Of(state string) int {
	return *c.of(state)
}

func (c *TargetCounts) of(state string) *int {
	switch state {
	case "down":
		return &c.Down
	case "degraded":
		return &c.Degraded
	case "unknown":
		return &c.Unknown
	case StateWarning:
		return &c.Warning
	}
	return &c.Healthy
}
