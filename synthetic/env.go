package synthetic

import (
	"cmp"
	"time"

	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Env is what the agent provides for a probe.
type Env struct {
	// Agent is agent.id. Each agent has its own, so two agents never take over each other's
	// clients.
	Agent string
	// TopicPrefix is where all topics begin: probes use only <TopicPrefix>/#. "" means "pingreq".
	TopicPrefix string
	// ClientIDPrefix begins the client identifiers that are made without a template. Only its first
	// 10 bytes are used. "" means "pingreq".
	ClientIDPrefix string
	// Identity names the probe, its target and its profile.
	Identity Identity
	// Slot is the number of the session for a held kind, from 0. A periodic kind always has 0.
	Slot int
	// Target is the broker that the probe connects to.
	Target *Target
	// Timeout limits one run. For a held kind it limits one connection attempt.
	Timeout time.Duration
	// Brief reports that somebody waits for the end of the run, so that nothing more is asked about a
	// target after the time of the run.
	Brief bool
	// Gate limits the connects per second to the target. All probes of the target share it. Nil
	// means no limit.
	Gate *Gate
	// Turn says how urgent the connects are.
	Turn Turn
	// Open gets the sockets of the probe while they are open. Nil means that nobody keeps them.
	Open *mqtt.Open
	// Budget limits what all sessions of the agent use together. Nil means no limit.
	Budget *mqtt.Budget
	// Late returns the longest delay of our own side since the given time. Nil means that nobody
	// watches it.
	Late func(since time.Time) time.Duration
	// IDs knows the client identifiers of the agent. All probes of the agent share it. Nil means that
	// this probe has its own.
	IDs *ClientIDs
	// Guesses limits connects with wrong credentials. All probes of the agent share it. Nil means no
	// limit.
	Guesses *Guesses
	// Sockets limits the file descriptors of all clients of the agent. All probes of the agent share
	// it. Nil means no limit.
	Sockets *mqtt.Sockets
	// Known is what the agent has learnt of its targets. All probes of the agent share it. Nil means
	// that this probe has its own.
	Known *Known
	// Heard knows when the targets last sent something. All probes of the agent share it. Nil means
	// that nobody knows it.
	Heard *mqtt.Heard
	// Files reads passwords and certificates. All probes of the agent share it. Nil means that this
	// probe has its own.
	Files *files.Reader
	// Dial replaces the network in tests. Nil means the network.
	Dial mqtt.DialFunc
	// Other returns another target and its gate by name, for probes that use two targets. Nil means
	// that there is no other target.
	Other func(name string) (*Target, *Gate, bool)
}

// Topic returns a topic below the prefix that only this client uses.
func (e *Env) Topic(clientID, what string) string {
	return e.TopicRoot() + "/" + clientID + "/" + what
}

// TopicRoot returns the prefix of the topics of all probes.
func (e *Env) TopicRoot() string {
	return cmp.Or(e.TopicPrefix, "pingreq")
}

// OtherTarget returns another target and its gate by name.
func (e *Env) OtherTarget(name string) (*Target, *Gate, bool) {
	if e.Other == nil {
		return nil, nil, false
	}
	return e.Other(name)
}
