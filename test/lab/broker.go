package lab

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

// lingerTime is how long the broker waits for a client whose connection it ended to close its side.
const lingerTime = 2 * time.Second

// BrokerOptions say where a broker listens, and which faults it has. With the zero value it does what the standard asks,
// but for one thing: it never gives up a silent client.
type BrokerOptions struct {
	// Listener is where connections come from; nil: a free TCP port of 127.0.0.1.
	Listener net.Listener
	// TLS, when set, makes the broker speak TLS.
	TLS *tls.Config

	// Grace is the multiple of its keepalive after which a silent client is cut; the standard's is 1.5
	// [MQTT-3.1.2-22]. 0: never.
	Grace float64
	// GraceOf, when set, says in place of Grace how long a client may be silent; 0: for ever. The keepalive is the
	// one that is in force.
	GraceOf func(clientID string, keepAlive time.Duration) time.Duration
	// Tick, when set, makes the broker look at each client's silence only this often, for the first time 1.5 ticks after
	// CONNECT, and count ticks instead of time, as NanoMQ does: it cuts a client at the tick after the one at which the ticks
	// since its last packet exceed its grace.
	Tick time.Duration
	// SendingCounts makes what the broker sends to a client an end of the client's silence, as rumqttd does.
	SendingCounts bool
	// ServerKeepAlive is announced to every MQTT 5 client, and is its keepalive; 0: the client's own.
	ServerKeepAlive time.Duration
	// Ending is how the broker ends a connection, be it for silence or for a takeover.
	Ending Ending

	// Deny says which subscriptions are refused: SUBACK 0x87, and 0x80 in MQTT 3.1.1. It is called once for each filter of
	// a SUBSCRIBE. nil: none.
	Deny func(clientID, filter string) bool

	// NoWill says whose Will is swallowed; nil: nobody's.
	NoWill func(clientID string) bool
	// WillDelay makes every Will this late.
	WillDelay time.Duration

	// Takeover is what happens to a client that comes with the id of one that is connected.
	Takeover Takeover
	// TakeoverDelay is how long such a client waits for its CONNACK; the old one, if it has to go, goes before.
	TakeoverDelay time.Duration

	// Redeliver says which of the n messages that wait for a returning client are sent, and in which order: their
	// numbers from 0, the oldest. Those left out are lost, those that occur twice come twice. nil: all, in order.
	Redeliver func(n int) []int
	// RedeliverEvery is the time between two of these messages; 0: all at once.
	RedeliverEvery time.Duration
}

// Ending is how a broker ends a connection.
type Ending int

const (
	// EndDisconnect is DISCONNECT with the reason, which MQTT 3.1.1 does not have, and FIN.
	EndDisconnect Ending = iota
	// EndFIN is FIN alone, after close_notify under TLS.
	EndFIN
	// EndRST is RST alone.
	EndRST
)

// Takeover is what a broker does about two clients with one id.
type Takeover int

const (
	// TakeoverStandard ends the old connection [MQTT-3.1.4-3].
	TakeoverStandard Takeover = iota
	// TakeoverRefused refuses the new client: CONNACK 0x85, and 2 in MQTT 3.1.1.
	TakeoverRefused
	// TakeoverBoth keeps both. The new one has the session; the old one is answered, and gets no more messages.
	TakeoverBoth
)

// Broker is a broker for several clients: MQTT 5 and 3.1.1, QoS 0 and 1, Wills, retained messages, sessions. Its faults
// are exact, and it runs in virtual time as well as over TCP. It records what clients did and left behind.
type Broker struct {
	*ScriptedBroker
	o BrokerOptions

	mu       sync.Mutex
	clients  map[*brokerClient]bool // those connected
	sessions map[string]*session    // by client id
	retained map[string]message     // by topic
	connects []Connect
	events   []BrokerEvent
}

// StartBroker starts a broker; it is closed when the test ends.
func StartBroker(t testing.TB, o BrokerOptions) *Broker {
	t.Helper()
	b := &Broker{
		o:        o,
		clients:  map[*brokerClient]bool{},
		sessions: map[string]*session{},
		retained: map[string]message{},
	}
	b.ScriptedBroker = newScriptedBroker(t, b.serve, ScriptedBrokerOptions{Listener: o.Listener, TLS: o.TLS})
	b.start()
	return b
}

// serve is the life of one connection.
func (b *Broker) serve(conn *Conn) error {
	if err := conn.ReadConnect(); err != nil {
		return err
	}
	refused, err := b.clearWay(conn)
	if err != nil || refused {
		return err
	}
	c := b.admit(conn)
	var writer sync.WaitGroup
	writer.Go(func() { b.write(c) })
	err = b.read(c)

	silent := errors.Is(err, os.ErrDeadlineExceeded)
	b.mu.Lock()
	if silent {
		b.end(c, ClientExpired, keepAliveTimeout)
	} else {
		b.end(c, ClientLost, 0)
	}
	b.mu.Unlock()
	writer.Wait()
	if c.lingers {
		io.Copy(io.Discard, conn.raw) // ends with the client's side, or with lingerTime
	}
	if silent {
		return nil
	}
	return err
}

// clearWay deals with a connected client of the same id.
func (b *Broker) clearWay(conn *Conn) (refused bool, err error) {
	b.mu.Lock()
	b.connects = append(b.connects, conn.Connect)
	rivals := b.connected(conn.ClientID)
	refused = len(rivals) > 0 && b.o.Takeover == TakeoverRefused
	if refused {
		b.record(ClientRefused, conn.ClientID)
	} else {
		b.takeOver(rivals)
	}
	b.mu.Unlock()

	if len(rivals) > 0 {
		if err := conn.Sleep(b.o.TakeoverDelay); err != nil {
			return refused, err
		}
	}
	if !refused {
		return false, nil
	}
	code := byte(0x85) // Client Identifier not valid
	if conn.Level < v5 {
		code = 2 // identifier rejected
	}
	return true, conn.send(Frame(byte(CONNACK)<<4, []byte{0, code}, conn.noProperties()))
}

// admit makes a connection a client, and queues its CONNACK and what waits for it.
func (b *Broker) admit(conn *Conn) *brokerClient {
	b.mu.Lock()
	defer b.mu.Unlock()
	assigned := conn.ClientID == ""
	if assigned {
		conn.ClientID = newClientID()
	}
	b.takeOver(b.connected(conn.ClientID)) // those that came during TakeoverDelay
	keepAlive := conn.KeepAlive
	if conn.Level >= v5 && b.o.ServerKeepAlive > 0 {
		keepAlive = b.o.ServerKeepAlive
	}
	c := newBrokerClient(conn, b.silence(conn.ClientID, keepAlive), b.o.Tick)
	b.clients[c] = true
	b.record(ClientConnected, conn.ClientID)
	present := b.attach(c)
	c.out.put(b.connack(conn, present, assigned))
	b.resume(c.session)
	return c
}

func (b *Broker) silence(clientID string, keepAlive time.Duration) time.Duration {
	if b.o.GraceOf != nil {
		return b.o.GraceOf(clientID, keepAlive)
	}
	return time.Duration(b.o.Grace * float64(keepAlive))
}

// takeOver ends the connections whose client id a new one has.
func (b *Broker) takeOver(rivals []*brokerClient) {
	if b.o.Takeover == TakeoverBoth {
		return
	}
	for _, c := range rivals {
		b.end(c, ClientTakenOver, sessionTakenOver)
	}
}

func (b *Broker) connected(clientID string) []*brokerClient {
	var found []*brokerClient
	for c := range b.clients {
		if c.conn.ClientID == clientID {
			found = append(found, c)
		}
	}
	return found
}

// end ends a client's connection, with what follows from that: its Will, and the end of its session. It does nothing
// for one that has ended.
func (b *Broker) end(c *brokerClient, kind EventKind, code byte) {
	if c.ended {
		return
	}
	c.ended = true
	delete(b.clients, c)
	if b.ctx.Err() == nil { // otherwise the broker goes, with all that it has
		b.record(kind, c.conn.ClientID)
		b.leaveWill(c)
		b.detach(c)
	}
	c.close(kind, code, b.o.Ending)
}

// Cut breaks the connections of a client off, as a failing network does: its Will is due.
func (b *Broker) Cut(clientID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.connected(clientID) {
		b.end(c, ClientCut, 0)
	}
}

// Disconnect ends the connections of a client by DISCONNECT, which MQTT 3.1.1 does not have, and FIN: its Will is due.
func (b *Broker) Disconnect(clientID string, code byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.connected(clientID) {
		b.end(c, ClientKicked, code)
	}
}

// CutAll breaks all connections off, as when a broker dies that starts again with what it had stored: sessions and
// retained messages stay, no Will is published.
func (b *Broker) CutAll() { b.endAll(ClientCut, 0) }

// DisconnectAll is CutAll with DISCONNECT, which MQTT 3.1.1 does not have, before the FIN: 0x8B is a broker that is told
// to stop.
func (b *Broker) DisconnectAll(code byte) { b.endAll(ClientKicked, code) }

// Restart is CutAll of a broker that had stored nothing: sessions and retained messages are gone.
func (b *Broker) Restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endAllLocked(ClientCut, 0)
	clear(b.sessions)
	clear(b.retained)
}

func (b *Broker) endAll(kind EventKind, code byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endAllLocked(kind, code)
}

func (b *Broker) endAllLocked(kind EventKind, code byte) {
	for c := range b.clients {
		c.will = nil
		b.end(c, kind, code)
	}
	for _, s := range b.sessions {
		s.will = nil
	}
}

// later calls f, with the lock, when the time has passed, unless the broker is closed before.
func (b *Broker) later(d time.Duration, f func()) {
	if b.ctx.Err() != nil {
		return
	}
	b.wg.Go(func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			b.mu.Lock()
			defer b.mu.Unlock()
			f()
		case <-b.ctx.Done():
		}
	})
}

// Dropping makes Redeliver lose the messages of these numbers.
func Dropping(numbers ...int) func(n int) []int {
	return func(n int) []int {
		return slices.DeleteFunc(upTo(n), func(i int) bool { return slices.Contains(numbers, i) })
	}
}

// Duplicating makes Redeliver send the messages of these numbers twice.
func Duplicating(numbers ...int) func(n int) []int {
	return func(n int) []int {
		var all []int
		for i := range n {
			all = append(all, i)
			if slices.Contains(numbers, i) {
				all = append(all, i)
			}
		}
		return all
	}
}

// Reversing makes Redeliver begin with the newest message.
func Reversing() func(n int) []int {
	return func(n int) []int {
		all := upTo(n)
		slices.Reverse(all)
		return all
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
