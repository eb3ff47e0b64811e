package mqtt

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2/packets"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestConnack reads every announcement of CONNACK.
func TestConnack(t *testing.T) {
	seconds := func(n int) *time.Duration { d := time.Duration(n) * time.Second; return &d }
	all := connackWith(1, 0, "11 00 00 00 0a", "21 00 03", "24 01", "25 00", "27 00 01 00 00", "12 00 02 69 64", "22 00 07",
		"1f 00 02 6f 6b", "26 00 01 61 00 01 62", "28 00", "29 00", "2a 00", "13 00 14", "1a 00 01 72", "1c 00 01 73")
	for _, tt := range []struct {
		name, connack string
		version       Version
		want          Connack
		id            string
	}{
		{"nothing", connack5, V5, Connack{ReceiveMaximum: 65535, MaximumQoS: 2, RetainAvailable: true, WildcardSubAvailable: true,
			SubIDAvailable: true, SharedSubAvailable: true}, "c"},
		{"all", all, V5, Connack{SessionPresent: true, SessionExpiry: seconds(10), ReceiveMaximum: 3, MaximumQoS: 1, MaximumPacketSize: 65536,
			AssignedClientID: "id", TopicAliasMaximum: 7, ReasonString: "ok", ServerKeepAlive: seconds(20), ServerReference: "s"}, "id"},
		{"3.1.1", connack311, V311, Connack{ReceiveMaximum: 65535, MaximumQoS: 2, RetainAvailable: true, WildcardSubAvailable: true}, "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			talk(t, Options{Version: tt.version, ClientID: "c"}, tt.connack, func(c *conversation) {
				if diff := cmp.Diff(tt.want, c.s.Connack()); diff != "" {
					t.Errorf("CONNACK (-want +got):\n%s", diff)
				}
				if c.s.ClientID() != tt.id {
					t.Errorf("client id %q, want %q", c.s.ClientID(), tt.id)
				}
				if c.s.Version() != tt.version {
					t.Errorf("version %s", c.s.Version())
				}
			})
		})
	}
}

// TestReceiveMaximum fills the window. The broker sets its size, and QoS 0 does not count
// [MQTT5-3.3.4-7].
func TestReceiveMaximum(t *testing.T) {
	talk(t, Options{}, "20 06 00 00 03 21 00 02", func(c *conversation) {
		c.publishes(1)
		c.publishes(2)
		if n := c.s.Window(); n != 0 {
			t.Errorf("window %d, want 0", n)
		}
		for qos := range byte(2) {
			if id, _, err := c.s.Publish(Message{Topic: "t", QoS: qos + 1}); err != ErrWindow || id != 0 {
				t.Errorf("QoS %d: id %d, %v, want ErrWindow", qos+1, id, err)
			}
		}
		c.publishes(0)
		if got := c.p.fresh(); len(got) != 3 {
			t.Errorf("sent %q", got)
		}
		c.receives("50 02 00 02") // PUBREC does not free a place
		if n := c.s.Window(); n != 0 {
			t.Errorf("window %d after PUBREC, want 0", n)
		}
		c.receives("70 02 00 02", Event{Kind: Ack, ID: 2, QoS: 2})
		c.publishes(2)
		c.receives("50 03 00 03 87", Event{Kind: Ack, ID: 3, QoS: 2, Code: 0x87}) // a refusal does
		c.publishes(1)
		c.receives("40 02 00 01 40 02 00 04", Event{Kind: Ack, ID: 1, QoS: 1}, Event{Kind: Ack, ID: 4, QoS: 1})
		if n := c.s.Window(); n != 2 {
			t.Errorf("window %d at the end, want 2", n)
		}
	})
}

// TestUnsupported asks for things that the broker announced not to support. Each returns an error
// that says so, sends nothing, and leaves the session alive.
func TestUnsupported(t *testing.T) {
	for _, tt := range []struct {
		name, connack string
		message       Message
		want          string
	}{
		{"QoS 2", "20 05 00 00 02 24 01", Message{Topic: "t", QoS: 2}, "QoS 2, but its Maximum QoS is 1"},
		{"QoS 1", "20 05 00 00 02 24 00", Message{Topic: "t", QoS: 1}, "QoS 1, but its Maximum QoS is 0"},
		{"retain", "20 05 00 00 02 25 00", Message{Topic: "t", Retain: true}, "retained messages"},
		{"size", "20 08 00 00 05 27 00 00 00 0a", Message{Topic: "t", Payload: make([]byte, 5)}, "a PUBLISH of 11 bytes, but its Maximum Packet Size is 10"},
		{"size at QoS 1", "20 08 00 00 05 27 00 00 00 0a", Message{Topic: "t", QoS: 1, Payload: make([]byte, 3)}, "a PUBLISH of 11 bytes, but its Maximum Packet Size is 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			talk(t, Options{}, tt.connack, func(c *conversation) {
				_, _, err := c.s.Publish(tt.message)
				if want := ErrUnsupported.Error() + ": " + tt.want; !errors.Is(err, ErrUnsupported) || err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
				c.sent()
				if c.s.State().Pending() != 0 {
					t.Error("the refused message is in flight")
				}
				c.publishes(0)
				if got := c.p.fresh(); len(got) != 1 || c.s.Ended() != nil {
					t.Errorf("then sent %q, end %v", got, c.s.Ended())
				}
			})
		})
	}
	t.Run("a packet of just the right size", func(t *testing.T) {
		talk(t, Options{}, "20 08 00 00 05 27 00 00 00 0a", func(c *conversation) {
			if _, _, err := c.s.Publish(Message{Topic: "t", Payload: make([]byte, 4)}); err != nil {
				t.Error(err)
			}
		})
	})
}

// TestPacketIdentifiers checks that packet identifiers wrap round and skip 0 and those in use, also
// those of SUBSCRIBE [MQTT3-2.3.1-2, MQTT5-2.2.1-3].
func TestPacketIdentifiers(t *testing.T) {
	talk(t, Options{Version: V311, ClientID: "c"}, connack311, func(c *conversation) {
		c.publishes(1)
		if id, err := c.s.Subscribe(Filter{Topic: "t"}); id != 2 || err != nil {
			t.Error(id, err)
		}
		seen := map[uint16]bool{1: true, 2: true}
		for range 65532 {
			id := c.publishes(1)
			if id == 0 || seen[id] {
				t.Fatalf("packet identifier %d is 0 or in use", id)
			}
			seen[id] = true
		}
		if id := c.publishes(1); id != 65535 {
			t.Errorf("packet identifier %d, want 65535", id)
		}
		if c.s.Window() != 1 {
			t.Errorf("window %d", c.s.Window())
		}
		if _, _, err := c.s.Publish(Message{Topic: "t", QoS: 1}); err != ErrWindow {
			t.Errorf("with no identifier free: %v, want ErrWindow", err)
		}
		if _, err := c.s.Unsubscribe("t"); err != ErrWindow {
			t.Errorf("with no identifier free: %v, want ErrWindow", err)
		}
		c.receives("90 03 00 02 00", Event{Kind: Suback, ID: 2, Codes: []byte{0}})
		if id := c.publishes(1); id != 2 {
			t.Errorf("packet identifier %d, want 2, which is free again", id)
		}
	})
}

// TestConnect decodes our CONNECT with a second codec.
func TestConnect(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		version byte
		want    mochi.ConnectParams
		props   mochi.Properties
	}{
		{"least", Options{}, 5, mochi.ConnectParams{}, mochi.Properties{ReceiveMaximum: 32, MaximumPacketSize: 1 << 20}},
		{"most", Options{ClientID: "id", Username: "u", Password: "p", CleanStart: true, SessionExpiry: time.Hour, Keepalive: 65535 * time.Second,
			ReceiveMaximum: 7, MaxPacketSize: 4096, Will: &Will{Topic: "w", Payload: []byte("gone"), QoS: 1, Retain: true, Delay: 5 * time.Second}},
			5, mochi.ConnectParams{ClientIdentifier: "id", UsernameFlag: true, Username: []byte("u"), PasswordFlag: true, Password: []byte("p"),
				Clean: true, Keepalive: 65535, WillFlag: true, WillTopic: "w", WillPayload: []byte("gone"), WillQos: 1, WillRetain: true,
				WillProperties: mochi.Properties{WillDelayInterval: 5}},
			mochi.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true, ReceiveMaximum: 7, MaximumPacketSize: 4096}},
		{"password alone", Options{Password: "token"}, 5, mochi.ConnectParams{UsernameFlag: true, Username: []byte{}, PasswordFlag: true, Password: []byte("token")},
			mochi.Properties{ReceiveMaximum: 32, MaximumPacketSize: 1 << 20}},
		{"user alone", Options{Username: "u"}, 5, mochi.ConnectParams{UsernameFlag: true, Username: []byte("u")},
			mochi.Properties{ReceiveMaximum: 32, MaximumPacketSize: 1 << 20}},
		{"3.1.1", Options{Version: V311, ClientID: "id", Username: "u", Password: "p", CleanStart: true, Keepalive: time.Minute,
			Will: &Will{Topic: "w", Payload: []byte("p"), QoS: 2}}, 4, mochi.ConnectParams{ClientIdentifier: "id", UsernameFlag: true, Username: []byte("u"),
			PasswordFlag: true, Password: []byte("p"), Clean: true, Keepalive: 60, WillFlag: true, WillTopic: "w", WillPayload: []byte("p"), WillQos: 2}, mochi.Properties{}},
		// [MQTT3-3.1.2-22]
		{"3.1.1, password alone", Options{Version: V311, ClientID: "id", Password: "p"}, 4, mochi.ConnectParams{ClientIdentifier: "id",
			UsernameFlag: true, Username: []byte{}, PasswordFlag: true, Password: []byte("p")}, mochi.Properties{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				connack := connack5
				if tt.version == 4 {
					connack = connack311
				}
				_, p := pipe(t, tt.options, silent(connack))
				got := p.all()[0]
				pk := mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Connect}}
				if err := pk.ConnectDecode(bytes.Clone(got.body)); err != nil {
					t.Fatal(err)
				}
				if code := pk.ConnectValidate(); code.Code != 0 {
					t.Errorf("not valid: %s", code.Reason)
				}
				tt.want.ProtocolName = []byte("MQTT")
				if diff := cmp.Diff(tt.want, pk.Connect); diff != "" {
					t.Errorf("CONNECT (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.props, pk.Properties); diff != "" || pk.ProtocolVersion != tt.version || got.header != 0x10 {
					t.Errorf("header %#x, version %d, properties (-want +got):\n%s", got.header, pk.ProtocolVersion, diff)
				}
			})
		})
	}
}

// TestBadOptions checks that options which cannot be sent return an error before anything is
// dialled.
func TestBadOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"no broker URL": {},
		`unknown scheme "http": use one of mqtt, mqtts, ws, wss, unix`:         {URL: mustURL("http://h")},
		"MQTT version level 3 is not supported":                                {URL: mustURL("mqtt://h"), Version: 3},
		"keepalive 1.5s is not a whole number of seconds up to 65535":          {URL: mustURL("mqtt://h"), Keepalive: 1500 * time.Millisecond},
		"keepalive 18h12m16s is not a whole number of seconds up to 65535":     {URL: mustURL("mqtt://h"), Keepalive: 65536 * time.Second},
		`unknown ping policy "sometimes"`:                                      {URL: mustURL("mqtt://h"), Ping: PingPolicy{When: "sometimes"}},
		"session expiry 1ms is not a whole number of seconds up to 4294967295": {URL: mustURL("mqtt://h"), SessionExpiry: time.Millisecond},
		"the password is longer than 65535 bytes":                              {URL: mustURL("mqtt://h"), Password: Secret(make([]byte, 65536))},
		"the client id is not UTF-8 text without U+0000":                       {URL: mustURL("mqtt://h"), ClientID: "a\x00"},
		"the user name is longer than 65535 bytes":                             {URL: mustURL("mqtt://h"), Username: string(bytes.Repeat([]byte("u"), 65536))},
		"the Will has QoS 3":                                                   {URL: mustURL("mqtt://h"), Will: &Will{Topic: "t", QoS: 3}},
		"the Will's payload is longer than 65535 bytes":                        {URL: mustURL("mqtt://h"), Will: &Will{Topic: "t", Payload: make([]byte, 65536)}},
		"the Will delay -1s is not a whole number of seconds up to 4294967295": {URL: mustURL("mqtt://h"), Will: &Will{Topic: "t", Delay: -time.Second}},
		"the topic is empty":                                                   {URL: mustURL("mqtt://h"), Will: &Will{}},
		`proxy scheme "https": use socks5 or http`:                             {URL: mustURL("mqtt://h"), Proxy: mustURL("https://p")},
	} {
		o.DialSocket = func(context.Context, string, string) (net.Conn, error) { t.Error("dialled"); return nil, net.ErrClosed }
		_, err := Dial(t.Context(), o)
		if _, isEnd := err.(*End); err == nil || isEnd || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
