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

// lingerTime is how long the broker waits, after it ended a connection, for the client to close its
// side.
const lingerTime = 2 * time.Second

// BrokerOptions set where a broker listens, and which faults it has. With the zero value it follows
// the standard, with one exception: it never times out a silent client.
type BrokerOptions struct {
	// Listener is where connections come from; nil: a free TCP port of 127.0.0.1.
	Listener net.Listener
	// TLS, when set, makes the broker speak TLS.
	TLS *tls.Config

	// Grace is the multiple of its keepalive after which a silent client is cut. The standard says
	// 1.5 [MQTT5-3.1.2-22, MQTT3-3.1.2-24]. 0: never.
	Grace float64
	// GraceOf, when set, replaces Grace: it returns how long a client may be silent; 0: for ever.
	// Its argument is the keepalive that is in force.
	GraceOf func(clientID string, keepAlive time.Duration) time.Duration
	// Tick, when set, makes the broker check each client's silence only once per tick. The first
	// check is 1.5 ticks after CONNECT. The broker counts ticks instead of time, as NanoMQ does:
	// when the ticks since a client's last packet exceed its grace, it cuts the client at the
	// following tick.
	Tick time.Duration
	// FirstLook is the age of a connection at which the broker first looks at its silence, as FlashMQ
	// does after 30 s.
	FirstLook time.Duration
	// SendingCounts makes packets that the broker sends to a client end the client's silence, as in
	// rumqttd.
	SendingCounts bool
	// ServerKeepAlive is announced to every MQTT 5 client, and is its keepalive; 0: the client's
	// own.
	ServerKeepAlive time.Duration
	// Ending is how the broker ends a connection, after silence or for a takeover.
	Ending Ending

	// Deny reports whether a subscription is refused: SUBACK 0x87, and 0x80 in MQTT 3.1.1. It is
	// called once for each filter of a SUBSCRIBE. nil: none is refused.
	Deny func(clientID, filter string) bool

	// NoWill reports whether a client's Will is swallowed; nil: none is.
	NoWill func(clientID string) bool
	// WillDelay is how late the broker publishes every Will.
	WillDelay time.Duration

	// Present, when set, replaces what the broker says of the session in its CONNACK: it gets the truth.
	Present func(present bool) bool

	// Takeover is what happens to a client that connects with the id of a connected one.
	Takeover Takeover
	// TakeoverDelay is how long such a client waits for its CONNACK. If the old client has to go,
	// it goes before the wait.
	TakeoverDelay time.Duration

	// Redeliver returns which of the n messages that wait for a returning client are sent, and in
	// which order. The messages are numbered from 0, the oldest. Those left out are lost; those
	// that occur twice are sent twice. nil: all, in order.
	Redeliver func(n int) []int
	// RedeliverEvery is the time between two of these messages; 0: all at once.
	RedeliverEvery time.Duration
}

// Ending is how a broker ends a connection.
type Ending int

const (
	// EndDisconnect is DISCONNECT with the reason, and FIN. MQTT 3.1.1 has no such DISCONNECT.
	EndDisconnect Ending = iota
	// EndFIN is only FIN, after close_notify under TLS.
	EndFIN
	// EndRST is only RST.
	EndRST
)

// Takeover is what a broker does about two clients with one id.
type Takeover int

const (
	// TakeoverStandard ends the old connection [MQTT5-3.1.4-3].
	TakeoverStandard Takeover = iota
	// TakeoverRefused refuses the new client: CONNACK 0x85, and 2 in MQTT 3.1.1.
	TakeoverRefused
	// TakeoverBoth keeps both. The new one has the session. The old one still gets answers, but no
	// more messages.
	TakeoverBoth
)

// Broker is a broker for several clients: MQTT 5 and 3.1.1, QoS 0 and 1, Wills, retained messages,
// sessions. Its faults are exact. It runs in virtual time as well as over TCP. It records what
// clients did and what they left behind.
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

// serve handles one connection until it ends.
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
		io.Copy(io.Discard, conn.raw) // ends when the client closes its side, or after lingerTime
	}
	if silent {
		return nil
	}
	return err
}

// clearWay handles a connected client with the same id.
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

// admit makes a connection a client. It queues the CONNACK and the messages that wait for the
// client.
func (b *Broker) admit(conn *Conn) *brokerClient {
	b.mu.Lock()
	defer b.mu.Unlock()
	assigned := conn.ClientID == ""
	if assigned {
		conn.ClientID = newClientID()
	}
	b.takeOver(b.connected(conn.ClientID)) // clients that came during TakeoverDelay
	keepAlive := conn.KeepAlive
	if conn.Level >= v5 && b.o.ServerKeepAlive > 0 {
		keepAlive = b.o.ServerKeepAlive
	}
	c := newBrokerClient(conn, b.silence(conn.ClientID, keepAlive), b.o.Tick)
	c.firstLook = b.o.FirstLook
	b.clients[c] = true
	b.record(ClientConnected, conn.ClientID)
	present := b.attach(c)
	said := present
	if b.o.Present != nil {
		said = b.o.Present(present)
	}
	c.out.put(b.connack(conn, said, assigned))
	b.resume(c.session)
	return c
}

func (b *Broker) silence(clientID string, keepAlive time.Duration) time.Duration {
	if b.o.GraceOf != nil {
		return b.o.GraceOf(clientID, keepAlive)
	}
	return time.Duration(b.o.Grace * float64(keepAlive))
}

// takeOver ends the connections that have the client id of a new one.
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

// end ends a client's connection, with the consequences: its Will, and the end of its session. It
// does nothing if the connection has ended.
func (b *Broker) end(c *brokerClient, kind EventKind, code byte) {
	if c.ended {
		return
	}
	c.ended = true
	delete(b.clients, c)
	if b.ctx.Err() == nil { // otherwise the broker is closing
		b.record(kind, c.conn.ClientID)
		b.leaveWill(c)
		b.detach(c)
	}
	c.close(kind, code, b.o.Ending)
}

// Cut breaks the connections of a client, as a failing network does. Its Will is due.
func (b *Broker) Cut(clientID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.connected(clientID) {
		b.end(c, ClientCut, 0)
	}
}

// Disconnect ends the connections of a client by DISCONNECT and FIN; MQTT 3.1.1 has no such
// DISCONNECT. Its Will is due.
func (b *Broker) Disconnect(clientID string, code byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.connected(clientID) {
		b.end(c, ClientKicked, code)
	}
}

// CutAll breaks all connections, as a broker does that dies and starts again from its storage.
// Sessions and retained messages stay, and no Will is published.
func (b *Broker) CutAll() { b.endAll(ClientCut, 0) }

// DisconnectAll is CutAll with DISCONNECT before the FIN; MQTT 3.1.1 has no such DISCONNECT. A
// broker that is told to stop sends 0x8B.
func (b *Broker) DisconnectAll(code byte) { b.endAll(ClientKicked, code) }

// Restart is CutAll of a broker without storage: sessions and retained messages are gone.
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

// later calls f with the lock held after d, unless the broker is closed before.
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

// Dropping makes Redeliver lose the messages with these numbers.
func Dropping(numbers ...int) func(n int) []int {
	return func(n int) []int {
		return slices.DeleteFunc(upTo(n), func(i int) bool { return slices.Contains(numbers, i) })
	}
}

// Duplicating makes Redeliver send the messages with these numbers twice.
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

// Reversing makes Redeliver start with the newest message.
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
