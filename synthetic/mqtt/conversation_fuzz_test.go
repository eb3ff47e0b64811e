package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/test/lab"
)

// choices are the decisions of one side of a conversation. After the last one, all are 0.
type choices struct{ rest []byte }

func (c *choices) next() int {
	if len(c.rest) == 0 {
		return 0
	}
	b := c.rest[0]
	c.rest = c.rest[1:]
	return int(b)
}

// of returns one of the values.
func of[T any](c *choices, values ...T) T { return values[c.next()%len(values)] }

// take returns up to n bytes as they are.
func (c *choices) take(n int) []byte {
	b := c.rest[:min(n, len(c.rest))]
	c.rest = c.rest[len(b):]
	return b
}

// announcement makes a CONNACK with the properties at their extremes, legal and illegal.
func (c *choices) announcement(v Version) []byte {
	flags, code := of[byte](c, 0, 1, 0, 0, 2, 255), of[byte](c, 0, 0, 0, 0, 0, 1, 0x87, 0x80, 255)
	if v == V311 {
		return []byte{0x20, 2, flags, code}
	}
	text := func() string { // a UTF-8 string
		s := of(c, "", "a", "\x00", "\xff", "bad\ufffd", strings.Repeat("x", 300), strings.Repeat("y", 65535))
		return hex.EncodeToString(append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...))
	}
	var props []string
	for n := c.next() % 8; n > 0; n-- {
		switch c.next() % 18 {
		case 0:
			props = append(props, "11"+of(c, "00000000", "00000001", "ffffffff", "0000ff"))
		case 1:
			props = append(props, "21"+of(c, "0000", "0001", "0002", "ffff"))
		case 2:
			props = append(props, "24"+of(c, "00", "01", "02", "ff"))
		case 3:
			props = append(props, "25"+of(c, "00", "01", "02"))
		case 4:
			most := of[uint32](c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 64, 127, 128, 129, 16383, 16384, 1<<20, math.MaxUint32)
			props = append(props, "27"+hex.EncodeToString(binary.BigEndian.AppendUint32(nil, most)))
		case 5:
			props = append(props, "12"+text())
		case 6:
			props = append(props, "22"+of(c, "0000", "0001", "ffff"))
		case 7:
			props = append(props, "1f"+text())
		case 8:
			props = append(props, "26"+text()+text())
		case 9:
			props = append(props, "28"+of(c, "00", "01", "02"))
		case 10:
			props = append(props, "29"+of(c, "00", "01", "02"))
		case 11:
			props = append(props, "2a"+of(c, "00", "01", "02"))
		case 12:
			props = append(props, "13"+of(c, "0000", "0001", "0002", "003c", "ffff"))
		case 13:
			props = append(props, "1a"+text())
		case 14:
			props = append(props, "1c"+text())
		case 15:
			props = append(props, "15"+text())
		case 16:
			props = append(props, "16"+text())
		case 17:
			props = append(props, hex.EncodeToString(c.take(3)))
		}
	}
	return unhex(connackWith(flags, code, props...))
}

// answerTo makes what the server sends after a packet of the client. Nil means nothing; close means
// that it closes the connection then.
func (c *choices) answerTo(v Version, r received) (answer []byte, closed bool) {
	identifier := func() []byte { // of the packet that is answered, if it has one
		at := 0
		if r.kind() == PUBLISH {
			at = 2 + int(binary.BigEndian.Uint16(r.body))
		}
		if of(c, 0, 0, 0, 1) == 1 || len(r.body) < at+2 {
			return of(c, []byte{0, 0}, []byte{0, 1}, []byte{0, 2}, []byte{255, 255})
		}
		return r.body[at : at+2]
	}
	packet := func(header byte, body ...byte) []byte {
		return append(binary.AppendUvarint([]byte{header}, uint64(len(body))), body...)
	}
	code := func() byte { return of[byte](c, 0, 0, 0, 0x10, 0x80, 0x87, 0x92, 0x97, 255) }
	ack := func(header byte) []byte {
		body := identifier()
		if v == V5 && of(c, 0, 0, 1) == 1 {
			body = append(slices.Clone(body), code())
		}
		return packet(header, body...)
	}
	legal := func() []byte {
		switch r.kind() {
		case CONNECT:
			return c.announcement(v)
		case PINGREQ:
			return unhex(pingresp)
		case PUBLISH:
			switch r.header >> 1 & 3 {
			case 1:
				return ack(0x40)
			case 2:
				return ack(0x50)
			}
		case PUBREC:
			return ack(0x62)
		case PUBREL:
			return ack(0x70)
		case SUBSCRIBE, UNSUBSCRIBE:
			body := slices.Clone(identifier())
			if v == V5 {
				body = append(body, 0)
			}
			for range of(c, 1, 1, 1, 2, 0) {
				body = append(body, code())
			}
			if r.kind() == UNSUBSCRIBE {
				if v == V311 {
					body = body[:2]
				}
				return packet(0xb0, body...)
			}
			return packet(0x90, body...)
		}
		return nil
	}
	message := func() []byte {
		topic, payload := of(c, "t", "", "a/b", "+", "\xff", strings.Repeat("x", 2000)), strings.Repeat("p", of(c, 0, 1, 100, 5000, 70000))
		qos := of[byte](c, 0, 1, 2, 3)
		b := publish(topic, qos, uint16(of(c, 1, 0, 2, 65535)), payload)
		b[0] |= of[byte](c, 0, 1, 8, 9)
		if v == V311 && of(c, 0, 1) == 0 { // without the length of the properties
			at := 2 + len(topic)
			if qos > 0 {
				at += 2
			}
			body := b[len(b)-at-1-len(payload):]
			body = append(slices.Clone(body[:at]), body[at+1:]...)
			return packet(b[0], body...)
		}
		return b
	}
	for n := 1 + c.next()%3; n > 0 && !closed; n-- {
		switch c.next() % 12 {
		case 0, 1, 2, 3:
			answer = append(answer, legal()...)
		case 4:
			answer = append(answer, message()...)
		case 5:
			answer = append(answer, ack(of[byte](c, 0x40, 0x50, 0x62, 0x70, 0xb0, 0x60, 0x41))...)
		case 6:
			if v == V5 {
				answer = append(answer, packet(0xe0, of[byte](c, 0, 0x8e, 0x8b, 0x9d, 255))...)
			} else {
				answer = append(answer, packet(0xe0)...)
			}
		case 7:
			answer = append(answer, c.take(1+c.next()%40)...)
		case 8:
			time.Sleep(time.Duration(c.next()) * time.Second) // virtual
		case 9:
			closed = of(c, false, true)
		case 10:
			answer = append(answer, unhex(of(c, pingresp, connack5, connack311, "f0 00", "f0 02 18 00", "d0 01 00", "30 ff ff ff 7f", "10 00", "90 00"))...)
		}
	}
	return answer, closed
}

// server is the other side of one connection. It also checks what the client sends.
type server struct {
	t       *testing.T
	v       Version
	do      *choices
	largest int // packet after CONNECT
}

// run answers packets until the connection ends.
func (s *server) run(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		p, err := readPacket(r)
		if err != nil {
			return
		}
		raw := p.raw()
		readBack(s.t, s.v, raw)
		if p.kind() != CONNECT {
			s.largest = max(s.largest, len(raw))
		}
		answer, closed := s.do.answerTo(s.v, p)
		if _, err := conn.Write(answer); err != nil || closed {
			return
		}
	}
}

// wantWholeEnd fails the test if an error is no complete ending.
func wantWholeEnd(t *testing.T, err error) {
	t.Helper()
	end, ok := errors.AsType[*End](err)
	if !ok || !end.Reason.Valid() || !end.Initiator.Valid() || !end.Evidence.Valid() || len(end.Detail) > 500 {
		t.Fatalf("ended with %#v", err)
	}
}

// act drives a session with the choices of the client until it has ended.
func act(t *testing.T, s *Session, do *choices) {
	body := make([]byte, 3000)
	for n := 0; s.Ended() == nil; n++ {
		var err error
		soon := time.Now().Add(time.Duration(do.next()) * time.Second)
		switch op := do.next() % 14; {
		case n > 100 || len(do.rest) == 0:
			s.Disconnect(0)
		case op < 3:
			_, _, err = s.Publish(Message{Topic: of(do, "t", "", "+", "a/b"), QoS: byte(op), Retain: of(do, false, false, true), Payload: body[:of(do, 0, 1, 100, 3000)]})
		case op == 3:
			_, err = s.Subscribe(Filter{Topic: of(do, "t", "#", "")}, Filter{Topic: "u", QoS: 2})
		case op == 4:
			_, err = s.Unsubscribe(of(do, "t", ""))
		case op == 5:
			err = s.Ping()
		case op == 6:
			s.Interrupt()
		case op == 7 && do.next()%8 == 0:
			s.FallSilent()
		case op == 8 && do.next()%4 == 0:
			s.Fail(of(do, disconnect.DeadlineAck, disconnect.DeadlinePingresp))
		case op == 9 && do.next()%4 == 0:
			s.Disconnect(of[byte](do, 0, 4, 0x8e))
		case op == 10 && do.next()%4 == 0:
			s.Forget()
		case op == 11 && do.next()%4 == 0:
			s.Abort()
		case op == 12:
			kind := of(do, Ack, Pong, Suback, Delivery)
			_, err = s.Await(soon, func(e *Event) bool { return e.Kind == kind })
		default:
			var e *Event
			if e, err = s.Next(soon); err == nil && (e.Kind > Delivery || e.Kind == Delivery && e.Msg == nil || e.RTT < 0) {
				t.Fatalf("event %+v", e)
			}
		}
		if _, ended := errors.AsType[*End](err); ended && s.Ended() == nil {
			t.Fatalf("error %v, and the session goes on", err)
		}
		_, _, _, _, _ = s.Window(), s.Connack(), s.Account(), s.State(), s.PingTimeout()
	}
	end := s.Ended()
	wantWholeEnd(t, end)
	if again := s.Disconnect(0); again != end {
		t.Fatalf("a second end: %v after %v", again, end)
	}
	if _, err := s.Next(time.Now().Add(time.Second)); err == nil {
		for range 10_000 { // events that came before the end
			if _, err = s.Next(time.Now().Add(time.Second)); err != nil {
				break
			}
		}
		if err == nil {
			t.Fatal("events without an end after the end")
		}
	}
}

// FuzzConversation has both sides of the session engine do what they like: the client everything that
// probes do, in any order, and the server legal and illegal MQTT, with all properties of CONNACK at
// their extremes. Whatever happens, there is one complete ending, and every packet of the client is
// well formed and no larger than the server allows. A second connection resumes the session.
func FuzzConversation(f *testing.F) {
	f.Add([]byte{}, []byte{}, true, byte(0))
	for size := range 22 { // each Maximum Packet Size
		f.Add([]byte{1, 1, 1, 2, 1, 3, 1, 5, 5, 13, 1, 10, 0}, []byte{0, 0, 0, 0, 1, 4, byte(size)}, true, byte(1))
		f.Add([]byte{1, 1, 1, 2, 1, 3, 1, 5, 5, 13, 1, 9, 0}, []byte{0, 0, 0, 0, 2, 4, byte(size), 0, 2}, true, byte(3))
	}
	for kind := range byte(18) { // each property with each value
		for value := range byte(8) {
			f.Add([]byte{1, 1, 0, 0, 2, 9, 13, 1, 2, 0, 3, 9, 13, 1, 3, 0, 9, 13}, []byte{0, 0, 0, 0, 1, kind, value, value, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, true, byte(2))
		}
	}
	for op := range byte(12) {
		f.Add([]byte{1, 1, 0, 0, 2, 9, 13, 1, 2, 0, 3, 9, 13}, []byte{0, 0, 0, 0, 0, 0, op, 1, 2, 3, 0, op, 3, 2, 1}, op%2 == 0, op)
	}
	f.Fuzz(func(t *testing.T, client, remote []byte, five bool, mode byte) {
		if len(client) > 400 || len(remote) > 4000 {
			return
		}
		// A fuzzer has no time limit of its own. A conversation in virtual time needs milliseconds.
		hung := time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("hung: client %x, server %x, five %t, mode %d", client, remote, five, mode)) })
		defer hung.Stop()
		synctest.Test(t, func(t *testing.T) {
			v := V311
			if five {
				v = V5
			}
			o := Options{URL: mustURL("mqtt://127.0.0.1"), Version: v, ClientID: "c", Keepalive: time.Duration(mode%4) * 10 * time.Second, MaxPacketSize: 64 << 10,
				CleanStart: mode&4 == 0, Budget: NewBudget(), Open: NewOpen(), Paced: mode&32 != 0,
				DialSocket: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("set below") }}
			if five && mode&8 != 0 {
				o.SessionExpiry = time.Hour
			}
			if mode&16 != 0 {
				o.Will = &Will{Topic: "will", Payload: []byte("w"), QoS: 1}
			}
			do, answers := &choices{client}, &choices{remote}
			for range 3 {
				ours, theirs := lab.Pipe()
				var other sync.WaitGroup
				peer := &server{t: t, v: v, do: answers}
				other.Go(func() { peer.run(theirs) })
				o.DialSocket = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				s, err := Dial(ctx, o)
				if err != nil {
					wantWholeEnd(t, err)
				} else {
					act(t, s, do)
					o.Resume, o.CleanStart = s.State(), false
				}
				cancel()
				other.Wait()
				if s != nil && s.Connack().MaximumPacketSize > 0 && peer.largest > int(s.Connack().MaximumPacketSize) {
					t.Fatalf("a packet of %d bytes, and Maximum Packet Size is %d", peer.largest, s.Connack().MaximumPacketSize)
				}
				if len(o.Open.wires) > 0 {
					t.Fatalf("%d sockets are open", len(o.Open.wires))
				}
			}
			if o.Budget.bytes.Load() != budgetBytes {
				t.Fatalf("%d bytes of the budget are not given back", budgetBytes-o.Budget.bytes.Load())
			}
		})
	})
}
