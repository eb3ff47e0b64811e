package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Script handles one connection of a scripted broker. It must return when one of the connection's
// methods fails; they fail once the broker is closed. The connection is closed when the script
// returns.
type Script func(c *Conn) error

// Sequence runs the first script for the first connection, and so on. The last script handles all
// further connections.
func Sequence(scripts ...Script) Script {
	return func(c *Conn) error { return scripts[min(c.Number, len(scripts))-1](c) }
}

// ScriptedBrokerOptions set where a scripted broker listens.
type ScriptedBrokerOptions struct {
	// Listener is where connections come from; nil: a free TCP port of 127.0.0.1.
	Listener net.Listener
	// TLS, when set, makes the broker speak TLS. The handshake takes place when the script first
	// reads or writes, so a script may also stay silent during it.
	TLS *tls.Config
}

// ScriptedBroker is a broker that runs a script for each connection.
type ScriptedBroker struct {
	t        testing.TB
	listener net.Listener
	tls      *tls.Config
	script   Script
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	accepted int
	open     map[net.Conn]bool // the raw connections; nil once closed
}

// StartScriptedBroker starts a scripted broker; it is closed when the test ends. If a script fails
// for another reason than the end of its connection, the test's log shows it.
func StartScriptedBroker(t testing.TB, script Script, o ScriptedBrokerOptions) *ScriptedBroker {
	t.Helper()
	b := newScriptedBroker(t, script, o)
	b.start()
	return b
}

func newScriptedBroker(t testing.TB, script Script, o ScriptedBrokerOptions) *ScriptedBroker {
	t.Helper()
	if o.Listener == nil {
		// TCP keepalive is off, because it would reset the idle time that a path measures.
		l, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		o.Listener = l
	}
	b := &ScriptedBroker{t: t, listener: o.Listener, tls: o.TLS, script: script, open: map[net.Conn]bool{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// start accepts connections, and closes the broker when the test ends.
func (b *ScriptedBroker) start() {
	b.wg.Go(b.accept)
	b.t.Cleanup(b.Close)
}

// URL returns the broker's URL, mqtt or mqtts.
func (b *ScriptedBroker) URL() string {
	scheme := "mqtt"
	if b.tls != nil {
		scheme = "mqtts"
	}
	return scheme + "://" + b.listener.Addr().String()
}

// Addr returns the address of the broker's listener.
func (b *ScriptedBroker) Addr() net.Addr { return b.listener.Addr() }

// Accepted returns how many connections the broker has accepted so far.
func (b *ScriptedBroker) Accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// Close closes the listener and all connections, and waits for the scripts. It may be called more
// than once.
func (b *ScriptedBroker) Close() {
	b.cancel()
	b.listener.Close()
	b.mu.Lock()
	open := b.open
	b.open = nil
	b.mu.Unlock()
	for raw := range open {
		raw.Close()
	}
	b.wg.Wait()
}

func (b *ScriptedBroker) accept() {
	for {
		raw, err := b.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				b.t.Errorf("scripted broker: %v", err)
			}
			return
		}
		b.mu.Lock()
		if b.open == nil {
			b.mu.Unlock()
			raw.Close()
			return
		}
		b.open[raw] = true
		b.accepted++
		number := b.accepted
		b.mu.Unlock()
		b.wg.Go(func() { b.serve(raw, number) })
	}
}

func (b *ScriptedBroker) serve(raw net.Conn, number int) {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	conn := raw
	if b.tls != nil {
		conn = tls.Server(raw, b.tls)
	}
	c := &Conn{Conn: conn, Number: number, raw: raw, ctx: ctx, reader: bufio.NewReader(conn)}
	err := b.script(c)
	c.Conn.Close()
	raw.Close() // tls.Conn may have left it open

	b.mu.Lock()
	delete(b.open, raw)
	b.mu.Unlock()
	if err != nil && b.ctx.Err() == nil && !isEnd(err) {
		b.t.Logf("scripted broker, connection %d: %v", number, err)
	}
}

// isEnd reports whether an error means that the other side has gone, which is no fault of a script.
func isEnd(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// Conn is a connection of a scripted broker. It reads and writes MQTT bytes, inside TLS if there is
// TLS.
type Conn struct {
	net.Conn
	// Connect is the client's CONNECT, once it has been read.
	Connect
	// Number is the number of the connection at the broker, from 1.
	Number int

	raw    net.Conn
	ctx    context.Context
	reader *bufio.Reader

	// trap is the type of the packet that ReadPacket refuses to read, and trapped reports that it came.
	trap    PacketType
	trapped bool
}

// errTrapped ends the reading at the packet of a trap.
var errTrapped = errors.New("the packet that ends the connection")

// Read reads bytes from the client.
func (c *Conn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// ReadPacket reads the client's next packet.
func (c *Conn) ReadPacket() (Packet, error) {
	if first, err := c.reader.Peek(1); err == nil && c.trap != 0 && PacketType(first[0]>>4) == c.trap {
		c.trapped = true
		return Packet{}, errTrapped
	}
	return ReadPacket(c.reader)
}

// ReadConnect reads the client's CONNECT, and records its fields.
func (c *Conn) ReadConnect() error {
	p, err := c.ReadPacket()
	if err != nil {
		return err
	}
	if p.Type() != CONNECT {
		return fmt.Errorf("the client began with a packet of type %d instead of a CONNECT", p.Type())
	}
	c.Connect, err = parseConnect(p.Body)
	return err
}

// Accept reads the client's CONNECT and accepts it, without a session.
func (c *Conn) Accept() error {
	if err := c.ReadConnect(); err != nil {
		return err
	}
	return c.send(c.connack())
}

// connack returns an accepting CONNACK in the client's version.
func (c *Conn) connack() []byte { return Frame(byte(CONNACK)<<4, []byte{0, 0}, c.noProperties()) }

// noProperties returns an empty list of properties if the version has properties.
func (c *Conn) noProperties() []byte {
	if c.Level < v5 {
		return nil
	}
	return []byte{0}
}

func (c *Conn) send(packet []byte) error {
	_, err := c.Write(packet)
	return err
}

// Sleep waits, in virtual time inside a bubble. It fails when the connection's script is over or
// the broker is closed.
func (c *Conn) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// Hold leaves the connection open without reading from it, until the broker is closed.
func (c *Conn) Hold() error {
	<-c.ctx.Done()
	return c.ctx.Err()
}

// Discard reads and discards bytes until the client ends the connection or the broker is closed.
func (c *Conn) Discard() error {
	_, err := io.Copy(io.Discard, c.reader)
	return err
}

// CloseNotify ends the connection properly: TLS close_notify, then FIN. It then reads until the
// client closes its side, because unread data would turn the FIN into a RST. Without TLS it is FIN.
func (c *Conn) CloseNotify() error {
	if err := c.closeNotify(); err != nil {
		return err
	}
	return c.FIN()
}

// closeNotify ends the outgoing side of TLS, where there is TLS.
func (c *Conn) closeNotify() error {
	conn, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := conn.HandshakeContext(c.ctx); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// FIN ends the connection by a FIN, under TLS without close_notify. It then reads until the client
// closes its side, because unread data would turn the FIN into a RST.
func (c *Conn) FIN() error {
	if err := c.sendFIN(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c.raw)
	return err
}

// sendFIN ends the outgoing side, of TCP or of a pipe.
func (c *Conn) sendFIN() error {
	if conn, ok := c.raw.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return c.raw.Close()
}

// Reset ends the connection by a RST. A pipe has no RST and is closed.
func (c *Conn) Reset() error {
	if conn, ok := c.raw.(*net.TCPConn); ok {
		if err := conn.SetLinger(0); err != nil {
			return err
		}
	}
	return c.raw.Close()
}
