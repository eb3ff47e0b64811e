package mqtt

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// TestMalformed sends what the standard forbids into an established session. Each must end as a
// protocol error by the server, with a detail that does not repeat the bytes.
func TestMalformed(t *testing.T) {
	for _, tt := range []struct{ name, packets, detail string }{
		{"length of 5 bytes", "30 ff ff ff ff 01", "a packet length of more than 4 bytes"},
		{"256 MiB", "30 ff ff ff 7f", "a PUBLISH of 268435460 bytes, more than the 1048576 that we accept"},
		{"one byte too many", "30 fd ff 3f", "a PUBLISH of 1048577 bytes, more than the 1048576 that we accept"},
		{"packet type 0", "00 00", "packet type 0, which a server never sends"},
		{"CONNECT", "10 00", "CONNECT, which a server never sends"},
		{"SUBSCRIBE", "82 00", "SUBSCRIBE, which a server never sends"},
		{"PINGREQ", "c0 00", "PINGREQ, which a server never sends"},
		{"another CONNACK", connack5, "CONNACK in an established session"},
		{"AUTH", "f0 00", "AUTH in an established session"},
		{"PINGRESP with flags", "d1 00", "PINGRESP with flags 0x1"},
		{"PINGRESP with a body", "d0 01 00", "PINGRESP with 1 bytes too many"},
		{"PUBACK with flags", "42 02 00 01", "PUBACK with flags 0x2"},
		{"PUBREL without flags", "60 02 00 01", "PUBREL with flags 0x0"},
		{"DISCONNECT with flags", "e1 00", "DISCONNECT with flags 0x1"},
		{"PUBLISH at QoS 3", "36 07 00 01 74 00 01 00 70", "PUBLISH with QoS 3"},
		{"PUBLISH at QoS 0 with DUP", "38 05 00 01 74 00 70", "PUBLISH at QoS 0 with DUP"},
		{"PUBLISH with identifier 0", "32 07 00 01 74 00 00 00 70", "PUBLISH with packet identifier 0"},
		{"PUBLISH without properties", "30 03 00 01 74", "PUBLISH ends too early"},
		{"PUBLISH shorter than its topic", "30 04 00 09 74 00", "PUBLISH ends too early"},
		{"PUBLISH of nothing", "30 00", "PUBLISH ends too early"},
		{"topic with wildcard", "30 06 00 03 61 2f 23 00", "PUBLISH to a topic with wildcards"},
		{"topic not UTF-8", "30 05 00 02 c3 28 00", "PUBLISH with a string that is not UTF-8"},
		{"topic with a surrogate", "30 06 00 03 ed a0 80 00", "PUBLISH with a string that is not UTF-8"},
		{"topic with U+0000", "30 06 00 03 61 00 62 00", "PUBLISH with a string that is not UTF-8"},
		{"topic alias", "30 07 00 01 74 03 23 00 01", "a topic alias, though we allow none"},
		{"topic alias alone", "30 06 00 00 03 23 00 01", "a topic alias, though we allow none"},
		{"topic alias 0", "30 07 00 01 74 03 23 00 00", "PUBLISH with property 0x23 of 0"},
		{"no topic and no alias", "30 03 00 00 00", "a topic alias, though we allow none"},
		{"property twice", "30 08 00 01 74 04 01 00 01 00", "PUBLISH with property 0x1 twice"},
		{"unknown property", "30 06 00 01 74 02 04 00", "PUBLISH with property 0x4"},
		{"property 255", "30 06 00 01 74 02 ff 00", "PUBLISH with property 0xff"},
		{"property of CONNACK", "30 07 00 01 74 03 21 00 01", "PUBLISH with property 0x21"},
		{"property cut off", "30 06 00 01 74 02 02 00", "PUBLISH ends too early"},
		{"properties longer than the packet", "30 05 00 01 74 05 01", "PUBLISH ends too early"},
		{"property length of 5 bytes", "30 09 00 01 74 80 80 80 80 01 00", "PUBLISH with a length of more than 4 bytes"},
		{"payload format 2", "30 06 00 01 74 02 01 02", "PUBLISH with property 0x1 neither 0 nor 1"},
		{"subscription identifier 0", "30 06 00 01 74 02 0b 00", "PUBLISH with property 0xb of 0"},
		{"content type not UTF-8", "30 08 00 01 74 04 03 00 01 ff", "PUBLISH with a string that is not UTF-8"},
		{"PUBACK with identifier 0", "40 02 00 00", "PUBACK with packet identifier 0"},
		{"PUBACK too short", "40 01 00", "PUBACK ends too early"},
		{"PUBACK too long", "40 05 00 01 00 00 00", "PUBACK with 1 bytes too many"},
		{"PUBREC with a foreign property", "50 06 00 01 00 02 01 00", "PUBREC with property 0x1"},
		{"SUBACK without a code", "90 03 00 01 00", "SUBACK without a code"},
		{"UNSUBACK without a code", "b0 03 00 01 00", "UNSUBACK without a code"},
		{"SUBACK with too many codes", "90 05 00 01 00 00 00", "an answer with 2 codes to 1 topic filters"},
		{"DISCONNECT too long", "e0 03 00 00 00", "DISCONNECT with 1 bytes too many"},
		{"first byte", "8f", "SUBSCRIBE, which a server never sends"},
		{"random bytes", "8f 3a 17 f2 91 e8 00 5c", "SUBSCRIBE, which a server never sends"},
		{"HTTP", "48 54 54 50 2f 31 2e 31" + strings.Repeat("20", 90), "PUBACK with flags 0x8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := pipe(t, Options{}, silent(connack5))
				if _, err := s.Subscribe(Filter{Topic: "x"}); err != nil {
					t.Fatal(err)
				}
				p.send(unhex(tt.packets))
				_, end := events(t, s, time.Now().Add(time.Minute))
				if end == nil {
					t.Fatal("the session did not end")
				}
				checkEnd(t, end, ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseEstablished})
				if want := "protocol error: " + tt.detail; end.Detail != want {
					t.Errorf("detail %q, want %q", end.Detail, want)
				}
			})
		})
	}
}

// TestMalformed311 covers what differs from TestMalformed in 3.1.1.
func TestMalformed311(t *testing.T) {
	for _, tt := range []struct{ name, packets, detail string }{
		{"no topic", "30 02 00 00", "PUBLISH without a topic"},
		{"AUTH", "f0 00", "unexpected AUTH"},
		{"PUBACK with a code", "40 03 00 01 00", "PUBACK with 1 bytes too many"},
		{"UNSUBACK with a code", "b0 03 00 01 00", "UNSUBACK with 1 bytes too many"},
		{"SUBACK without a code", "90 02 00 01", "SUBACK without a code"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := pipe(t, Options{Version: V311, ClientID: "c"}, silent(connack311))
				p.send(unhex(tt.packets))
				_, end := events(t, s, time.Now().Add(time.Minute))
				if end == nil || end.Reason != disconnect.ProtocolError || end.Detail != "protocol error: "+tt.detail {
					t.Errorf("ended with %v, want %s", end, tt.detail)
				}
			})
		})
	}
}

// TestMalformedConnack answers CONNECT with something that is not a valid CONNACK.
func TestMalformedConnack(t *testing.T) {
	for _, tt := range []struct {
		name, packets, detail string
		version               Version
	}{
		{"PUBLISH first", "30 05 00 01 74 00 70", "PUBLISH before CONNACK", V5},
		{"PINGRESP first", "d0 00", "PINGRESP before CONNACK", V5},
		{"flags", "20 03 02 00 00", "CONNACK with flags 0x2", V5},
		{"too short", "20 01 00", "CONNACK ends too early", V5},
		{"empty", "20 00", "CONNACK ends too early", V5},
		{"too long", "20 04 00 00 00 00", "CONNACK with 1 bytes too many", V5},
		{"accepted in the words of 3.1.1", "20 02 00 00", "CONNACK ends too early", V5},
		{"Receive Maximum 0", connackWith(0, 0, "21 00 00"), "CONNACK with property 0x21 of 0", V5},
		{"Maximum Packet Size 0", connackWith(0, 0, "27 00 00 00 00"), "CONNACK with property 0x27 of 0", V5},
		{"Maximum QoS 2", connackWith(0, 0, "24 02"), "CONNACK with property 0x24 neither 0 nor 1", V5},
		{"properties of 5", connack5, "CONNACK with 1 bytes too many", V311},
		{"AUTH", "f0 02 18 00", "AUTH, though we asked for no enhanced authentication", V5},
		{"AUTH of 3.1.1", "f0 00", "unexpected AUTH", V311},
		{"never ends", "20 ff ff ff 7f", "a CONNACK of 268435460 bytes, more than the 262144 that we accept", V5},
		{"random bytes", "e9 99 01 02 03 04", "DISCONNECT with flags 0x9", V5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				newPeer(t, server, silent(tt.packets+strings.Repeat("00", 200)))
				_, err := Dial(t.Context(), Options{URL: mustURL("mqtt://127.0.0.1"), ClientID: "c", Version: tt.version,
					DialSocket: func(context.Context, string, string) (net.Conn, error) { return client, nil }})
				end, ok := errors.AsType[*End](err)
				if !ok {
					t.Fatal(err)
				}
				checkEnd(t, end, ending{disconnect.ProtocolError, disconnect.ByServer, disconnect.FromLocal, disconnect.PhaseMQTT})
				if want := "protocol error: " + tt.detail; end.Detail != want {
					t.Errorf("detail %q, want %q", end.Detail, want)
				}
			})
		})
	}
}

// TestReceiveMaximumExceeded sends exactly as many QoS 2 messages as we allow, and one more.
func TestReceiveMaximumExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := pipe(t, Options{ReceiveMaximum: 3}, silent(connack5))
		for id := range uint16(3) {
			p.send(publish("t", 2, id+1, ""))
		}
		if got, end := events(t, s, time.Now().Add(time.Second)); len(got) != 3 || end != nil {
			t.Fatalf("%d messages, end %v", len(got), end)
		}
		p.send(publish("t", 2, 9, ""))
		if _, end := events(t, s, time.Now().Add(time.Second)); end == nil || end.Reason != disconnect.ProtocolError ||
			end.Detail != "protocol error: more than our Receive Maximum of 3 messages in flight" {
			t.Errorf("ended with %v", end)
		}
	})
}

// TestAllProperties reads a PUBLISH and acknowledgements with all properties that they may have.
func TestAllProperties(t *testing.T) {
	talk(t, Options{}, connack5, func(c *conversation) {
		id := c.publishes(1)
		c.receives("32 2e 00 01 74 00 07 27"+"01 01"+"02 00 00 00 01"+"03 00 01 63"+"08 00 01 72"+"09 00 02 00 ff"+"0b 01"+"0b ff ff ff 7f"+
			"26 00 01 61 00 01 62"+"26 00 00 00 00"+"70",
			Event{Kind: Delivery, ID: 7, Msg: &Message{Topic: "t", Payload: []byte("p"), QoS: 1}})
		c.receives("40 11 00 01 10 0d 1f 00 03 61 62 63 26 00 01 61 00 01 62",
			Event{Kind: Ack, ID: id, QoS: 1, Code: 0x10, Reason: "abc"})
	})
}
