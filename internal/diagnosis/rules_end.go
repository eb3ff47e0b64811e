package diagnosis

import (
	"fmt"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// answering matches connections that were closed without a word right after a packet of ours, if no
// other connection was closed without a word at another moment: then the packet is not the reason.
func answering(sent disconnect.PacketType) func(*Facts, failing) bool {
	return func(f *Facts, x failing) bool {
		return x.Ending != nil && !x.Connecting() && wordlessEnding(x.Ending) && answers(&x.Ending.When, sent) && f.onlyAnswers(sent)
	}
}

// onlyAnswers reports whether all connections that were lately closed without a word were closed right
// after a packet of ours of one kind.
func (f *Facts) onlyAnswers(sent disconnect.PacketType) bool {
	for _, e := range f.ends(duelWithin, wordless) {
		if e.Time.After(f.Mended) && !answers(&e.When, sent) {
			return false
		}
	}
	for _, x := range f.failures() {
		if x.Ending != nil && !x.Connecting() && wordlessEnding(x.Ending) && !answers(&x.Ending.When, sent) {
			return false
		}
	}
	return true
}

// endRules are about sessions that ended.
func endRules() []Rule {
	ends := func(reason disconnect.Reason) func(*Facts, failing) bool { return is(reason, "") }
	return []Rule{
		{
			Cause: "closed_after_subscribe", Title: "The server closes the connection after a SUBSCRIBE",
			Shows:        "The connection was accepted, and closed without a word within a second after our SUBSCRIBE.",
			Advice:       "Check the access rules for the topics below pingreq/#: AWS IoT Core and ThingsBoard close the connection of a client that subscribes to what it may not.",
			Alternatives: []string{"access rules for the topic", "a broker that crashes on the request"},
			judge:        failureRule(answering(disconnect.Subscribe), says("%s closes the connection right after our SUBSCRIBE: its access rules probably forbid the topic")),
		},
		{
			Cause: "closed_after_publish", Title: "The server closes the connection after a PUBLISH",
			Shows:        "The connection was accepted, and closed without a word within a second after our PUBLISH.",
			Advice:       "Check the access rules for publishing below pingreq/#, then the limits for QoS, retained messages and size.",
			Alternatives: []string{"access rules for the topic", "a QoS or size that the broker does not allow"},
			judge: failureRule(answering(disconnect.Publish), func(f *Facts, x failing) string {
				return fmt.Sprintf("%s closes the connection right after our PUBLISH of %d bytes: its access rules or limits probably forbid it", f.Target.Address, x.Ending.When.SentSize)
			}),
		},
		{
			Cause: "broker_stuck", Title: "The broker no longer answers on open connections",
			Shows:        "A PINGREQ, PUBLISH or SUBSCRIBE was acknowledged by the server's TCP, and not answered in time.",
			Advice:       "Check whether the broker's process is stopped, stuck or overloaded.",
			Alternatives: []string{"a balancer that holds the connection of a broker that is gone"},
			judge: failureRule(func(_ *Facts, x failing) bool {
				_, e := x.By()
				return e == disconnect.FromDeadline && !x.Connecting() && owedByServer(x) && !x.Ending.When.LargeLost
			}, detailed("%s no longer answers on connections that are open (%s)")),
		},
		{
			Cause: "keepalive_kick", Title: "The broker ends sessions for their keepalive",
			Shows:  "The broker says so (0x8D), or it closed after a silence that its keepalive explains.",
			Advice: "Check whether the client of the profile pings in time (ping.when, ping.after), then the broker's keepalive settings.",
			judge:  failureRule(ends(disconnect.KeepaliveTimeout), detailed("%s ends sessions for their keepalive (%s)")),
		},
		{
			Cause: "idle_limit_told", Title: "A server or balancer ends idle sessions",
			Shows:  "The server says so.",
			Advice: "Use a keepalive shorter than the idle limits on the path.",
			judge:  failureRule(ends(disconnect.IdleTimeout), detailed("%s ends sessions that idle (%s)")),
		},
		{
			Cause: "server_stops", Title: "The server says that it stops or restarts",
			Shows:  "DISCONNECT 0x8B, or a websocket close 1001 or 1012.",
			Advice: "Check whether that was planned, then the server's log.",
			judge:  failureRule(ends(disconnect.ServerShutdown), detailed("%s says that it stops or restarts (%s)")),
		},
		{
			Cause: "closed_by_admin", Title: "Sessions are closed through the broker's administration",
			Shows:  "DISCONNECT 0x98.",
			Advice: "Find out who or what kicks clients at this moment.",
			judge:  failureRule(ends(disconnect.AdminAction), detailed("our sessions at %s are closed through its administration (%s)")),
		},
		{
			Cause: "lifetime_expired", Title: "The longest lifetime of a connection or its credentials is reached",
			Shows:  "DISCONNECT 0xA0.",
			Advice: "Check that clients get fresh credentials, and reconnect.",
			judge:  failureRule(ends(disconnect.LifetimeExpired), detailed("%s ends sessions at their longest lifetime (%s)")),
		},
	}
}
