package test

import (
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"github.com/pingreq/pingreq/test/lab"
)

// faultsAcross sets up the places of the network faults. The agent is in the client's namespace,
// and the brokers are behind a router. The agent uses a resolver of the test.
func faultsAcross(t *testing.T) *faultLab {
	n := lab.NewRoutedNetwork(t)
	brokerWith := func(o lab.BrokerOptions) (url string, port int) {
		l, err := n.Broker.Listen("tcp", net.JoinHostPort(n.Broker.Addr.String(), "0"))
		if err != nil {
			t.Fatal(err)
		}
		o.Listener = l
		b := lab.StartBroker(t, o)
		return b.URL(), l.Addr().(*net.TCPAddr).Port
	}
	broker := func() (url string, port int) { return brokerWith(lab.BrokerOptions{}) }
	// narrow starts a broker, and makes the router lose large segments to it or from it.
	ca := lab.NewCA(t)
	narrow := func(secure bool, which string) place {
		o := lab.BrokerOptions{}
		if secure {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Server(t, lab.Names(n.Broker.Addr.String())).TLS}}
		}
		url, port := brokerWith(o)
		n.LoseLarge(port, which)
		if secure {
			return at(url).with(trust(ca))
		}
		return at(url)
	}
	// answered starts a broker and makes the router reject the segments to its port.
	answered := func(by ...string) place {
		url, port := broker()
		n.Router.Run("iptables", append([]string{"-w", "-I", "FORWARD", "-p", "tcp", "--dport", fmt.Sprint(port), "-j", "REJECT"}, by...)...)
		return at(url)
	}
	n.Client.StartResolver(map[string]lab.Lookup{
		"broker.example": {Addr: n.Broker.Addr},
		"fails.example":  {ServFail: true},
		"silent.example": {Silent: true},
	})
	const elsewhere, nowhere, forbidden = "192.0.2.1", "192.0.2.2", "192.0.2.3" // RFC 5737
	n.Client.Run("ip", "route", "add", "unreachable", nowhere)
	n.Client.Run("ip", "route", "add", "prohibit", forbidden)

	_, cut := broker()
	userTimeout, impatientCut := broker()
	reset, resetPort := broker()
	dropped, droppedPort := broker()
	n.Broker.DropPort(droppedPort)
	refused, refusedPort := broker()
	n.Broker.RejectPort(refusedPort)
	return &faultLab{agent: n.Client, proxy: "http://none.example:1", places: map[string]place{
		"path-cut":              at(fmt.Sprintf("mqtt://broker.example:%d", cut)).when(func() { n.Cut(cut) }),
		"path-cut-user-timeout": at(userTimeout).when(func() { n.Cut(impatientCut) }),

		"reset-established": at(reset).when(func() { n.Broker.RejectPort(resetPort) }),
		"reset-syn":         at(refused),
		"icmp-port":         answered("--reject-with", "icmp-port-unreachable"),
		"icmp-prohibited":   answered("--reject-with", "icmp-admin-prohibited"),
		"dropped-syn":       at(dropped),

		"narrow-to-broker":   narrow(true, "--dport"),
		"narrow-from-broker": narrow(true, "--sport"),
		"narrow-publish":     narrow(false, "--dport"),
		"narrow-delivery":    narrow(false, "--sport"),

		"no-route-here":  at("mqtt://" + nowhere),
		"no-route-there": at("mqtt://" + elsewhere),
		"forbidden-here": at("mqtt://" + forbidden),

		"dns-nxdomain": at("mqtt://nobody.example"),
		"dns-servfail": at("mqtt://fails.example"),
		"dns-silent":   at("mqtt://silent.example"),
	}}
}
