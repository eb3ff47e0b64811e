package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Lookup is how a resolver answers for a name.
type Lookup struct {
	// Addr is the name's address.
	Addr netip.Addr
	// ServFail makes the resolver answer that it failed (SERVFAIL).
	ServFail bool
	// Silent makes it send nothing.
	Silent bool
}

// StartResolver starts a name server inside the namespace, at the addresses of the resolvers that
// the machine is configured to use. It answers for the given names. For all others it answers that
// they do not exist (NXDOMAIN). It ends with the test.
func (n *Namespace) StartResolver(names map[string]Lookup) {
	n.t.Helper()
	for _, server := range nameservers(n.t) {
		if !server.IsLoopback() {
			n.Run("ip", "address", "add", netip.PrefixFrom(server, server.BitLen()).String(), "dev", "lo")
		}
	}
	var conn net.PacketConn
	var err error
	n.Do(func() { conn, err = net.ListenPacket("udp", ":53") })
	if err != nil {
		n.t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := serveNames(conn, names); !errors.Is(err, net.ErrClosed) {
			n.t.Errorf("resolver: %v", err)
		}
	})
	n.t.Cleanup(func() {
		conn.Close()
		serving.Wait()
	})
}

// nameservers returns the resolvers that the machine uses, from resolv.conf(5).
func nameservers(t testing.TB) (all []netip.Addr) {
	t.Helper()
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && !slices.Contains(all, addr) {
			all = append(all, addr)
		}
	}
	return all
}

// serveNames answers queries until the connection is closed.
func serveNames(conn net.PacketConn, names map[string]Lookup) error {
	buf := make([]byte, 1500)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		answer, err := answerQuery(buf[:size], names)
		if err != nil {
			return err
		}
		if answer != nil {
			if _, err := conn.WriteTo(answer, from); err != nil {
				return err
			}
		}
	}
}

// answerQuery returns the answer to a query; nil: no answer.
func answerQuery(query []byte, names map[string]Lookup) ([]byte, error) {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil {
		return nil, fmt.Errorf("a query that cannot be read: %w", err)
	}
	question, err := parser.Question()
	if err != nil {
		return nil, fmt.Errorf("a query that cannot be read: %w", err)
	}
	lookup, known := names[strings.TrimSuffix(question.Name.String(), ".")]
	header = dnsmessage.Header{ID: header.ID, Response: true, Authoritative: true, RecursionDesired: header.RecursionDesired}
	message := dnsmessage.Message{Header: header, Questions: []dnsmessage.Question{question}}
	switch {
	case lookup.Silent:
		return nil, nil
	case lookup.ServFail:
		message.RCode = dnsmessage.RCodeServerFailure
	case !known:
		message.RCode = dnsmessage.RCodeNameError
	case question.Type == dnsmessage.TypeA && lookup.Addr.Is4():
		message.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class},
			Body:   &dnsmessage.AResource{A: lookup.Addr.As4()},
		}}
	}
	return message.Pack()
}
