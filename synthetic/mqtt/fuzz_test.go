package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mochi "github.com/mochi-mqtt/server/v2/packets"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// corpus returns packets that a server may send, well formed and malformed, in both versions.
func corpus() [][]byte {
	var out [][]byte
	for _, s := range []string{
		connack5, connack311, pingresp, "20 03 00 87 00", "20 02 00 01",
		connackWith(1, 0, "11 00 00 00 0a", "21 00 03", "24 01", "25 00", "27 00 01 00 00", "12 00 02 69 64", "22 00 07",
			"1f 00 02 6f 6b", "26 00 01 61 00 01 62", "28 00", "29 00", "2a 00", "13 00 14", "1a 00 01 72", "1c 00 01 73"),
		"30 05 00 01 74 00 70", "32 07 00 01 74 00 09 00 70", "3d 07 00 01 74 00 09 00 70", "30 04 00 01 74 70", "34 06 00 01 74 00 09 70",
		"30 07 00 01 74 03 23 00 01", "30 06 00 00 03 23 00 01", "30 08 00 01 74 04 01 00 01 00", "36 07 00 01 74 00 01 00 70", "30 05 00 02 c3 28 00",
		"32 2e 00 01 74 00 07 27 01 01 02 00 00 00 01 03 00 01 63 08 00 01 72 09 00 02 00 ff 0b 01 0b ff ff ff 7f 26 00 01 61 00 01 62 26 00 00 00 00 70",
		"40 02 00 01", "40 03 00 01 10", "40 08 00 01 87 04 1f 00 01 78", "50 02 00 02", "50 03 00 02 97", "62 02 00 09", "70 02 00 02", "70 03 00 02 92",
		"90 04 00 03 00 01", "90 03 00 03 80", "b0 04 00 03 00 00", "b0 02 00 03", "e0 00", "e0 01 8e", "e0 02 8b 00",
		"e0 0c 9d 0a 1f 00 02 68 69 1c 00 02 78 79", "f0 00", "f0 01 18", "f0 02 18 00", "30 ff ff ff 7f", "30 ff ff ff ff 01", "10 00",
	} {
		out = append(out, unhex(s))
	}
	return append(out, bytes.Join(out[5:12], nil))
}

// chunked returns at most as many bytes per read as the next number of its pattern.
type chunked struct {
	r       io.Reader
	pattern []byte
	n       int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.pattern) > 0 {
		p = p[:min(len(p), 1+int(c.pattern[c.n%len(c.pattern)]))]
		c.n++
	}
	return c.r.Read(p)
}

// FuzzFramer frames the same bytes in one piece and in several pieces. Packets and error must be
// the same. The buffer must not grow far beyond the bytes that came, frameBufKeep and the limit.
func FuzzFramer(f *testing.F) {
	for _, b := range corpus() {
		f.Add(b, []byte{0}, uint16(64))
		f.Add(b, []byte{3, 0, 17}, uint16(8))
	}
	f.Fuzz(func(t *testing.T, data, pattern []byte, limit uint16) {
		limit = max(limit, 2)
		frame := func(r io.Reader, end int) (out [][]byte, err error) {
			f := framer{limit: uint32(limit)}
			for {
				header, body, err := f.next(r)
				if err != nil {
					return out, err
				}
				if len(body)+2 > int(limit) {
					t.Fatalf("a packet of %d bytes, limit %d", len(body)+2, limit)
				}
				if len(f.buf) > max(int(limit), frameBufKeep)+frameBufMin || len(f.buf) > 2*int(f.total)+frameBufMin {
					t.Fatalf("a buffer of %d bytes after %d, limit %d", len(f.buf), f.total, limit)
				}
				out = append(out, append([]byte{header}, body...))
			}
		}
		whole, err1 := frame(bytes.NewReader(data), len(data))
		pieces, err2 := frame(&chunked{r: bytes.NewReader(data), pattern: pattern}, len(data))
		if diff := cmp.Diff(whole, pieces); diff != "" || err1.Error() != err2.Error() {
			t.Fatalf("one piece and several pieces differ: %v, %v\n%s", err1, err2, diff)
		}
		n := 0
		for _, p := range whole { // what the packets and their lengths take up is what was sent
			n += len(p)
		}
		if n > len(data) {
			t.Fatalf("%d bytes of packets out of %d", n, len(data))
		}
	})
}

// secondCodec decodes a packet from a server with mochi's codec.
func secondCodec(v Version, header byte, body []byte) (mochi.Packet, error) {
	pk := mochi.Packet{ProtocolVersion: byte(v)}
	if err := pk.FixedHeader.Decode(header); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = len(body)
	body = bytes.Clone(body)
	switch Type(header >> 4) {
	case CONNACK:
		return pk, pk.ConnackDecode(body)
	case PUBLISH:
		return pk, pk.PublishDecode(body)
	case PUBACK:
		return pk, pk.PubackDecode(body)
	case PUBREC:
		return pk, pk.PubrecDecode(body)
	case PUBREL:
		return pk, pk.PubrelDecode(body)
	case PUBCOMP:
		return pk, pk.PubcompDecode(body)
	case SUBACK:
		return pk, pk.SubackDecode(body)
	case UNSUBACK:
		return pk, pk.UnsubackDecode(body)
	case DISCONNECT:
		return pk, pk.DisconnectDecode(body)
	case AUTH:
		return pk, pk.AuthDecode(body)
	}
	return pk, nil
}

// FuzzDecode decodes packets with our codecs and with a second one. The second codec must accept
// what we accept, and read the same values. These differences are known. They come from mochi
// 2.7.9, which as a server never reads such packets itself:
//   - a DISCONNECT of one byte loses its code, and one to a 3.1.1 client is not read at all
//   - a CONNACK of two bytes to an MQTT 5 client and an AUTH without properties are refused
func FuzzDecode(f *testing.F) {
	for _, b := range corpus() {
		if len(b) > 1 && int(b[1]) == len(b)-2 {
			f.Add(b[0], b[2:], true)
			f.Add(b[0], b[2:], false)
		}
	}
	f.Fuzz(func(t *testing.T, header byte, body []byte, five bool) {
		v := V311
		if five {
			v = V5
		}
		if len(body) > 1<<17 || checkHeader(header) != nil {
			return
		}
		given := bytes.Clone(body)
		p, words, err := decodePacket(v, newCodec(v), header, body)
		if !bytes.Equal(given, body) {
			t.Fatal("the frame's buffer was changed")
		}
		if err != nil {
			if !errors.Is(err, disconnect.ErrProtocol) {
				t.Fatalf("error %v is not a protocol error", err)
			}
			return
		}
		if p.packetType() != Type(header>>4) {
			t.Fatalf("%s was read as %s", Type(header>>4), p.packetType())
		}
		kind := Type(header >> 4)
		if kind == AUTH && len(body) < 2 {
			return
		}
		second, err := secondCodec(words, header, body)
		if err != nil {
			t.Fatalf("%s % x: we accept it, the second codec says %v", kind, body, err)
		}
		want := p
		var got packet
		pr := second.Properties
		switch p := p.(type) {
		case Connack:
			c := Connack{SessionPresent: second.SessionPresent, Code: second.ReasonCode, ReceiveMaximum: math.MaxUint16, MaximumQoS: 2,
				RetainAvailable: !pr.RetainAvailableFlag || pr.RetainAvailable == 1, MaximumPacketSize: pr.MaximumPacketSize,
				AssignedClientID: pr.AssignedClientID, TopicAliasMaximum: pr.TopicAliasMaximum, ReasonString: pr.ReasonString,
				WildcardSubAvailable: !pr.WildcardSubAvailableFlag || pr.WildcardSubAvailable == 1,
				SubIDAvailable:       words == V5 && (!pr.SubIDAvailableFlag || pr.SubIDAvailable == 1),
				SharedSubAvailable:   words == V5 && (!pr.SharedSubAvailableFlag || pr.SharedSubAvailable == 1), ServerReference: pr.ServerReference}
			if pr.SessionExpiryIntervalFlag {
				d := time.Duration(pr.SessionExpiryInterval) * time.Second
				c.SessionExpiry = &d
			}
			if pr.ServerKeepAliveFlag {
				d := time.Duration(pr.ServerKeepAlive) * time.Second
				c.ServerKeepAlive = &d
			}
			if pr.ReceiveMaximum > 0 {
				c.ReceiveMaximum = pr.ReceiveMaximum
			}
			if pr.MaximumQosFlag {
				c.MaximumQoS = pr.MaximumQos
			}
			got = c
		case publishPacket:
			want = publishPacket{Message: p.Message, id: p.id, alias: p.alias}
			got = publishPacket{Message: Message{Topic: second.TopicName, Payload: second.Payload, QoS: second.FixedHeader.Qos,
				Retain: second.FixedHeader.Retain, Dup: second.FixedHeader.Dup}, id: second.PacketID, alias: pr.TopicAliasFlag}
		case ackPacket:
			got = ackPacket{kind: kind, id: second.PacketID, code: second.ReasonCode, reason: pr.ReasonString}
		case subackPacket:
			got = subackPacket{id: second.PacketID, codes: second.ReasonCodes, reason: pr.ReasonString}
		case unsubackPacket:
			got = unsubackPacket{id: second.PacketID, codes: second.ReasonCodes, reason: pr.ReasonString}
		case disconnectPacket:
			if len(body) == 1 {
				second.ReasonCode = body[0]
			}
			got = disconnectPacket{code: second.ReasonCode, reason: pr.ReasonString, serverReference: pr.ServerReference}
		case authPacket:
			got = authPacket{code: second.ReasonCode}
		case pingrespPacket:
			got = pingrespPacket{}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(publishPacket{}, ackPacket{}, subackPacket{}, unsubackPacket{}, disconnectPacket{}, authPacket{}),
			cmp.Comparer(bytes.Equal)); diff != "" {
			t.Fatalf("%s % x: we and the second codec read (-we +it):\n%s", kind, body, diff)
		}
	})
}

// readBack decodes a packet from a client with mochi's codec.
func readBack(t *testing.T, v Version, b []byte) mochi.Packet {
	t.Helper()
	r, err := readPacket(bufio.NewReader(bytes.NewReader(b)))
	if err != nil || len(r.raw()) != len(b) {
		t.Fatalf("% x is no packet: %v", b, err)
	}
	pk := mochi.Packet{ProtocolVersion: byte(v)}
	if err := pk.FixedHeader.Decode(r.header); err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	pk.FixedHeader.Remaining = len(r.body)
	decode := map[Type]func([]byte) error{CONNECT: pk.ConnectDecode, PUBLISH: pk.PublishDecode, PUBACK: pk.PubackDecode, PUBREC: pk.PubrecDecode,
		PUBREL: pk.PubrelDecode, PUBCOMP: pk.PubcompDecode, SUBSCRIBE: pk.SubscribeDecode, UNSUBSCRIBE: pk.UnsubscribeDecode,
		PINGREQ: pk.PingreqDecode, DISCONNECT: pk.DisconnectDecode}[r.kind()]
	if decode == nil {
		t.Fatalf("%s: no packet of a client", r.kind())
	}
	if err := decode(r.body); err != nil {
		t.Fatalf("%s % x: %v", r.kind(), b, err)
	}
	return pk
}

// FuzzEncodeDecode decodes with a second codec what we encode. Nothing may be lost or changed.
func FuzzEncodeDecode(f *testing.F) {
	f.Add("topic", []byte("payload"), "user", "secret", uint16(1), byte(1), uint32(7), true)
	f.Add("a/b", []byte{}, "", "", uint16(65535), byte(0), uint32(0), false)
	f.Add(strings.Repeat("x", 200), bytes.Repeat([]byte{255}, 300), "ü", "", uint16(256), byte(0xfe), uint32(math.MaxUint32), true)
	f.Fuzz(func(t *testing.T, text string, payload []byte, user, password string, id uint16, bits byte, number uint32, five bool) {
		if checkTopic(text) != nil || checkText("user", user) != nil || len(payload) > math.MaxUint16 || len(password) > math.MaxUint16 {
			return
		}
		v := V311
		if five {
			v = V5
		}
		id, flag := max(id, 1), func(n int) bool { return bits>>n&1 != 0 }
		qos := min(bits&3, 2)
		c := newCodec(v)
		encode := func(p packet) mochi.Packet {
			t.Helper()
			b, err := c.encode(p)
			if err != nil {
				t.Fatal(err)
			}
			return readBack(t, v, b)
		}
		same := func(what string, want, got any) {
			t.Helper()
			if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
				t.Fatalf("%s (-ours +read back):\n%s", what, diff)
			}
		}
		type fixed = mochi.FixedHeader

		connect := connectPacket{clientID: text, username: user, password: Secret(password), hasUser: user != "" || password != "", hasPass: password != "",
			cleanStart: flag(2), keepalive: id, sessionExpiry: number, receiveMaximum: id, maxPacketSize: max(number, 1)}
		if flag(3) {
			connect.will = &Will{Topic: text, Payload: payload, QoS: qos, Retain: flag(4), Delay: time.Duration(number) * time.Second}
		}
		pk := encode(connect)
		want := mochi.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: text, Clean: flag(2), Keepalive: id, UsernameFlag: connect.hasUser,
			Username: []byte(user), PasswordFlag: connect.hasPass, Password: []byte(password)}
		if w := connect.will; w != nil {
			want.WillFlag, want.WillTopic, want.WillPayload, want.WillQos, want.WillRetain = true, text, payload, qos, flag(4)
			if five {
				want.WillProperties.WillDelayInterval = number
			}
		}
		same("CONNECT", want, pk.Connect)
		if five {
			same("CONNECT's properties", []any{number, number > 0, id, max(number, 1)},
				[]any{pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag, pk.Properties.ReceiveMaximum, pk.Properties.MaximumPacketSize})
		}

		m := publishPacket{Message: Message{Topic: text, Payload: payload, QoS: qos, Retain: flag(4), Dup: flag(5) && qos > 0}}
		if qos > 0 {
			m.id = id
		}
		pk = encode(m)
		same("PUBLISH", []any{text, payload, m.id, qos, m.Retain, m.Dup},
			[]any{pk.TopicName, pk.Payload, pk.PacketID, pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.FixedHeader.Dup})

		for _, kind := range []Type{PUBACK, PUBREC, PUBREL, PUBCOMP} {
			code := byte(0)
			if five {
				code = bits
			}
			pk = encode(ackPacket{kind: kind, id: id, code: code})
			same(kind.String(), []any{byte(kind), id, code}, []any{pk.FixedHeader.Type, pk.PacketID, pk.ReasonCode})
		}

		filters := []Filter{{Topic: text, QoS: qos}, {Topic: "#", QoS: 1}}
		wantFilters := mochi.Subscriptions{{Filter: text, Qos: qos}, {Filter: "#", Qos: 1}}
		if five {
			filters[0].NoLocal, filters[0].RetainHandling = flag(6), min(bits>>4&3, 2)
			wantFilters[0].NoLocal, wantFilters[0].RetainHandling = filters[0].NoLocal, filters[0].RetainHandling
		}
		pk = encode(subscribePacket{id: id, filters: filters})
		same("SUBSCRIBE", []any{id, wantFilters}, []any{pk.PacketID, pk.Filters})
		pk = encode(unsubscribePacket{id: id, filters: []string{text, "#"}})
		same("UNSUBSCRIBE", []any{id, mochi.Subscriptions{{Filter: text}, {Filter: "#"}}}, []any{pk.PacketID, pk.Filters})

		same("PINGREQ", fixed{Type: mochi.Pingreq}, encode(pingreqPacket{}).FixedHeader)
		d := disconnectPacket{code: bits}
		if flag(7) {
			d.sessionExpiry = &number
		}
		pk = encode(d)
		if five {
			same("DISCONNECT", []any{bits, flag(7)}, []any{pk.ReasonCode, pk.Properties.SessionExpiryIntervalFlag})
			if flag(7) {
				same("DISCONNECT's expiry", number, pk.Properties.SessionExpiryInterval)
			}
		} else {
			same("DISCONNECT", fixed{Type: mochi.Disconnect}, pk.FixedHeader)
		}
	})
}

// tape is a connection from which prepared bytes are read in pieces, followed by EOF. It keeps what
// is written to it.
type tape struct {
	net.Conn
	in      io.Reader
	written bytes.Buffer
	closed  bool
}

func (c *tape) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *tape) Write(p []byte) (int, error)      { return c.written.Write(p) }
func (c *tape) Close() error                     { c.closed = true; return nil }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
func (c *tape) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1883} }

// FuzzSession runs a session with messages in flight against a server that sends arbitrary bytes.
// The session must end in order, with a valid reason, and must send only well-formed packets.
func FuzzSession(f *testing.F) {
	for _, b := range corpus() {
		for _, five := range []bool{false, true} {
			f.Add(b, []byte{255}, five)
		}
	}
	f.Add(bytes.Join(corpus(), nil), []byte{2, 30}, true)
	f.Fuzz(func(t *testing.T, data, pattern []byte, five bool) {
		v, connack := V311, unhex(connack311)
		if five {
			v, connack = V5, unhex(connack5)
		}
		conn := &tape{in: &chunked{r: io.MultiReader(bytes.NewReader(connack), bytes.NewReader(data)), pattern: pattern}}
		s, err := Dial(t.Context(), Options{URL: mustURL("mqtt://127.0.0.1"), Version: v, ClientID: "c", ReceiveMaximum: 4, Keepalive: time.Hour,
			MaxPacketSize: 4096, DialSocket: func(context.Context, string, string) (net.Conn, error) { return conn, nil }})
		if err != nil {
			t.Fatal(err) // CONNACK is valid
		}
		for _, qos := range []byte{1, 2} {
			if _, _, err := s.Publish(Message{Topic: "t", QoS: qos}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Subscribe(Filter{Topic: "t"}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Unsubscribe("t"); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(); err != nil {
			t.Fatal(err)
		}
		for n := 0; err == nil; n++ {
			if n > len(data) {
				t.Fatal("more events than bytes")
			}
			var e *Event
			e, err = s.Next(time.Time{})
			if err == nil && (e.Kind < Pong || e.Kind > Delivery || e.Kind == Delivery && e.Msg == nil || e.At.IsZero() || e.RTT < 0) {
				t.Fatalf("event %+v", e)
			}
		}
		end, ok := errors.AsType[*End](err)
		if !ok || !end.Reason.Valid() || !end.Initiator.Valid() || !end.Evidence.Valid() || end.Phase != disconnect.PhaseEstablished || len(end.Detail) > 200 {
			t.Fatalf("ended with %#v", err)
		}
		if slices.Contains([]disconnect.Reason{disconnect.PingrespTimeout, disconnect.NetworkTimeout, disconnect.ClientDisconnect}, end.Reason) {
			t.Fatalf("ended with %s", end)
		}
		if !conn.closed || len(s.State().in) > math.MaxUint16 || five && len(s.State().in) > 4 || len(s.State().out) > 2 {
			t.Fatalf("closed: %t, state %+v", conn.closed, s.State())
		}
		for b := conn.written.Bytes(); len(b) > 0; {
			length, n := binary.Uvarint(b[1:])
			size := 1 + n + int(length)
			readBack(t, v, b[:size])
			b = b[size:]
		}
	})
}
