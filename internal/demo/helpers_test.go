package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	v3 "github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is much longer than any step takes. It turns a hang into a failure.
const patience = 2 * time.Minute

// startDemo starts the brokers in a directory of the test and closes them when the test ends.
func startDemo(t *testing.T, o Options) *Brokers {
	t.Helper()
	o.Dir = t.TempDir()
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *Brokers) find(t *testing.T, name string) Broker {
	t.Helper()
	for _, d := range b.List {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("there is no broker %q", name)
	return Broker{}
}

// dialFirst connects to the broker's first endpoint.
func (d Broker) dialFirst(t *testing.T) net.Conn {
	t.Helper()
	return d.dial(t, d.Endpoints[0])
}

// dial connects to the endpoint and verifies its certificate using only the fields of Broker.
func (d Broker) dial(t *testing.T, e Endpoint) net.Conn {
	t.Helper()
	u, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	var config *tls.Config
	if e.TLS {
		config = &tls.Config{RootCAs: d.roots(t), ServerName: u.Hostname()}
	}
	c, err := open(t.Context(), u, config)
	if err != nil {
		t.Fatalf("connect to %s: %v", e.URL, err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func open(ctx context.Context, u *url.URL, config *tls.Config) (net.Conn, error) {
	switch u.Scheme {
	case "mqtt":
		return new(net.Dialer).DialContext(ctx, "tcp", u.Host)
	case "mqtts":
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	}
	d := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: config}
	ws, _, err := d.DialContext(ctx, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if ws.Subprotocol() != "mqtt" {
		ws.Close()
		return nil, errors.New("the server did not choose the sub-protocol mqtt")
	}
	return &wsConn{Conn: ws.NetConn(), ws: ws}, nil
}

func (d Broker) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(d.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatalf("%s holds no certificate", d.CAFile)
	}
	return pool
}

// witness is a paho.Client and what it received.
type witness struct {
	*paho.Client
	received chan *paho.Publish
}

// newWitness connects a paho.Client over c.
func newWitness(t *testing.T, c net.Conn, connect *paho.Connect) *witness {
	t.Helper()
	w := &witness{received: make(chan *paho.Publish, 10_000)}
	w.Client = paho.NewClient(paho.ClientConfig{
		Conn:          v5.NewThreadSafeConn(c),
		PacketTimeout: patience,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			w.received <- p.Packet
			return true, nil
		}},
	})
	receiveMaximum := uint16(32) // paho allocates half a megabyte if it is not set
	connect.Properties = &paho.ConnectProperties{ReceiveMaximum: &receiveMaximum}
	connect.CleanStart = true
	if _, err := w.Connect(t.Context(), connect); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-w.Done()
	})
	return w
}

func (w *witness) subscribe(t *testing.T, filter string, qos byte) {
	t.Helper()
	_, err := w.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: filter, QoS: qos}}})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *witness) publish(t *testing.T, topic string, qos byte, payload string) {
	t.Helper()
	if _, err := w.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(payload)}); err != nil {
		t.Fatal(err)
	}
}

func (w *witness) next(t *testing.T) *paho.Publish {
	t.Helper()
	select {
	case p := <-w.received:
		return p
	case <-time.After(patience):
		t.Fatal("nothing was delivered")
		return nil
	}
}

// raw sends and receives MQTT 5 packet by packet. It sends nothing that the test does not send.
type raw struct {
	t *testing.T
	net.Conn
}

// newRaw connects with clean start and without keepalive.
func newRaw(t *testing.T, c net.Conn, id string) raw {
	t.Helper()
	r := raw{t, c}
	if code := r.connect(&v5.Connect{ClientID: id}); code != 0 {
		t.Fatalf("CONNACK 0x%02X", code)
	}
	return r
}

// connect returns the reason code of CONNACK.
func (r raw) connect(p *v5.Connect) byte {
	r.t.Helper()
	p.ProtocolName, p.ProtocolVersion, p.CleanStart = "MQTT", 5, true
	r.send(p)
	return receive[v5.Connack](r).ReasonCode
}

func (r raw) send(p io.WriterTo) {
	r.t.Helper()
	if _, err := p.WriteTo(r.Conn); err != nil {
		r.t.Fatalf("send %T: %v", p, err)
	}
}

func (r raw) publish(id uint16, qos byte) {
	r.t.Helper()
	r.send(&v5.Publish{Topic: "t", QoS: qos, PacketID: id, Payload: []byte("x")})
}

// receive expects the next packet to be a P.
func receive[P any](r raw) *P {
	r.t.Helper()
	cp, err := v5.ReadPacket(r.Conn)
	if err != nil {
		r.t.Fatalf("receive %T: %v", *new(P), err)
	}
	p, ok := any(cp.Content).(*P)
	if !ok {
		r.t.Fatalf("received %T, want %T", cp.Content, p)
	}
	return p
}

// receiveEnd expects the connection to end without a further packet.
func (r raw) receiveEnd() {
	r.t.Helper()
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		r.t.Fatalf("read %d bytes and %v, want EOF", n, err)
	}
}

// connect311 connects as MQTT 3.1.1 and returns the return code of CONNACK.
func connect311(t *testing.T, c net.Conn, id, username, password string) byte {
	t.Helper()
	p := v3.NewControlPacket(v3.Connect).(*v3.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.CleanSession, p.ClientIdentifier = "MQTT", 4, true, id
	p.UsernameFlag, p.Username = username != "", username
	p.PasswordFlag, p.Password = password != "", []byte(password)
	send311(t, c, p)
	return receive311[*v3.ConnackPacket](t, c).ReturnCode
}

func send311(t *testing.T, c net.Conn, p v3.ControlPacket) {
	t.Helper()
	if err := p.Write(c); err != nil {
		t.Fatalf("send %T: %v", p, err)
	}
}

func receive311[P v3.ControlPacket](t *testing.T, c net.Conn) P {
	t.Helper()
	cp, err := v3.ReadPacket(c)
	if err != nil {
		t.Fatalf("receive %T: %v", *new(P), err)
	}
	p, ok := cp.(P)
	if !ok {
		t.Fatalf("received %T, want %T", cp, p)
	}
	return p
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
