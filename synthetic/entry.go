package synthetic

import (
	"fmt"
	"net/url"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Entry is one entry of the plan: one probe of one target with one profile. It is data. [NewJob]
// builds what runs.
type Entry struct {
	ID       Identity
	Kind     Kind
	Target   Target
	Profile  Profile
	Schedule Schedule
	// Options has the type of the kind. All entries of a probe share it, so it must not be changed.
	Options any
}

// Sessions returns how many sessions the probe keeps alive. It is 1 for a periodic probe.
func (e *Entry) Sessions() int { return e.Kind.Sessions(e.Options) }

// Transport returns the scheme of the target's URL: mqtt, mqtts, ws, wss or unix.
func (e *Entry) Transport() string {
	u, err := url.Parse(e.Target.URL)
	if err != nil {
		return ""
	}
	return u.Scheme
}

// Clients returns how many client identifiers the entry needs at a target.
func (e *Entry) Clients(target string) int {
	c := e.Kind.Clients(e.Profile, e.Options)
	n := c.At[target]
	if target == e.ID.Target {
		n += c.Here
	}
	return n * e.Sessions()
}

// Job is an entry with its probes, ready to run.
type Job struct {
	Entry
	Probes  []Probe      // one for a periodic probe, one for each session of a held one
	open    []*mqtt.Open // sockets of each of the probes
	Backoff mqtt.Backoff // wait between the lives of a held session
}

// NewJob builds the probes of an entry. env has what the agent provides for clients of the entry's
// target. An error is a fault of the configuration and says what is wrong.
func NewJob(e Entry, env Env) (Job, error) {
	j := Job{Entry: e, Backoff: e.Kind.Backoff(e.Options)}
	if e.Kind.Held() {
		env.Turn = TurnHeld
	}
	if e.Kind.Held() || e.Kind.Cost(e.Profile, e.Options).Connections > 0 {
		env.Sockets = env.Sockets.Held()
	}
	n := e.Sessions()
	j.Probes, j.open = make([]Probe, 0, n), make([]*mqtt.Open, 0, n)
	for slot := range n {
		env.Slot, env.Open = slot, mqtt.NewOpen()
		p, err := e.Kind.New(env, &e.Profile, e.Options)
		if err != nil {
			return j, fmt.Errorf("probe %s: %w", e.ID, err)
		}
		j.Probes, j.open = append(j.Probes, p), append(j.open, env.Open)
	}
	return j, nil
}

// closeSockets closes what a probe that panicked left open.
func (j *Job) closeSockets(slot int) {
	if slot < len(j.open) { // a job that NewJob did not make has none
		j.open[slot].Close()
	}
}
