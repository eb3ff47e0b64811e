package diagnosis

import (
	"fmt"
	"strings"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// detailed is a sentence about the address of the target and the detail of the failure.
func detailed(format string) func(*Facts, failing) string {
	return func(f *Facts, x failing) string { return fmt.Sprintf(format, f.Target.Address, x.Detail) }
}

// refusedIdentifier matches refusals of a client identifier. Mosquitto also refuses so what exceeds
// max_keepalive.
func refusedIdentifier(_ *Facts, x failing) bool {
	return x.Ending != nil && x.Ending.Evidence == disconnect.FromConnack && (x.Ending.Code == 2 || x.Ending.Code == 0x85)
}

// refusalRules are about servers that say why they do not want us.
func refusalRules() []Rule {
	return []Rule{
		{
			Cause: "client_refused", Title: "The broker refuses our client identifier or our keepalive",
			Shows:  "CONNACK has the code 2 (3.1.1) or 0x85 (MQTT 5): identifier rejected. Some brokers answer a keepalive that is too long in the same way: Mosquitto does, for 3.1.1, above max_keepalive.",
			Advice: "Look at the broker's rules for client identifiers, then at its longest keepalive (Mosquitto: max_keepalive).",
			Steps:  []string{"Compare client_id of the profile with the rules: prefix, length, characters.", "Try a profile with a shorter keepalive: if the broker accepts that, the keepalive was the reason."},
			judge: failureRule(refusedIdentifier, func(f *Facts, x failing) string {
				k := ""
				if x.probe.Keepalive > 0 {
					k = " of " + x.probe.Keepalive.String()
				}
				return fmt.Sprintf("%s refuses our client: its identifier, or its keepalive%s (%s)", f.Target.Address, k, x.Detail)
			}),
		},
		{
			Cause: "credentials_refused", Title: "The broker does not accept our credentials",
			Shows:  "CONNACK or an HTTP answer says that user name, password, token or method is wrong.",
			Advice: "Check whether the credentials of the target expired or were changed, then the service that checks them.",
			judge:  failureRule(is(disconnect.AuthenticationFailed, ""), detailed("%s does not accept our credentials (%s)")),
		},
		{
			Cause: "connect_not_authorized", Title: "The broker does not let us connect",
			Shows:        "CONNACK or an HTTP answer says \"not authorized\". Many brokers answer a wrong password in this way, and also a user without permission, an address or an identifier that is not allowed.",
			Advice:       "Check user name and password of the target first, then the access rules of the broker.",
			Alternatives: []string{"a wrong user name or password", "access rules for the user, its identifier or its address", "the service that checks users is down"},
			judge: failureRule(func(f *Facts, x failing) bool { return is(disconnect.NotAuthorized, "")(f, x) && x.Connecting() },
				detailed("%s does not authorise us to connect (%s)")),
		},
		{
			Cause: "access_denied", Title: "Access rules forbid what the probes do",
			Shows:  "The broker accepted the client, and refused to let it publish or subscribe.",
			Advice: "Allow the user to publish and subscribe below pingreq/# (agent.topic_prefix).",
			judge: failureRule(func(f *Facts, x failing) bool { return is(disconnect.NotAuthorized, "")(f, x) && !x.Connecting() },
				detailed("%s lets us in, and forbids what the probes do (%s)")),
		},
		{
			Cause: "banned", Title: "The broker has banned us",
			Shows:  "CONNACK or DISCONNECT has the code 0x8A.",
			Advice: "Look at the broker's ban list and its protection against flapping clients.",
			judge:  failureRule(is(disconnect.Banned, ""), detailed("%s has banned our client or its address (%s)")),
		},
		{
			Cause: "server_busy", Title: "The server says that it is unavailable or busy",
			Shows:  "CONNACK 3, 0x88 or 0x89, DISCONNECT, or an HTTP 503 of a balancer without a broker.",
			Advice: "Look at the broker's load, memory and connection limit. An HTTP 503 comes from a balancer that finds no broker.",
			judge:  failureRule(is(disconnect.ServerBusy, ""), detailed("%s says that it is unavailable or too busy (%s)")),
		},
		{
			Cause: "limit_exceeded", Title: "A rate limit or quota is exceeded",
			Shows:  "The server says so (0x96, 0x97, 0x9F or HTTP 429).",
			Advice: "Find out which clients send or connect too much, and whether connect_rate of the target is below the limit.",
			judge:  failureRule(is(disconnect.RateOrQuota, ""), detailed("%s says that a rate limit or quota is exceeded (%s)")),
		},
		{
			Cause: "redirected", Title: "The server sends us to another one",
			Shows:  "CONNACK or DISCONNECT 0x9C or 0x9D, or an HTTP redirection.",
			Advice: "Check whether the cluster is being drained, or the service has moved: then change the URL.",
			judge:  failureRule(is(disconnect.Redirected, ""), detailed("%s sends us to another server (%s)")),
		},
		{
			Cause: "not_supported", Title: "The broker does not offer what the profile asks for",
			Shows:  "The broker says so, or it closes every MQTT 5 connection and answers 3.1.1.",
			Advice: "Use a profile with protocol: \"3.1.1\" if the broker has no MQTT 5, or settings that it allows.",
			judge:  failureRule(is(disconnect.NotSupported, ""), detailed("%s does not offer what the profile asks for (%s)")),
		},
		{
			Cause: "packet_too_large", Title: "A packet is larger than the broker accepts",
			Shows:  "The broker says 0x95, or it closes the connection right after a PUBLISH of more than 16 KiB.",
			Advice: "Raise the largest packet size of the broker, or publish less at once.",
			judge: failureRule(func(_ *Facts, x failing) bool {
				if x.Ending == nil {
					return false
				}
				w := &x.Ending.When
				return x.Ending.Code == 0x95 || !x.Connecting() && w.Sent == disconnect.Publish && w.Answers() && w.SentSize > 16<<10 && wordlessEnding(x.Ending)
			}, func(f *Facts, x failing) string {
				if x.Ending.Code == 0x95 {
					return fmt.Sprintf("a packet is larger than %s accepts (%s)", f.Target.Address, x.Detail)
				}
				return fmt.Sprintf("%s closes the connection right after a PUBLISH of %d bytes: it is probably larger than the broker accepts", f.Target.Address, x.Ending.When.SentSize)
			}),
		},
		{
			Cause: "protocol_violated", Title: "One side violates the protocol",
			Shows:  "The broker reports an error of ours, or pingreq could not read what the broker sent.",
			Advice: "Look at the detail and at recent updates of the broker. If pingreq is at fault, please report it.",
			judge: failureRule(func(f *Facts, x failing) bool {
				return is(disconnect.ProtocolError, "")(f, x) && !refusedIdentifier(f, x) && x.Ending.Code != 0x95
			}, detailed("%s and pingreq do not understand each other (%s)")),
		},
		{
			Cause: "flood", Title: "The broker sends more than a client has to accept",
			Shows:  "pingreq ended the session to protect itself.",
			Advice: "Look at which subscriptions, bridges or access rules send foreign messages to our client.",
			judge:  failureRule(is(disconnect.Flood, ""), detailed("%s sends us more than a client has to accept (%s)")),
		},
	}
}

// wordlessEnding reports whether a connection was closed without a reason.
func wordlessEnding(e *disconnect.Ending) bool {
	return (e.Reason == disconnect.PeerClosed || e.Reason == disconnect.ConnectionReset) && !strings.Contains(string(e.Evidence), "packet")
}
