// Package probe lists the kinds of probes. It is the only package that imports them. A new kind is
// one folder in this directory and one line in [Catalog].
package probe

import (
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/probe/connect"
	"github.com/pingreq/pingreq/synthetic/probe/halfopen"
	"github.com/pingreq/pingreq/synthetic/probe/idle"
	"github.com/pingreq/pingreq/synthetic/probe/refuse"
	"github.com/pingreq/pingreq/synthetic/probe/resume"
	"github.com/pingreq/pingreq/synthetic/probe/roundtrip"
	"github.com/pingreq/pingreq/synthetic/probe/session"
	"github.com/pingreq/pingreq/synthetic/probe/takeover"
)

// Catalog returns every kind of probe, in the order of the documentation, and the default suite.
func Catalog() synthetic.Catalog {
	c := synthetic.Catalog{Suite: suite, Kinds: []synthetic.Kind{
		connect.Kind(),
		refuse.Kind(),
		session.Kind(),
		roundtrip.Kind(),
		halfopen.Kind(),
		takeover.Kind(),
		resume.Kind(),
		idle.Kind(),
	}}
	for i := range c.Kinds { // the runner reports every panic as a failure
		c.Kinds[i].Reasons = append(c.Kinds[i].Reasons, string(disconnect.Panic))
	}
	return c
}

// suite returns the probes that run when the configuration names none. It holds both an idle and an
// echoing session, because an echo keeps its connection busy and hides what the idle session finds.
func suite(keepalive time.Duration) []synthetic.Preset {
	echo := session.DefaultOptions()
	echo.Echo = session.DefaultEcho()
	detection := halfopen.DefaultOptions()
	// RabbitMQ and some versions of EMQX need up to 3 × keepalive.
	detection.Late = 3*keepalive + 10*time.Second
	unordered := resume.DefaultOptions()
	unordered.Ordered = false // some brokers send last what they had sent to the dead connection
	return []synthetic.Preset{
		{Name: "connect", Kind: "connect", Title: "connect"},
		{Name: "hold", Kind: "session", Title: "an idle session"},
		{Name: "echo", Kind: "session", Title: "an echoing session", Options: echo},
		{Name: "roundtrip", Kind: "roundtrip", Title: "roundtrip"},
		{Name: "halfopen", Kind: "halfopen", Title: "halfopen (late at 3 × keepalive + 10 s)", Options: detection},
		{Name: "takeover", Kind: "takeover", Title: "takeover"},
		{Name: "idle", Kind: "idle", Title: "idle"},
		{Name: "resume", Kind: "resume", Title: "resume (which allows messages in any order)", Options: unordered},
	}
}
