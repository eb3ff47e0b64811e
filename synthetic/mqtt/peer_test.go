package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// unhex decodes packets written as "20 03 00 00 00".
func unhex(parts ...string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// Packets that many scripts need.
const (
	connack5   = "20 03 00 00 00"
	connack311 = "20 02 00 00"
	pingresp   = "d0 00"
)

// connackWith encodes a CONNACK of MQTT 5.
func connackWith(flags, code byte, props ...string) string {
	p := unhex(props...)
	body := append(binary.AppendUvarint([]byte{flags, code}, uint64(len(p))), p...)
	return hex.EncodeToString(append(binary.AppendUvarint([]byte{0x20}, uint64(len(body))), body...))
}

// publish encodes a PUBLISH of MQTT 5 without properties from the server.
func publish(topic string, qos byte, id uint16, payload string) []byte {
	var body []byte
	body = binary.BigEndian.AppendUint16(body, uint16(len(topic)))
	body = append(body, topic...)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	body = append(body, 0)
	body = append(body, payload...)
	return append(append([]byte{0x30 | qos<<1}, binary.AppendUvarint(nil, uint64(len(body)))...), body...)
}

// received is a packet from the client.
type received struct {
	at     time.Time
	header byte
	body   []byte
}

func (r received) kind() Type { return Type(r.header >> 4) }

// readPacket reads a packet from the client.
func readPacket(r *bufio.Reader) (received, error) {
	header, err := r.ReadByte()
	if err != nil {
		return received{}, err
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return received{}, err
	}
	if length >= 1<<28 { // from somebody who does not speak MQTT
		return received{}, errors.New("a length of more than 4 bytes")
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	return received{time.Now(), header, body}, err
}

// script says what a peer does: it is called with each packet of the client, and the peer sends
// what it returns.
type script func(received) []byte

// healthy is the script of a peer that accepts the client with connack, answers PINGREQ and
// acknowledges.
func healthy(connack string) script {
	return func(r received) []byte {
		switch r.kind() {
		case CONNECT:
			return unhex(connack)
		case PINGREQ:
			return unhex(pingresp)
		case PUBLISH:
			if qos := r.header >> 1 & 3; qos > 0 {
				n := 2 + binary.BigEndian.Uint16(r.body)
				return []byte{0x40 + 0x10*(qos-1), 2, r.body[n], r.body[n+1]}
			}
		case PUBREL:
			return []byte{0x70, 2, r.body[0], r.body[1]}
		}
		return nil
	}
}

// silent is the script of a peer that accepts the client and then sends nothing.
func silent(connack string) script {
	return func(r received) []byte {
		if r.kind() == CONNECT {
			return unhex(connack)
		}
		return nil
	}
}

// peer is the server's end of a connection. It sends in the order of the calls of send, and it
// reads all the time.
type peer struct {
	net.Conn
	out  chan []byte
	done chan struct{} // closed when it stops reading
	mu   sync.Mutex
	got  []received
	told int // how many packets fresh has returned
}

// newPeer runs a script on conn until the client closes or the test ends.
func newPeer(t testing.TB, conn net.Conn, answer script) *peer {
	p := &peer{Conn: conn, out: make(chan []byte, 4096), done: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { p.play(answer) })
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return p
}

// play runs a script on conn until the client disconnects or the connection ends, and closes conn.
func play(conn net.Conn, answer script) {
	(&peer{Conn: conn, out: make(chan []byte, 4096), done: make(chan struct{})}).play(answer)
}

func (p *peer) play(answer script) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer p.Close()
	defer close(p.done)
	wg.Go(func() {
		for {
			select {
			case b := <-p.out:
				if b == nil {
					p.Close()
				} else if _, err := p.Write(b); err != nil {
					p.Close()
				}
			case <-p.done:
				return
			}
		}
	})
	r := bufio.NewReader(p.Conn)
	for first := true; ; first = false {
		packet, err := readPacket(r)
		if err != nil || first && packet.header != byte(CONNECT)<<4 { // the latter does not speak MQTT
			return
		}
		p.mu.Lock()
		p.got = append(p.got, packet)
		p.mu.Unlock()
		if b := answer(packet); b != nil {
			p.send(b)
		}
		if packet.kind() == DISCONNECT {
			return
		}
	}
}

// send sends b without waiting. A nil b closes the connection after everything before it was sent.
func (p *peer) send(b []byte) {
	select {
	case p.out <- b:
	case <-p.done:
	}
}

// every sends b at fixed intervals until the connection ends.
func (p *peer) every(t testing.TB, step time.Duration, b []byte) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-p.done:
				return
			case <-time.After(step):
				p.send(b)
			}
		}
	})
	t.Cleanup(func() {
		p.Close()
		wg.Wait()
	})
}

// raw returns the packet as it was on the wire.
func (r received) raw() []byte {
	return append(binary.AppendUvarint([]byte{r.header}, uint64(len(r.body))), r.body...)
}

// fresh waits until nothing moves in the bubble and returns the packets received since the last
// call, in hex.
func (p *peer) fresh() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, r := range p.got[p.told:] {
		out = append(out, fmt.Sprintf("% x", r.raw()))
	}
	p.told = len(p.got)
	return out
}

// all returns the packets received so far.
func (p *peer) all() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.got...)
}

// times returns when packets of a kind came, as durations since start.
func (p *peer) times(kind Type, start time.Time) []time.Duration {
	var out []time.Duration
	for _, r := range p.all() {
		if r.kind() == kind {
			out = append(out, r.at.Sub(start))
		}
	}
	return out
}

// kinds returns the kinds of the packets received, in order.
func (p *peer) kinds() []Type {
	var out []Type
	for _, r := range p.all() {
		out = append(out, r.kind())
	}
	return out
}

// pipe connects a session to a scripted peer over net.Pipe, in a synctest bubble with virtual time.
func pipe(t testing.TB, o Options, answer script, wrap ...func(net.Conn) net.Conn) (*Session, *peer) {
	t.Helper()
	client, server := net.Pipe()
	for _, w := range wrap {
		client = w(client)
	}
	p := newPeer(t, server, answer)
	o.DialSocket = func(context.Context, string, string) (net.Conn, error) { return client, nil }
	s := dial(t, o)
	return s, p
}

// mustURL parses a URL.
func mustURL(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}

// dial connects, and closes the session at the end of the test.
func dial(t testing.TB, o Options) *Session {
	t.Helper()
	if o.URL == nil {
		o.URL = mustURL("mqtt://127.0.0.1:1883")
	}
	s, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Abort() })
	return s
}

// events collects the events of a session until a given time or the end of the session.
func events(t testing.TB, s *Session, until time.Time) ([]Event, *End) {
	t.Helper()
	var out []Event
	for {
		e, err := s.Next(until)
		if err != nil {
			return out, err.(*End)
		}
		if e.Kind == Due {
			return out, nil
		}
		out = append(out, *e)
	}
}
