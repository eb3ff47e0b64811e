package diagnosis

import (
	"fmt"
	"net"
	"strings"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// failureRule returns the judgement of a rule that explains each failure for which match holds.
// sentence gets the latest of them. It may return "" if the facts do not suffice.
func failureRule(match func(*Facts, failing) bool, sentence func(*Facts, failing) string) func(*Facts) *finding {
	return func(f *Facts) *finding {
		var covers []failing
		for _, x := range f.failures() {
			if match(f, x) {
				covers = append(covers, x)
			}
		}
		if len(covers) == 0 {
			return nil
		}
		latest := covers[0]
		for _, x := range covers[1:] {
			if x.Time.After(latest.Time) {
				latest = x
			}
		}
		s := sentence(f, latest)
		if s == "" {
			return nil
		}
		return &finding{sentence: s, covers: covers}
	}
}

// says is a sentence about the address of the target.
func says(format string) func(*Facts, failing) string {
	return func(f *Facts, _ failing) string { return fmt.Sprintf(format, f.Target.Address) }
}

// is matches failures with an ending of these values. An empty value matches all.
func is(reason disconnect.Reason, phase disconnect.Phase, evidences ...disconnect.Evidence) func(*Facts, failing) bool {
	return func(_ *Facts, x failing) bool {
		if x.Ending == nil || x.Speaks() != "" || x.Ending.Reason != reason || phase != "" && x.Phase != phase {
			return false
		}
		if len(evidences) == 0 {
			return true
		}
		for _, e := range evidences {
			if x.Ending.Evidence == e {
				return true
			}
		}
		return false
	}
}

// closes are the kinds of evidence of a close without a word.
var closes = []disconnect.Evidence{disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify}

// expected names what a URL expects at its port.
func expected(scheme string) string {
	switch scheme {
	case "mqtts":
		return "MQTT over TLS"
	case "ws":
		return "MQTT over websocket"
	case "wss":
		return "MQTT over websocket and TLS"
	}
	return "MQTT without TLS"
}

// portRules are about what answers at the port.
func portRules() []Rule {
	return []Rule{
		{
			Cause: "wrong_protocol", Title: "The port speaks another protocol",
			Shows:  "The server answered in another protocol, or it did not answer what the URL demands and answered when pingreq asked in another protocol. pingreq asks once in 10 minutes, with at most three connections and without credentials.",
			Advice: "Give the URL of the MQTT listener: mqtt:// usually has port 1883, mqtts:// 8883.",
			Steps: []string{"Compare scheme and port of the URL with the listeners in the broker's configuration.",
				"If a balancer or proxy is in front of the broker, look at which of its ports ends TLS and which expects the PROXY protocol."},
			judge: func(f *Facts) *finding {
				x := failureRule(func(_ *Facts, x failing) bool { return x.Speaks() != "" }, func(f *Facts, x failing) string {
					want := "MQTT"
					if p := x.Speaks(); p.Scheme() != "" {
						want = expected(f.Target.Scheme)
					}
					if x.Speaks() == disconnect.SpeaksHTTP && f.Target.Scheme == "ws" {
						return f.Target.Address + " is a web server without a websocket at this path"
					}
					return fmt.Sprintf("%s speaks %s, not %s", f.Target.Address, x.Speaks().Name(), want)
				})(f)
				if x == nil {
					return nil
				}
				if scheme := x.covers[0].Speaks().Scheme(); scheme != "" {
					x.advice = fmt.Sprintf("Use %s instead of %s.", f.Target.URL(scheme), f.Target.URL(f.Target.Scheme))
				}
				if x.covers[0].Speaks() == disconnect.SpeaksHTTP && f.Target.Scheme == "ws" {
					x.advice = "Give the path of the websocket in the URL: many brokers use /mqtt."
				}
				return x
			},
		},
		{
			Cause: "name_not_resolved", Title: "The name cannot be resolved",
			Shows:  "The resolver of this machine has no address for the host of the URL, or does not answer.",
			Advice: "Check the name in the URL, then ask the resolver by hand, for example with dig or getent hosts.",
			Steps:  []string{"If other names resolve, the record is missing or was removed: look at the zone.", "If no name resolves, look at the resolver in /etc/resolv.conf, and at the network to it."},
			judge: failureRule(is(disconnect.DNSError, ""), func(f *Facts, x failing) string {
				host, _, err := net.SplitHostPort(f.Target.Address)
				if err != nil {
					host = f.Target.Address
				}
				return fmt.Sprintf("the name %s cannot be resolved (%s)", host, strings.TrimPrefix(x.Detail, "DNS: "))
			}),
		},
		{
			Cause: "no_route", Title: "There is no route to the server",
			Shows:  "This machine or a router on the way reports that it knows no route, or that a rule forbids it.",
			Advice: "Check the routes and links of this machine, then the network of %s.",
			Steps:  []string{"ip route get ADDRESS shows which route this machine uses.", "An answer \"administratively prohibited\" comes from a firewall."},
			judge:  failureRule(is(disconnect.NetworkUnreachable, ""), says("there is no route to %s")),
		},
		{
			Cause: "accept_queue_full", Title: "New connections are not accepted, old ones are answered",
			Shows:  "The server does not answer the first segment (SYN) of new connections, while it answers other connections of ours to the same address.",
			Advice: "Check whether the broker accepts connections fast enough: ss -ltn on its host shows a full queue where Recv-Q exceeds Send-Q.",
			Steps: []string{"A queue that is full for long means that the broker's accepting thread is stuck or overloaded.",
				"Raise the backlog of the listener and net.core.somaxconn if connects come in storms.", "nstat shows TcpExtListenOverflows and TcpExtListenDrops."},
			Alternatives: []string{"a firewall or balancer that limits or drops new connections", "a full table of connections (nf_conntrack) on the way"},
			judge: failureRule(func(_ *Facts, x failing) bool { return x.Ending != nil && x.Ending.When.OthersAnswered },
				says("%s does not accept new connections, but answers those that it has: its accept queue is probably full")),
		},
		{
			Cause: "host_silent", Explains: []string{"path_lost", "broker_stuck", "sessions_restarted", "connection_age_limit", "idle_limit"}, Title: "The host does not answer at all",
			Shows:        "No answer comes to the first segment (SYN) of a connection: no acceptance, no refusal, no ICMP error.",
			Advice:       "Check whether the host of %s is up, then firewalls and security groups on the way: they often drop without an answer.",
			Steps:        []string{"Try from another network. If it answers there, the fault is between this agent and the host.", "ping and traceroute show how far packets come, unless they are filtered."},
			Alternatives: []string{"a firewall that drops the packets", "a full accept queue of the broker"},
			judge:        failureRule(is(disconnect.NetworkTimeout, disconnect.PhaseTCP), says("%s does not answer: its host is down, or the path to it is cut or filtered")),
		},
		{
			Cause: "port_closed", Explains: []string{"sessions_restarted", "connection_age_limit", "idle_limit", "server_stops", "path_lost"}, Title: "Nothing listens at the port",
			Shows:  "The host answers every connect with a refusal (RST, or ICMP port unreachable), or there is no such unix socket.",
			Advice: "Check whether the broker runs, and whether it listens on %s.",
			Steps: []string{"ss -ltnp on the host shows who listens where: a broker that listens on 127.0.0.1 only is not reachable from outside.",
				"Look at the broker's log for its last start.", "A firewall that rejects instead of dropping looks the same."},
			Alternatives: []string{"a firewall that rejects the connection"},
			judge:        failureRule(is(disconnect.ConnectionRefused, disconnect.PhaseTCP, disconnect.FromErrno), says("nothing listens at %s: the host refuses every connection")),
		},
		{
			Cause: "proxy_fails", Title: "The proxy does not connect us",
			Shows:  "The connection failed at the SOCKS or HTTP proxy of the profile, or the proxy reports that it cannot reach the server.",
			Advice: "Check the proxy of the profile, and whether it may reach %s.",
			judge: failureRule(func(_ *Facts, x failing) bool { return x.Ending != nil && x.Phase == disconnect.PhaseProxy },
				func(f *Facts, x failing) string {
					return fmt.Sprintf("the proxy does not connect us to %s (%s)", f.Target.Address, x.Detail)
				}),
		},
	}
}
