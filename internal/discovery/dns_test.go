package discovery

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

// zone answers the questions of a DNS server. It returns false if the server stays silent.
type zone func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody, bool)

// startDNS serves a zone on loopback until the test ends, and returns a resolver that asks it.
func startDNS(t *testing.T, z zone) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		for b := make([]byte, 2048); ; {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			code, bodies, answers := z(q)
			if !answers {
				continue
			}
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: code}, Questions: m.Questions}
			for _, body := range bodies {
				reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, Body: body})
			}
			if packed, err := reply.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	r := newResolver()
	r.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return r
}

func srv(host string, port, weight uint16) dnsmessage.ResourceBody {
	return &dnsmessage.SRVResource{Priority: 10, Weight: weight, Port: port, Target: dnsmessage.MustNewName(host)}
}

// TestDNS asks a server in all of its moods.
func TestDNS(t *testing.T) {
	var mood atomic.Value
	mood.Store("well")
	resolver := startDNS(t, func(q dnsmessage.Question) (dnsmessage.RCode, []dnsmessage.ResourceBody, bool) {
		name := q.Name.String()
		switch mood.Load() {
		case "nxdomain":
			return dnsmessage.RCodeNameError, nil, true
		case "no record":
			return dnsmessage.RCodeSuccess, nil, true
		case "servfail":
			return dnsmessage.RCodeServerFailure, nil, true
		case "servfail of one":
			if strings.HasPrefix(name, "_two") {
				return dnsmessage.RCodeServerFailure, nil, true
			}
		case "silent":
			return 0, nil, false
		}
		switch {
		case q.Type == dnsmessage.TypeSRV && name == "_one.example.com.":
			return 0, []dnsmessage.ResourceBody{srv("b.example.com.", 8883, 1), srv("a.example.com.", 1883, 90), srv(".", 1, 1)}, true
		case q.Type == dnsmessage.TypeSRV && name == "_two.example.com.":
			return 0, []dnsmessage.ResourceBody{srv("c.example.com.", 1883, 1)}, true
		case q.Type == dnsmessage.TypeA && name == "_one.example.com.":
			return 0, []dnsmessage.ResourceBody{&dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}}, &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}}, true
		case q.Type == dnsmessage.TypeAAAA && name == "_one.example.com.":
			return 0, []dnsmessage.ResourceBody{&dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 1}}}, true
		}
		return dnsmessage.RCodeNameError, nil, true
	})
	const both = "a.example.com:1883 b.example.com:8883 c.example.com:1883"
	names := []string{"_one.example.com.", "_two.example.com."}
	for _, tt := range []struct {
		typ   string
		steps [][3]string // mood, list, failure
	}{
		{"SRV", [][3]string{{"well", both, ""}, {"servfail", both, "SRV records of _one.example.com.: server misbehaving"}, {"silent", both, "the DNS server does not answer"},
			{"servfail of one", both, "_two.example.com."}, {"nxdomain", "", ""}, {"well", both, ""}, {"no record", "", ""}}},
		{"A", [][3]string{{"well", "192.0.2.1:1883 192.0.2.2:1883", ""}, {"servfail", "192.0.2.1:1883 192.0.2.2:1883", "misbehaving"}, {"nxdomain", "", ""}}},
		{"AAAA", [][3]string{{"well", "[2001:db8::1]:1883", ""}, {"no record", "", ""}}},
	} {
		d := &dnsFinder{DNS: DNS{Names: names, Type: tt.typ, Port: 1883, Refresh: time.Second}, resolver: resolver}
		for _, step := range tt.steps {
			mood.Store(step[0])
			found := d.find(t.Context())
			if got := found.list.sorted().addresses(); got != step[1] {
				t.Errorf("%s, %s: %q, want %q", tt.typ, step[0], got, step[1])
			}
			if (found.err != nil) != (step[2] != "") || found.err != nil && !strings.Contains(found.err.Error(), step[2]) {
				t.Errorf("%s, %s: %v, want %q", tt.typ, step[0], found.err, step[2])
			}
		}
	}
	mood.Store("well")
	d := &dnsFinder{DNS: DNS{Names: names[:1], Type: "SRV", Refresh: time.Minute}, resolver: resolver}
	for range 20 { // the resolver shuffles by weight
		list := d.find(t.Context()).list.sorted()
		want := List{
			{"__address__": "a.example.com:1883", "__meta_dns_name": "_one.example.com.", "__meta_dns_srv_record_target": "a.example.com.", "__meta_dns_srv_record_port": "1883"},
			{"__address__": "b.example.com:8883", "__meta_dns_name": "_one.example.com.", "__meta_dns_srv_record_target": "b.example.com.", "__meta_dns_srv_record_port": "8883"},
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}
