package synthetic

import (
	"cmp"
	"time"

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Env is what a probe gets from the agent.
type Env struct {
	Agent          string // agent.id: two agents differ in it, so they never take over each other
	TopicPrefix    string // probes use only <TopicPrefix>/#
	ClientIDPrefix string
	Identity       Identity
	Slot           int // of a held kind: which of its sessions
	Target         *Target
	Timeout        time.Duration // of one run; of a held kind: of one connection attempt
	// Gate limits the connects per second to the target; all of the target's probes share it. nil = no limit.
	Gate *rate.Limiter
	// IDs lends client identifiers of fixed pools; all of the agent's probes share it. nil = no other probe has any.
	IDs *IDPools
	// Dial replaces the network in tests; nil = the network.
	Dial mqtt.DialFunc
	// Other finds another target with its gate, for probes that span two.
	Other func(name string) (*Target, *rate.Limiter, bool)
}

// NewGate makes the connect rate limit of a target, in connects per second; 0 means none.
func NewGate(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
}

// topic is a topic of the probe's own, below the prefix.
func (e *Env) Topic(clientID, what string) string {
	return e.TopicRoot() + "/" + clientID + "/" + what
}

// prefix is where the topics of all probes begin.
func (e *Env) TopicRoot() string {
	return cmp.Or(e.TopicPrefix, "pingreq")
}

// other finds another target.
func (e *Env) OtherTarget(name string) (*Target, *rate.Limiter, bool) {
	if e.Other == nil {
		return nil, nil, false
	}
	return e.Other(name)
}
