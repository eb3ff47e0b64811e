package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// unhex reads packets written as "20 03 00 00 00".
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
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	return received{time.Now(), header, body}, err
}

// script is what a peer does: it is given each packet of the client, and what it returns is sent.
type script func(received) []byte

// healthy is the script of a peer that lets the client in with connack, answers PINGREQ and acknowledges.
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

// silent is the script of a peer that lets the client in and then says nothing.
func silent(connack string) script {
	return func(r received) []byte {
		if r.kind() == CONNECT {
			return unhex(connack)
		}
		return nil
	}
}

// peer is the server's end of a connection, run by a script.
type peer struct {
	net.Conn
	mu  sync.Mutex
	got []received
}

// newPeer plays a script on conn, until the client closes or the test is over.
func newPeer(t testing.TB, conn net.Conn, answer script) *peer {
	p := &peer{Conn: conn}
	var wg sync.WaitGroup
	wg.Go(func() {
		play(conn, answer, func(r received) {
			p.mu.Lock()
			p.got = append(p.got, r)
			p.mu.Unlock()
		})
	})
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return p
}

// play plays a script on conn until the client disconnects or the connection ends, and closes it.
func play(conn net.Conn, answer script, record func(received)) {
	out := make(chan []byte, 4096) // answering must not stop the reading
	var wg sync.WaitGroup
	defer wg.Wait()
	defer conn.Close()
	defer close(out)
	wg.Go(func() {
		for b := range out {
			if _, err := conn.Write(b); err != nil {
				conn.Close()
			}
		}
	})
	r := bufio.NewReader(conn)
	for {
		packet, err := readPacket(r)
		if err != nil {
			return
		}
		if record != nil {
			record(packet)
		}
		if b := answer(packet); b != nil {
			out <- b
		}
		if packet.kind() == DISCONNECT {
			return
		}
	}
}

// all gives the packets received so far.
func (p *peer) all() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.got...)
}

// times gives when packets of a kind came, since start.
func (p *peer) times(kind Type, start time.Time) []time.Duration {
	var out []time.Duration
	for _, r := range p.all() {
		if r.kind() == kind {
			out = append(out, r.at.Sub(start))
		}
	}
	return out
}

// kinds gives the kinds of the packets received, in order.
func (p *peer) kinds() []Type {
	var out []Type
	for _, r := range p.all() {
		out = append(out, r.kind())
	}
	return out
}

// pipe connects a session to a scripted peer over net.Pipe: in a synctest bubble, in virtual time.
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

// events collects the events of a session until a moment; it stops at the end of the session.
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
		out = append(out, e)
	}
}
