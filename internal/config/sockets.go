package config

import (
	"math"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Sockets returns how many connections the configuration may hold at once. Held sessions and the
// readers of $SYS and of client events hold theirs all the time. The clients of a periodic probe
// count for the share of its interval that a run may take, as it does when a broker hangs, and for at
// least what held sessions leave to them.
func (c *Config) Sockets() int {
	held, periodic := 0, 0.0
	for _, e := range c.Plan() {
		if n := e.Kind.Cost(e.Profile, e.Options).Connections; n > 0 || e.Kind.Held() {
			held += n
			continue
		}
		clients := e.Kind.Clients(e.Profile, e.Options)
		n := clients.Here
		for _, elsewhere := range clients.At {
			n += elsewhere
		}
		periodic += float64(n) * min(1, float64(e.Schedule.Timeout)/float64(e.Schedule.Every))
	}
	for _, t := range c.Targets {
		if _, ok := c.Sys(t.Name); ok {
			held++
		}
		if _, ok := c.Events(t.Name); ok {
			held++
		}
	}
	return held + max(int(math.Ceil(periodic)), mqtt.SocketsForRuns)
}
