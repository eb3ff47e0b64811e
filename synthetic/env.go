package synthetic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
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
	IDs *ClientIDs
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

// maxClientID is the longest client identifier that every broker has to accept [MQTT-3.1.3-5].
const maxClientID = 23

// templateHash is the length of {hash} in a template.
const templateHash = 12

// clientID names one client of a probe: stable, so that bans and flapping detection see one client, and different from
// every other client of every other agent. The default is prefix-hash in [0-9A-Za-z-], at most 23 bytes.
func (e *Env) clientID(template, role string) string {
	id := e.Identity
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Agent, id.Target, id.Kind, id.Probe, id.Profile, role, strconv.Itoa(e.Slot)}, "\x00")))
	hash := hex.EncodeToString(sum[:])
	if template != "" {
		return strings.NewReplacer("{agent}", e.Agent, "{target}", id.Target, "{probe}", id.Probe, "{profile}", id.Profile,
			"{role}", role, "{slot}", strconv.Itoa(e.Slot), "{hash}", hash[:templateHash]).Replace(template)
	}
	prefix := e.defaultPrefix()
	return fmt.Sprintf("%s-%s", prefix, hash[:maxClientID-len(prefix)-1])
}

// defaultPrefix begins the client identifiers of profiles without a template.
func (e *Env) defaultPrefix() string {
	prefix := cmp.Or(e.ClientIDPrefix, "pingreq")
	return prefix[:min(len(prefix), 10)]
}

// topic is a topic of the probe's own, below the prefix.
func (e *Env) topic(clientID, what string) string {
	return e.prefix() + "/" + clientID + "/" + what
}

// prefix is where the topics of all probes begin.
func (e *Env) prefix() string {
	return cmp.Or(e.TopicPrefix, "pingreq")
}

// other finds another target.
func (e *Env) other(name string) (*Target, *rate.Limiter, bool) {
	if e.Other == nil {
		return nil, nil, false
	}
	return e.Other(name)
}
