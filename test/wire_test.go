package test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// TestPingsOnTheWire checks by a packet capture when PINGREQs leave: after the silence that the
// policy sets, never earlier, and not noticeably later.
func TestPingsOnTheWire(t *testing.T) {
	t.Parallel()
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{})
	capture := lab.StartCapture(t, lab.CaptureOptions{Interface: "lo", Port: broker.Port})
	p := plan{targets: []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", broker.URL)}}

	sent := func(sent, _ time.Time) time.Time { return sent }
	received := func(_, received time.Time) time.Time { return received }
	either := func(sent, received time.Time) time.Time {
		if sent.Before(received) {
			return sent
		}
		return received
	}
	tests := []struct {
		id        string // of the client, as in Mosquitto's log
		keepalive time.Duration
		ping      string        // policy
		wait      time.Duration // the silence that makes a ping due
		since     func(sent, received time.Time) time.Time
		traffic   string
	}{
		{"idle-2s", 2 * time.Second, "{}", 2 * time.Second, either, "idle"},
		{"idle-3s", 3 * time.Second, "{}", 3 * time.Second, either, "idle"},
		{"after-1.4K", 2 * time.Second, "{after: 1.4}", 2800 * time.Millisecond, either, "idle"},
		{"publishing-2s", 2 * time.Second, "{}", 2 * time.Second, either, "publish"},
		{"publishing-3s", 3 * time.Second, "{}", 3 * time.Second, either, "publish"},
		{"receiving", 2 * time.Second, "{}", 2 * time.Second, either, "receive"},
		{"receiving-sent", 2 * time.Second, "{when: sent}", 2 * time.Second, sent, "receive"},
		{"publishing-received", 2 * time.Second, "{when: received}", 2 * time.Second, received, "publish"},
	}
	for _, tt := range tests {
		p.profiles = append(p.profiles, fmt.Sprintf("{name: %s, keepalive: %v, ping: %s, client_id: \"%s{role}\"}", tt.id, tt.keepalive, tt.ping, tt.id))
		p.probes = append(p.probes, fmt.Sprintf("{name: %s, kind: session, profiles: [%s], session: {traffic: %s, traffic_interval: 300ms}}", tt.id, tt.id, tt.traffic))
	}
	a := startPlan(t, p)
	var enough []func(metrics) string
	for _, tt := range tests {
		enough = append(enough, atLeast(3, "mqtt_probe_pings_total{probe="+tt.id+",outcome=answered}"))
	}
	m := a.until(all(enough...))
	a.blameless(m, "")
	capture.Stop()

	// The kernel stamps the packets of a capture. The upper bound leaves room for a process that
	// waits for a processor, as the agent does.
	const early = 5 * time.Millisecond
	late := 250*time.Millisecond + a.stalled()
	if a.stalled() > 0 {
		t.Logf("this machine was slow: a PINGREQ may leave %v late", late)
	}
	conversations := converse(t, capture.Segments(), uint16(broker.Port))
	for _, tt := range tests {
		var sent, received time.Time
		pings := 0
		for _, s := range conversations[tt.id] {
			if s.Type() == lab.PINGREQ && !received.IsZero() {
				pings++
				if silence := s.at.Sub(tt.since(sent, received)); silence < tt.wait-early || silence > tt.wait+late {
					t.Errorf("%s: PINGREQ %d left after %v of silence, want %v", tt.id, pings, silence, tt.wait)
				}
			}
			if s.sent {
				sent = s.at
			} else {
				received = s.at
			}
		}
		if pings < 3 {
			t.Errorf("%s: saw %d PINGREQs of 3 at least", tt.id, pings)
		}
	}
}

// said is a packet of a conversation.
type said struct {
	lab.Packet
	at   time.Time
	sent bool // by the client
}

// converse assembles captured segments to the conversations of the clients, by client id.
func converse(t *testing.T, segments []lab.Segment, port uint16) map[string][]said {
	t.Helper()
	type direction struct {
		next uint32 // sequence number
		rest []byte // of a packet that is not complete
	}
	flows := map[[2]netip.AddrPort]*direction{}
	conversations := map[netip.AddrPort][]said{}
	names := map[netip.AddrPort]string{}
	for _, s := range segments {
		sent := s.Dst.Port() == port
		client := s.Src
		if !sent {
			client = s.Dst
		}
		flow := flows[[2]netip.AddrPort{s.Src, s.Dst}]
		if s.Flags&lab.SYN != 0 {
			flows[[2]netip.AddrPort{s.Src, s.Dst}] = &direction{next: s.Seq + 1}
			continue
		}
		if flow == nil || len(s.Payload) == 0 || s.Seq != flow.next { // with another Seq it is a retransmission
			continue
		}
		flow.next += uint32(len(s.Payload))
		flow.rest = append(flow.rest, s.Payload...)
		for len(flow.rest) > 0 {
			unread := bytes.NewReader(flow.rest)
			reader := bufio.NewReader(unread)
			packet, err := lab.ReadPacket(reader)
			if err != nil { // the rest of it is in the next segment
				break
			}
			flow.rest = flow.rest[len(flow.rest)-unread.Len()-reader.Buffered():]
			if packet.Type() == lab.CONNECT {
				names[client] = clientID(packet.Body)
			}
			conversations[client] = append(conversations[client], said{packet, s.Time, sent})
		}
	}
	out := map[string][]said{}
	for client, name := range names {
		if len(out[name]) > 0 {
			t.Errorf("two clients are called %s", name)
		}
		out[name] = conversations[client]
	}
	return out
}

// clientID reads the client id of a CONNECT of MQTT 5 [MQTT5 3.1]. Its properties take less than
// 128 bytes.
func clientID(connect []byte) string {
	const header = len("\x00\x04MQTT\x05\x02\x00\x00")
	rest := connect[header:]
	rest = rest[1+rest[0]:]
	return strings.Clone(string(rest[2:][:binary.BigEndian.Uint16(rest)]))
}
