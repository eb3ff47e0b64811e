package lab

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	mqtt311 "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
)

// virtual runs a test in virtual time against a broker in memory, once with each version.
func virtual(t *testing.T, o BrokerOptions, test func(t *testing.T, b *virtualBroker)) {
	t.Helper()
	for _, level := range []byte{v311, v5} {
		t.Run(fmt.Sprintf("level %d", level), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := NewPipeListener()
				o.Listener = l
				test(t, &virtualBroker{StartBroker(t, o), t, l, level})
			})
		})
	}
}

type virtualBroker struct {
	*Broker
	t        *testing.T
	listener *PipeListener
	level    byte
}

// dial connects to the broker without sending anything.
func (b *virtualBroker) dial() *client {
	b.t.Helper()
	conn, err := b.listener.DialContext(b.t.Context(), "tcp", "any")
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { conn.Close() })
	return newClient(b.t, conn)
}

// connect makes a client that must be accepted, and reports whether its session was present.
func (b *virtualBroker) connect(c Connect) (_ *client, present bool) {
	b.t.Helper()
	c.Level = b.level
	client := b.dial()
	client.write(packetOf(c))
	p := client.read()
	if p.Type() != CONNACK || p.Body[1] != 0 {
		b.t.Fatalf("the answer to CONNECT is % x % x", p.First, p.Body)
	}
	return client, p.Body[0] == 1
}

// observer is a client that has subscribed to everything.
func (b *virtualBroker) observer() *client {
	b.t.Helper()
	c, _ := b.connect(Connect{ClientID: "observer", CleanStart: true})
	c.subscribe(b.level, "#", 1)
	return c
}

// packetOf returns a CONNECT.
func packetOf(c Connect) []byte {
	properties := func(p []byte) []byte {
		if c.Level < v5 {
			return nil
		}
		return append(appendVarint(nil, len(p)), p...)
	}
	number := func(id byte, n uint32) []byte { return binary.BigEndian.AppendUint32([]byte{id}, n) }
	var flags byte
	var props, payload []byte
	if c.CleanStart {
		flags |= 0x02
	}
	if c.SessionExpiry == never {
		props = append(props, number(sessionExpiryInterval, 0xffffffff)...)
	} else if c.SessionExpiry > 0 {
		props = append(props, number(sessionExpiryInterval, uint32(c.SessionExpiry/time.Second))...)
	}
	if c.ReceiveMaximum > 0 {
		props = binary.BigEndian.AppendUint16(append(props, receiveMaximum), uint16(c.ReceiveMaximum))
	}
	payload = appendString(payload, c.ClientID)
	if w := c.Will; w != nil {
		flags |= 0x04 | w.QoS<<3
		if w.Retain {
			flags |= 0x20
		}
		payload = append(payload, properties(number(willDelayInterval, uint32(w.Delay/time.Second)))...)
		payload = appendString(appendString(payload, w.Topic), w.Payload)
	}
	if c.Username != "" {
		flags |= 0xc0
		payload = appendString(appendString(payload, c.Username), c.Password)
	}
	header := append(appendString(nil, "MQTT"), c.Level, flags)
	header = binary.BigEndian.AppendUint16(header, uint16(c.KeepAlive/time.Second))
	return Frame(byte(CONNECT)<<4, header, properties(props), payload)
}

func (c *client) subscribe(level byte, filter string, options byte) {
	c.t.Helper()
	c.write(Frame(0x82, []byte{0, 1}, noProperties(level), appendString(nil, filter), []byte{options}))
	if p := c.read(); p.Type() != SUBACK || p.Body[len(p.Body)-1] != options&1 {
		c.t.Fatalf("the answer to SUBSCRIBE is %#x % x", p.First, p.Body)
	}
}

// publish sends a message, and waits for its acknowledgement at QoS 1.
func (c *client) publish(level byte, topic, payload string, flags byte) {
	c.t.Helper()
	var id []byte
	if flags&6 != 0 {
		id = []byte{0, 9}
	}
	c.write(Frame(byte(PUBLISH)<<4|flags, appendString(nil, topic), id, noProperties(level), []byte(payload)))
	if id != nil {
		c.want([]byte{0x40, 2, 0, 9})
	}
}

// wantMessage reads a PUBLISH, which must have this payload, and acknowledges it.
func (c *client) wantMessage(level byte, topic, payload string) {
	c.t.Helper()
	if got, want := c.message(level), topic+" "+payload; got != want {
		c.t.Fatalf("got %q, want %q", got, want)
	}
}

// message reads a PUBLISH, acknowledges it, and returns its flags in words, topic and payload.
func (c *client) message(level byte) string {
	c.t.Helper()
	p := c.read()
	if p.Type() != PUBLISH {
		c.t.Fatalf("got %#x % x, want a PUBLISH", p.First, p.Body)
	}
	b := body{rest: p.Body}
	text := b.string()
	if p.First&6 != 0 {
		c.write(Frame(0x40, b.take(2)))
	}
	b.properties(level)
	if p.First&8 != 0 {
		text = "dup " + text
	}
	if p.First&1 != 0 {
		text = "retained " + text
	}
	return text + " " + string(b.rest)
}

// wantEnd reads the end of the connection. Before it there must be a DISCONNECT with the code,
// unless the code is 0.
func (c *client) wantEnd(code byte) {
	c.t.Helper()
	if code != 0 {
		c.want([]byte{0xe0, 1, code})
	}
	if p, err := c.tryRead(); err != io.EOF {
		c.t.Fatalf("got %#x % x, %v, want the end", p.First, p.Body, err)
	}
	c.Close()
}

func noProperties(level byte) []byte {
	if level < v5 {
		return nil
	}
	return []byte{0}
}

func (b *virtualBroker) code(v5Only byte) byte {
	if b.level < v5 {
		return 0
	}
	return v5Only
}

// A silent client is cut, and its Will is published, at the exact nanosecond.
func TestBrokerGrace(t *testing.T) {
	const keepAlive = 10 * time.Second
	for _, test := range []struct {
		name   string
		o      BrokerOptions
		v311   time.Duration // from the last packet to the end
		v5     time.Duration
		noCode bool // no DISCONNECT in MQTT 5, either
	}{
		{name: "standard", o: BrokerOptions{Grace: 1.5}, v311: 15 * time.Second, v5: 15 * time.Second},
		{name: "early", o: BrokerOptions{Grace: 1, Ending: EndFIN}, v311: 10 * time.Second, v5: 10 * time.Second, noCode: true},
		{name: "late", o: BrokerOptions{Grace: 4}, v311: 40 * time.Second, v5: 40 * time.Second},
		// The broker checks 1.5 ticks after CONNECT, and then once per tick. The last packet comes
		// after 7 s.
		{name: "ticks", o: BrokerOptions{Grace: 1.25, Tick: 4 * time.Second}, v311: 19 * time.Second, v5: 19 * time.Second},
		{name: "ticks, NanoMQ's defaults", o: BrokerOptions{Grace: 1.5, Tick: 10 * time.Second}, v311: 28 * time.Second, v5: 28 * time.Second},
		{name: "announced keepalive", o: BrokerOptions{Grace: 1.5, ServerKeepAlive: 20 * time.Second}, v311: 15 * time.Second, v5: 30 * time.Second},
		{name: "by client", o: BrokerOptions{Grace: 9, GraceOf: func(id string, k time.Duration) time.Duration {
			if id == "victim" && k == keepAlive {
				return 12345 * time.Millisecond
			}
			return 0
		}}, v311: 12345 * time.Millisecond, v5: 12345 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, test.o, func(t *testing.T, b *virtualBroker) {
				want, code := test.v311, byte(0)
				if b.level == v5 {
					want = test.v5
					if !test.noCode {
						code = keepAliveTimeout
					}
				}
				observer := b.observer()
				victim, _ := b.connect(Connect{ClientID: "victim", CleanStart: true, KeepAlive: keepAlive,
					Will: &Will{Topic: "will/victim", Payload: "gone", QoS: 1}})
				time.Sleep(7 * time.Second)
				victim.ping()
				last := time.Now()
				time.Sleep(time.Second)
				observer.ping() // the announced keepalive also applies to the observer
				observer.wantMessage(b.level, "will/victim", "gone")
				if took := time.Since(last); took != want {
					t.Errorf("the Will came after %v, want %v", took, want)
				}
				victim.wantEnd(code)
				if took := time.Since(last); took != want {
					t.Errorf("the end came after %v, want %v", took, want)
				}
				b.WaitState(BrokerState{Clients: []string{"observer"}, Subscriptions: []string{"observer #"}})
			})
		})
	}
}

func TestBrokerNeverGivesUp(t *testing.T) {
	for name, o := range map[string]BrokerOptions{
		"no grace":       {},
		"none by client": {Grace: 1.5, GraceOf: func(string, time.Duration) time.Duration { return 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, o, func(t *testing.T, b *virtualBroker) {
				c, _ := b.connect(Connect{ClientID: "victim", CleanStart: true, KeepAlive: time.Second})
				c.wantNothing()
				c.ping()
			})
		})
	}
}

// Packets to a client end its silence, or do not.
func TestBrokerSendingCounts(t *testing.T) {
	for _, counts := range []bool{false, true} {
		virtual(t, BrokerOptions{Grace: 1.5, SendingCounts: counts}, func(t *testing.T, b *virtualBroker) {
			victim, _ := b.connect(Connect{ClientID: "victim", CleanStart: true, KeepAlive: 10 * time.Second})
			victim.subscribe(b.level, "a", 1)
			publisher, _ := b.connect(Connect{ClientID: "publisher", CleanStart: true})
			for range 12 {
				publisher.publish(b.level, "a", "x", 2)
				time.Sleep(5 * time.Second)
			}
			want := []string{"publisher"}
			if counts {
				want = []string{"publisher", "victim"}
			}
			if diff := cmp.Diff(want, b.State().Clients); diff != "" {
				t.Errorf("sending counts: %t (-want +got):\n%s", counts, diff)
			}
		})
	}
}

// When a Will is published, and when not.
func TestBrokerWill(t *testing.T) {
	const (
		not    = time.Duration(-1)
		minute = time.Minute
	)
	writes := func(packet ...byte) func(*virtualBroker, *client) {
		return func(_ *virtualBroker, c *client) { c.write(packet) }
	}
	closes := func(_ *virtualBroker, c *client) { c.Close() }
	returns := func(c Connect) func(*virtualBroker, *client) {
		return func(b *virtualBroker, old *client) {
			old.Close()
			time.Sleep(10 * time.Second)
			c.ClientID = "victim"
			again, _ := b.connect(c)
			again.write([]byte{0xe0, 0})
		}
	}
	for _, test := range []struct {
		name   string
		o      BrokerOptions
		expiry time.Duration
		will   Will
		end    func(*virtualBroker, *client)
		want   time.Duration
		v5Only bool
	}{
		{name: "closed", end: closes},
		{name: "DISCONNECT", end: writes(0xe0, 0), want: not},
		{name: "DISCONNECT with Will", end: writes(0xe0, 1, 4)},
		{name: "protocol error", end: writes(0xf0, 0)},
		{name: "cut", end: func(b *virtualBroker, _ *client) { b.Cut("victim") }},
		{name: "kicked", end: func(b *virtualBroker, _ *client) { b.Disconnect("victim", 0x98) }},
		{name: "all cut", end: func(b *virtualBroker, _ *client) { b.CutAll() }, want: not},
		{name: "told to stop", end: func(b *virtualBroker, _ *client) { b.DisconnectAll(0x8b) }, want: not},
		{name: "restarted", end: func(b *virtualBroker, _ *client) { b.Restart() }, want: not},
		{name: "swallowed", o: BrokerOptions{NoWill: func(id string) bool { return id == "victim" }}, end: closes, want: not},
		{name: "another's swallowed", o: BrokerOptions{NoWill: func(id string) bool { return id != "victim" }}, end: closes},
		{name: "late", o: BrokerOptions{WillDelay: 5 * time.Second}, end: closes, want: 5 * time.Second},
		{name: "retained", will: Will{Retain: true}, end: closes},

		{name: "delayed", expiry: minute, will: Will{Delay: 30 * time.Second}, end: closes, want: 30 * time.Second, v5Only: true},
		{name: "delayed beyond the session", expiry: minute, will: Will{Delay: time.Hour}, end: closes, want: minute, v5Only: true},
		{name: "back in time", expiry: minute, will: Will{Delay: minute}, end: returns(Connect{}), want: not, v5Only: true},
		{
			name: "delayed, all cut", expiry: minute, will: Will{Delay: minute}, want: not, v5Only: true,
			end: func(b *virtualBroker, c *client) {
				c.Close()
				time.Sleep(10 * time.Second)
				b.CutAll()
			},
		},
		{
			name: "new session in time", expiry: minute, will: Will{Delay: minute}, end: returns(Connect{CleanStart: true}),
			want: 10 * time.Second, v5Only: true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, test.o, func(t *testing.T, b *virtualBroker) {
				if test.v5Only && b.level != v5 {
					return
				}
				will := test.will
				will.Topic, will.Payload, will.QoS = "will", "gone", 1
				victim, _ := b.connect(Connect{ClientID: "victim", CleanStart: true, SessionExpiry: test.expiry, Will: &will})
				start := time.Now()
				test.end(b, victim)
				time.Sleep(2 * time.Hour)

				got := not
				for _, e := range b.Events("victim") {
					if e.Kind == WillPublished {
						if got != not {
							t.Error("a second Will")
						}
						got = e.Time.Sub(start)
					}
				}
				if got != test.want {
					t.Errorf("the Will came after %v, want %v", got, test.want)
				}
				var want BrokerState
				if test.will.Retain {
					want.Retained = []string{"will"}
				}
				b.WaitState(want)
			})
		})
	}
}

// Two clients with one id.
func TestBrokerTakeover(t *testing.T) {
	both := []string{"same", "same"}
	for _, test := range []struct {
		name    string
		o       BrokerOptions
		clients []string // after the second connect
		refused bool
		old     string // how the old connection ends
		took    time.Duration
		will    bool
	}{
		{name: "standard", clients: both[:1], old: "taken over", will: true},
		{name: "slow", o: BrokerOptions{TakeoverDelay: 7 * time.Second}, clients: both[:1], old: "taken over", took: 7 * time.Second, will: true},
		{name: "no reason given", o: BrokerOptions{Ending: EndFIN}, clients: both[:1], old: "closed", will: true},
		{name: "both", o: BrokerOptions{Takeover: TakeoverBoth}, clients: both},
		{name: "refused", o: BrokerOptions{Takeover: TakeoverRefused}, clients: both[:1], refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, test.o, func(t *testing.T, b *virtualBroker) {
				same := Connect{Level: b.level, ClientID: "same", CleanStart: true, Will: &Will{Topic: "will", QoS: 1}}
				first, _ := b.connect(same)
				start := time.Now()
				second := b.dial()
				second.write(packetOf(same))
				code := byte(0)
				if test.refused {
					code = 2
					if b.level == v5 {
						code = 0x85
					}
				}
				if p := second.read(); p.Type() != CONNACK || p.Body[1] != code {
					t.Errorf("the second CONNACK is % x, want code %#x", p.Body, code)
				}
				if took := time.Since(start); took != test.took {
					t.Errorf("the takeover took %v, want %v", took, test.took)
				}
				switch test.old {
				case "taken over":
					first.wantEnd(b.code(sessionTakenOver))
				case "closed":
					first.wantEnd(0)
				default:
					first.ping()
				}
				synctest.Wait()
				if diff := cmp.Diff(test.clients, b.State().Clients); diff != "" {
					t.Errorf("connected (-want +got):\n%s", diff)
				}
				isWill := func(e BrokerEvent) bool { return e.Kind == WillPublished }
				if got := slices.ContainsFunc(b.Events("same"), isWill); got != test.will {
					t.Errorf("the Will was published: %t, want %t", got, test.will)
				}
			})
		})
	}
}

// The session follows the new client, also where the old client is kept.
func TestBrokerTakeoverOfSession(t *testing.T) {
	for _, kind := range []Takeover{TakeoverStandard, TakeoverBoth} {
		virtual(t, BrokerOptions{Takeover: kind}, func(t *testing.T, b *virtualBroker) {
			kept := Connect{ClientID: "same", SessionExpiry: time.Minute}
			old, _ := b.connect(kept)
			old.subscribe(b.level, "a", 1)
			again, present := b.connect(kept)
			if !present {
				t.Error("the session is not present")
			}
			publisher, _ := b.connect(Connect{ClientID: "publisher", CleanStart: true})
			publisher.publish(b.level, "a", "x", 2)
			if p := again.read(); p.First != 0x32 {
				t.Fatalf("got %#x % x", p.First, p.Body)
			}
			if kind == TakeoverBoth {
				old.ping()                       // it did not get the message
				old.write([]byte{0x40, 2, 0, 1}) // and it cannot acknowledge it
				old.ping()
			}
			old.Close()
			time.Sleep(2 * time.Minute)
			publisher.publish(b.level, "a", "y", 2)
			again.wantMessage(b.level, "a", "y")
			again.Close()
			again, _ = b.connect(kept)
			if got := again.message(b.level); got != "dup a x" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Of three clients with one id the last one stays, also when it comes while the second one waits.
func TestBrokerTakeoverWhileWaiting(t *testing.T) {
	virtual(t, BrokerOptions{TakeoverDelay: 10 * time.Second}, func(t *testing.T, b *virtualBroker) {
		same := Connect{Level: b.level, ClientID: "same", CleanStart: true}
		b.connect(same)
		second := b.dial()
		second.write(packetOf(same))
		time.Sleep(5 * time.Second)
		third, _ := b.connect(same) // no client with this id is connected at the moment
		if p := second.read(); p.Type() != CONNACK {
			t.Fatalf("got %#x", p.First)
		}
		third.wantEnd(b.code(sessionTakenOver))
		if got := b.State().Clients; len(got) != 1 {
			t.Errorf("connected: %v", got)
		}
	})
}

// The broker ignores a client that it has ended. It closes the connection after a while, or at
// once.
func TestBrokerLingers(t *testing.T) {
	for _, test := range []struct {
		name   string
		ending Ending
		end    func(*virtualBroker)
		code   byte
		after  time.Duration
	}{
		{"silent", EndDisconnect, func(*virtualBroker) { time.Sleep(15 * time.Second) }, keepAliveTimeout, lingerTime},
		{"silent, FIN", EndFIN, func(*virtualBroker) { time.Sleep(15 * time.Second) }, 0, lingerTime},
		{"silent, RST", EndRST, func(*virtualBroker) { time.Sleep(15 * time.Second) }, 0, 0},
		{"kicked", EndDisconnect, func(b *virtualBroker) { b.Disconnect("c", 0x98) }, 0x98, lingerTime},
		{"kicked, whatever the ending", EndRST, func(b *virtualBroker) { b.Disconnect("c", 0x98) }, 0x98, lingerTime},
		{"cut", EndDisconnect, func(b *virtualBroker) { b.Cut("c") }, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, BrokerOptions{Grace: 1.5, Ending: test.ending}, func(t *testing.T, b *virtualBroker) {
				observer := b.observer()
				c, _ := b.connect(Connect{ClientID: "c", CleanStart: true, KeepAlive: 10 * time.Second})
				test.end(b)
				start := time.Now()
				if code := b.code(test.code); code != 0 {
					c.want([]byte{0xe0, 1, code})
				}
				if _, err := c.tryRead(); err != io.EOF {
					t.Errorf("got %v, want EOF", err)
				}
				const step = 100 * time.Millisecond
				unheard := Frame(0x30, []byte{0, 1, 'a'}, noProperties(b.level))
				for {
					synctest.Wait()
					if _, err := c.Write(unheard); err != nil {
						break
					}
					time.Sleep(step)
				}
				if took := time.Since(start); took < test.after || took > test.after+step {
					t.Errorf("the connection was closed after %v, want %v", took, test.after)
				}
				observer.ping()
			})
		})
	}
}

// What a client receives when it comes back to its session.
func TestBrokerResume(t *testing.T) {
	for _, test := range []struct {
		name string
		o    BrokerOptions
		want []string
		last time.Duration // from CONNACK to the last message
	}{
		{name: "all", want: []string{"0", "1", "2", "3", "4"}},
		{name: "dropped", o: BrokerOptions{Redeliver: Dropping(1, 3)}, want: []string{"0", "2", "4"}},
		{name: "duplicated", o: BrokerOptions{Redeliver: Duplicating(1)}, want: []string{"0", "1", "1", "2", "3", "4"}},
		{name: "reordered", o: BrokerOptions{Redeliver: Reversing()}, want: []string{"4", "3", "2", "1", "0"}},
		{name: "slow", o: BrokerOptions{RedeliverEvery: 10 * time.Second}, want: []string{"0", "1", "2", "3", "4"}, last: 40 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, test.o, func(t *testing.T, b *virtualBroker) {
				kept := Connect{ClientID: "kept", CleanStart: b.level == v5, SessionExpiry: time.Hour}
				c, present := b.connect(kept)
				if present {
					t.Error("a session is present at the first connect")
				}
				c.subscribe(b.level, "a/+", 1)
				c.Close()
				b.WaitState(BrokerState{Sessions: []string{"kept"}, Subscriptions: []string{"kept a/+"}})

				publisher, _ := b.connect(Connect{ClientID: "publisher", CleanStart: true})
				for i := range 5 {
					publisher.publish(b.level, "a/b", fmt.Sprint(i), 2)
				}
				publisher.publish(b.level, "a/b", "QoS 0", 0) // not kept
				publisher.publish(b.level, "c", "elsewhere", 2)
				if n := len(b.State().Queued); n != 5 {
					t.Errorf("%d messages are queued, want 5", n)
				}

				kept.CleanStart = false
				c, present = b.connect(kept)
				if !present {
					t.Error("the session is not present")
				}
				start := time.Now()
				var got []string
				for range test.want {
					got = append(got, strings.TrimPrefix(c.message(b.level), "a/b "))
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
				if last := time.Since(start); last != test.last {
					t.Errorf("the last one came after %v, want %v", last, test.last)
				}
				c.ping() // no further message
				publisher.publish(b.level, "a/b", "new", 2)
				c.wantMessage(b.level, "a/b", "new")
				b.WaitState(BrokerState{Clients: []string{"kept", "publisher"}, Subscriptions: []string{"kept a/+"}})
			})
		})
	}
}

// Unacknowledged messages are sent again before the rest, marked as DUP and with the old packet
// identifier.
func TestBrokerRetransmits(t *testing.T) {
	virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
		kept := Connect{ClientID: "kept", SessionExpiry: time.Hour, ReceiveMaximum: 2}
		c, _ := b.connect(kept)
		c.subscribe(b.level, "a", 1)
		publisher, _ := b.connect(Connect{ClientID: "publisher", CleanStart: true})
		for i := range 3 {
			publisher.publish(b.level, "a", fmt.Sprint(i), 2)
		}
		publish := func(first, id byte, payload string) []byte {
			return Frame(first, []byte{0, 1, 'a', 0, id}, noProperties(b.level), []byte(payload))
		}
		c.want(publish(0x32, 1, "0"))
		c.want(publish(0x32, 2, "1"))
		if b.level == v5 {
			c.ping() // it accepts only two
		}
		c.write([]byte{0x40, 2, 0, 1})
		c.want(publish(0x32, 3, "2"))
		c.ping() // the acknowledgement has arrived
		publisher.publish(b.level, "a", "3", 2)
		c.Close()

		c, _ = b.connect(kept)
		c.want(publish(0x3a, 2, "1"))
		c.want(publish(0x3a, 3, "2"))
		if b.level == v5 { // to which it had not been sent
			c.write([]byte{0x40, 2, 0, 2})
			c.want(publish(0x32, 4, "3"))
		} else {
			c.want(publish(0x3a, 4, "3"))
		}
		c.ping()
	})
}

// A duplicate is a new message, not a retransmission.
func TestBrokerDuplicatesUnacknowledged(t *testing.T) {
	virtual(t, BrokerOptions{Redeliver: Duplicating(0)}, func(t *testing.T, b *virtualBroker) {
		kept := Connect{ClientID: "kept", SessionExpiry: time.Hour}
		c, _ := b.connect(kept)
		c.subscribe(b.level, "a", 1)
		c.write(Frame(0x30|2, []byte{0, 1, 'a', 0, 9}, noProperties(b.level))) // to itself
		c.want([]byte{0x40, 2, 0, 9})
		c.want(Frame(0x32, []byte{0, 1, 'a', 0, 1}, noProperties(b.level)))
		c.Close()
		c, _ = b.connect(kept)
		c.want(Frame(0x3a, []byte{0, 1, 'a', 0, 1}, noProperties(b.level)))
		c.want(Frame(0x32, []byte{0, 1, 'a', 0, 2}, noProperties(b.level)))
	})
}

// When a session ends.
func TestBrokerSessionExpiry(t *testing.T) {
	for _, test := range []struct {
		name    string
		connect Connect
		bye     []byte
		after   time.Duration
		present bool
	}{
		{name: "before it expires", connect: Connect{SessionExpiry: time.Minute}, after: 59 * time.Second, present: true},
		{name: "expired", connect: Connect{SessionExpiry: time.Minute}, after: 61 * time.Second},
		{name: "never expires", connect: Connect{SessionExpiry: never}, after: 9999 * time.Hour, present: true},
		{name: "with the connection", connect: Connect{}},
		{name: "DISCONNECT shortens", connect: Connect{SessionExpiry: time.Hour}, bye: []byte{0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0}},
		{name: "DISCONNECT", connect: Connect{SessionExpiry: time.Minute}, bye: []byte{0xe0, 0}, after: 30 * time.Second, present: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
				if b.level != v5 {
					return
				}
				test.connect.ClientID = "kept"
				c, _ := b.connect(test.connect)
				c.subscribe(b.level, "a", 1)
				if test.bye != nil {
					c.write(test.bye)
				}
				c.Close()
				time.Sleep(test.after)
				synctest.Wait()
				var want BrokerState
				if test.present {
					want = BrokerState{Sessions: []string{"kept"}, Subscriptions: []string{"kept a"}}
				}
				if diff := cmp.Diff(want, b.State()); diff != "" {
					t.Errorf("the broker has (-want +got):\n%s", diff)
				}
				c, present := b.connect(test.connect)
				if present != test.present {
					t.Errorf("session present: %t, want %t", present, test.present)
				}
				c.Close()
			})
		})
	}
	t.Run("a visit stops the clock", func(t *testing.T) {
		virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
			if b.level != v5 {
				return
			}
			kept := Connect{ClientID: "kept", SessionExpiry: time.Minute}
			for _, clean := range []bool{true, false, true} { // a new session has a clock of its own
				kept.CleanStart = clean
				c, _ := b.connect(kept)
				c.Close()
				time.Sleep(40 * time.Second)
				if diff := cmp.Diff(BrokerState{Sessions: []string{"kept"}}, b.State()); diff != "" {
					t.Errorf("40 s after the end (-want +got):\n%s", diff)
				}
			}
			time.Sleep(21 * time.Second)
			b.WaitState(BrokerState{})
		})
	})
	t.Run("3.1.1", func(t *testing.T) {
		virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
			if b.level != v311 {
				return
			}
			c, _ := b.connect(Connect{ClientID: "kept"})
			c.Close()
			time.Sleep(9999 * time.Hour)
			b.WaitState(BrokerState{Sessions: []string{"kept"}})
			c, _ = b.connect(Connect{ClientID: "kept", CleanStart: true})
			c.Close()
			b.WaitState(BrokerState{})
		})
	})
}

// What broker-wide ends leave behind.
func TestBrokerCutAll(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*Broker)
		code byte
		want BrokerState
	}{
		"cut":  {func(b *Broker) { b.CutAll() }, 0, BrokerState{Sessions: []string{"kept"}, Subscriptions: []string{"kept a"}, Retained: []string{"r"}}},
		"stop": {func(b *Broker) { b.DisconnectAll(0x8b) }, 0x8b, BrokerState{Sessions: []string{"kept"}, Subscriptions: []string{"kept a"}, Retained: []string{"r"}}},
		"lost": {func(b *Broker) { b.Restart() }, 0, BrokerState{}},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
				c, _ := b.connect(Connect{ClientID: "kept", SessionExpiry: time.Hour})
				c.subscribe(b.level, "a", 1)
				c.publish(b.level, "r", "x", 1)
				gone, _ := b.connect(Connect{ClientID: "gone", CleanStart: true})
				gone.subscribe(b.level, "b", 1)
				synctest.Wait()
				test.end(b.Broker)
				c.wantEnd(b.code(test.code))
				gone.wantEnd(b.code(test.code))
				b.WaitState(test.want)
				b.connect(Connect{ClientID: "gone", CleanStart: true})
			})
		})
	}
}

// Retained messages are stored, sent to new subscriptions, and removed.
func TestBrokerRetains(t *testing.T) {
	virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
		c, _ := b.connect(Connect{ClientID: "c", CleanStart: true})
		c.publish(b.level, "a", "old", 1)
		c.publish(b.level, "a", "new", 3)
		c.publish(b.level, "b", "x", 3)
		if diff := cmp.Diff([]string{"a", "b"}, b.State().Retained); diff != "" {
			t.Errorf("retained (-want +got):\n%s", diff)
		}
		c.subscribe(b.level, "a", 0)
		c.want(Frame(0x31, []byte{0, 1, 'a'}, noProperties(b.level), []byte("new")))
		c.publish(b.level, "a", "", 1)
		c.wantMessage(b.level, "a", "")
		c.write(Frame(0xa2, []byte{0, 2}, noProperties(b.level), []byte{0, 1, 'a'}))
		c.want(Frame(0xb0, []byte{0, 2}, noProperties(b.level), noProperties(b.level)))
		c.publish(b.level, "a", "unheard", 2)
		c.ping()
		b.WaitState(BrokerState{Clients: []string{"c"}, Retained: []string{"b"}})
	})
}

// A refused subscription does not exist. Others in the same packet are not affected. The broker's
// own messages are routed like any other.
func TestBrokerDenies(t *testing.T) {
	deny := func(clientID, filter string) bool { return clientID == "c" && filter == "$SYS/#" }
	virtual(t, BrokerOptions{Deny: deny}, func(t *testing.T, b *virtualBroker) {
		b.Publish("$SYS/kept", "1", true)
		c, _ := b.connect(Connect{ClientID: "c", CleanStart: true})
		c.write(Frame(0x82, []byte{0, 1}, noProperties(b.level), appendString(nil, "$SYS/#"), []byte{0}, appendString(nil, "a"), []byte{1}))
		c.want(Frame(0x90, []byte{0, 1}, noProperties(b.level), []byte{map[byte]byte{v5: 0x87, v311: 0x80}[b.level], 1}))
		b.Publish("$SYS/live", "2", false)
		b.Publish("a", "3", false)
		c.wantMessage(b.level, "a", "3")

		other, _ := b.connect(Connect{ClientID: "other", CleanStart: true})
		other.subscribe(b.level, "$SYS/#", 0)
		other.wantMessage(b.level, "retained $SYS/kept", "1")
		b.Publish("$SYS/live", "4", false)
		other.wantMessage(b.level, "$SYS/live", "4")
	})
}

// Options of MQTT 5 subscriptions.
func TestBrokerSubscriptionOptions(t *testing.T) {
	virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
		if b.level != v5 {
			return
		}
		const noLocal, asPublished, retainedOnce, notRetained = 1 << 2, 1 << 3, 1 << 4, 2 << 4
		c, _ := b.connect(Connect{ClientID: "c", CleanStart: true})
		c.publish(b.level, "a", "kept", 1)
		c.subscribe(b.level, "a", 1|retainedOnce)
		c.wantMessage(b.level, "retained a", "kept")
		c.subscribe(b.level, "a", 1|retainedOnce)
		c.ping()
		c.subscribe(b.level, "a", 1|noLocal|asPublished|notRetained)
		c.ping()
		c.publish(b.level, "a", "own", 0)
		c.ping()
		other, _ := b.connect(Connect{ClientID: "other", CleanStart: true})
		other.publish(b.level, "a", "foreign", 3)
		if got := c.message(b.level); got != "retained a foreign" {
			t.Errorf("got %q", got)
		}
	})
}

// The broker records the CONNECTs of clients, and what happened to them.
func TestBrokerRecords(t *testing.T) {
	virtual(t, BrokerOptions{Grace: 1.5}, func(t *testing.T, b *virtualBroker) {
		said := Connect{
			Level: b.level, ClientID: "c", CleanStart: true, KeepAlive: 300 * time.Second, Username: "anna", Password: "secret",
			Will: &Will{Topic: "will", Payload: "gone", QoS: 1, Retain: true},
		}
		if b.level == v5 {
			said.SessionExpiry, said.ReceiveMaximum, said.Will.Delay = 20*time.Second, 7, 10*time.Second
		}
		c, _ := b.connect(said)
		c.write([]byte{0xe0, 0})
		c.wantEnd(0)
		b.dial().write(Frame(0x10, appendString(nil, "MQTT"), []byte{b.level, 2, 0, 0}, noProperties(b.level), []byte{0, 0}))
		synctest.Wait()

		anonymous := Connect{Level: b.level, CleanStart: true, ReceiveMaximum: 65535}
		if b.level == v311 {
			said.ReceiveMaximum = 65535
		}
		if diff := cmp.Diff([]Connect{said, anonymous}, b.Connects()); diff != "" {
			t.Errorf("CONNECTs (-want +got):\n%s", diff)
		}
		var got []string
		for _, e := range b.Events("c") {
			got = append(got, string(e.Kind))
		}
		want := []string{"connected", "disconnected", "session removed"}
		if b.level == v5 {
			want = want[:2] // not for 20 s
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if id := b.State().Clients[0]; !strings.HasPrefix(id, "assigned-") {
			t.Errorf("the anonymous client is called %q", id)
		}
	})
}

// The CONNACK of MQTT 5 announces the limits of the broker.
func TestBrokerAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewPipeListener()
		StartBroker(t, BrokerOptions{Listener: l, ServerKeepAlive: 300 * time.Second})
		conn, err := l.DialContext(t.Context(), "tcp", "any")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := newClient(t, conn)
		c.write(packetOf(Connect{Level: v5, ClientID: "c", CleanStart: true}))
		c.want([]byte{0x20, 8, 0, 0, 5, maximumQoS, 1, serverKeepAlive, 1, 44})
	})
}

// A client that never reads delays nobody, and is cut when it is silent.
func TestBrokerDeafClient(t *testing.T) {
	virtual(t, BrokerOptions{Grace: 1.5}, func(t *testing.T, b *virtualBroker) {
		deaf, _ := b.connect(Connect{ClientID: "deaf", CleanStart: true, KeepAlive: 10 * time.Second, Will: &Will{Topic: "will", QoS: 1}})
		deaf.subscribe(b.level, "a", 1)
		observer := b.observer()
		big := strings.Repeat("x", pipeBuffer/2)
		start := time.Now()
		for range 5 {
			observer.publish(b.level, "a", big, 0)
			observer.wantMessage(b.level, "a", big)
		}
		observer.wantMessage(b.level, "will", "")
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("the Will came after %v, want 15s", took)
		}
		b.WaitState(BrokerState{Clients: []string{"observer"}, Subscriptions: []string{"observer #"}})
		time.Sleep(2 * lingerTime)
		if _, err := deaf.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("the connection of the deaf client is still open: %v", err)
		}
	})
}

// A subscription's QoS limits that of its messages. Of several subscriptions the highest QoS
// counts.
func TestBrokerGrantedQoS(t *testing.T) {
	virtual(t, BrokerOptions{}, func(t *testing.T, b *virtualBroker) {
		c, _ := b.connect(Connect{ClientID: "c", CleanStart: true})
		c.write(Frame(0x82, []byte{0, 1}, noProperties(b.level), []byte{0, 3, 'a', '/', '+', 0, 0, 3, 'b', '/', '+', 2}))
		c.want(Frame(0x90, []byte{0, 1}, noProperties(b.level), []byte{0, 1}))
		for topic, want := range map[string][]byte{
			"a/x": Frame(0x30, []byte("\x00\x03a/x"), noProperties(b.level)),
			"b/x": Frame(0x32, []byte("\x00\x03b/x\x00\x01"), noProperties(b.level)),
		} {
			c.publish(b.level, topic, "", 2)
			c.want(want)
		}
		for i, filter := range []string{"c/+", "+/x", "+/+", "c/#", "c/x"} {
			c.subscribe(b.level, filter, byte(i&1))
		}
		c.publish(b.level, "c/x", "", 2)
		c.want(Frame(0x32, []byte("\x00\x03c/x\x00\x02"), noProperties(b.level)))
	})
}

// Over TCP each ending is what its name says. A RST of the client is an abnormal end.
func TestBrokerEndingsTCP(t *testing.T) {
	t.Parallel()
	ca := NewCA(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}
	roots := &tls.Config{RootCAs: ca.Pool, ServerName: "localhost"}
	for name, ending := range map[string]Ending{"DISCONNECT": EndDisconnect, "FIN": EndFIN, "RST": EndRST} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				t.Parallel()
				o := BrokerOptions{Grace: 0.1, Ending: ending}
				if secure {
					o.TLS = server
				}
				b := StartBroker(t, o)
				raw, err := net.Dial("tcp", b.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				tap := &tap{Conn: raw}
				c := newClient(t, tap)
				if secure {
					c = newClient(t, tls.Client(tap, roots))
				}
				c.write(packetOf(Connect{Level: v5, ClientID: "c", CleanStart: true, KeepAlive: time.Second}))
				if p := c.read(); p.Type() != CONNACK {
					t.Fatalf("got %#x", p.First)
				}
				end := error(io.EOF)
				switch ending {
				case EndDisconnect:
					c.want([]byte{0xe0, 1, keepAliveTimeout})
				case EndRST:
					end = syscall.ECONNRESET
				}
				if _, err := c.tryRead(); !errors.Is(err, end) {
					t.Errorf("the end is %v, want %v", err, end)
				}
				if notify := tap.err == nil; notify != (secure && ending != EndRST) {
					t.Errorf("close_notify: %t", notify)
				}
				b.WaitState(BrokerState{})
			})
		}
	}
	t.Run("RST of the client", func(t *testing.T) {
		b := StartBroker(t, BrokerOptions{})
		c, err := dial(t, b.URL(), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.write(packetOf(Connect{Level: v5, ClientID: "c", CleanStart: true, Will: &Will{Topic: "will", Payload: "gone", Retain: true}}))
		c.read()
		if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		c.Close()
		b.WaitState(BrokerState{Retained: []string{"will"}})
	})
}

// Clients of other makers understand the broker.
func TestBrokerWithPahoClients(t *testing.T) {
	t.Parallel()
	b := StartBroker(t, BrokerOptions{Grace: 1.5})
	old := mqtt311.NewClient(mqtt311.NewClientOptions().AddBroker("tcp://"+b.Addr().String()).SetClientID("old").
		SetWill("will/old", "gone", 1, false).SetAutoReconnect(false))
	wait := func(token mqtt311.Token) {
		t.Helper()
		if !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	wait(old.Connect())
	defer old.Disconnect(0)
	toOld := make(chan string, 1)
	wait(old.Subscribe("to/old", 1, func(_ mqtt311.Client, m mqtt311.Message) { toOld <- string(m.Payload()) }))

	u, err := url.Parse(b.URL())
	if err != nil {
		t.Fatal(err)
	}
	toNew := make(chan string, 2)
	manager, err := autopaho.NewConnection(t.Context(), autopaho.ClientConfig{
		ServerUrls:            []*url.URL{u},
		KeepAlive:             30,
		SessionExpiryInterval: 60,
		ClientConfig: paho.ClientConfig{
			ClientID: "new",
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(m paho.PublishReceived) (bool, error) {
				toNew <- m.Packet.Topic + " " + string(m.Packet.Payload)
				return true, nil
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.AwaitConnection(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := manager.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{
		{Topic: "to/new", QoS: 1}, {Topic: "will/+", QoS: 1},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := manager.Publish(t.Context(), &paho.Publish{Topic: "to/old", QoS: 1, Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	wait(old.Publish("to/new", 1, false, "and back"))
	for want, got := range map[string]<-chan string{"hello": toOld, "to/new and back": toNew} {
		select {
		case got := <-got:
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("%q did not come", want)
		}
	}
	b.Cut("old")
	select {
	case got := <-toNew:
		if got != "will/old gone" {
			t.Errorf("got %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the Will did not come")
	}
	if err := manager.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestParseConnectRefuses(t *testing.T) {
	good := packetOf(Connect{Level: v5, ClientID: "c", SessionExpiry: time.Minute, Will: &Will{Topic: "will", Delay: time.Second}})[2:]
	if _, err := parseConnect(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if _, err := parseConnect(good[:i]); err == nil {
			t.Errorf("a CONNECT cut off after %d bytes was taken", i)
		}
	}
	bad := slices.Clone(good)
	bad[11] = 0x7f // the property
	if _, err := parseConnect(bad); err == nil {
		t.Error("a CONNECT with an unknown property was taken")
	}
}
