// Package client makes the MQTT connections of the probes.
//
// A [Client] connects to one target with one profile. It reads passwords and certificates again at
// each connect, obeys the connect rate limit of the target, and makes sure that the broker keeps no
// session after the run. A [Member] is one of several sessions that a run drives at the same time.
// A [Faller] makes a session half-open. A [Listener] keeps subscriptions over a connection that
// reconnects by itself.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Client makes the connections of one probe to one target.
type Client struct {
	// Env is what the agent provides for the probe.
	Env synthetic.Env
	// Profile is how the connections behave.
	Profile *synthetic.Profile
	// Target is the broker to connect to: Env.Target, or the other target of a probe that uses two.
	Target *synthetic.Target

	gate   *synthetic.Gate
	proxy  *url.URL
	source netip.Addr
	cache  tls.ClientSessionCache // nil: always full handshakes

	mu sync.Mutex
	// leftover has the roles for which the broker may still keep a session.
	leftover map[string]bool
	// begun has the roles that have connected. Before that, the broker may still have a session of an
	// agent that was killed.
	begun []string
}

// who returns the client of a role.
func (c *Client) who(role string) synthetic.Borrower {
	return synthetic.Borrower{Probe: c.Env.Identity, Slot: c.Env.Slot, Role: role}
}

// URL returns the parsed URL of the target, with the websocket path of the profile.
func (c *Client) URL() *url.URL {
	u, err := mqtt.ParseURL(c.Target.URL)
	if err != nil {
		panic(err) // New has checked it
	}
	if ws := u.Scheme == "ws" || u.Scheme == "wss"; ws && c.Profile.Websocket.Path != "" {
		u.Path = c.Profile.Websocket.Path
	}
	return u
}

// New returns a client for the target of env. It checks everything that can be checked without a
// connection.
func New(env synthetic.Env, p *synthetic.Profile) (*Client, error) {
	return NewTo(env, p, env.Target, env.Gate)
}

// NewTo is like [New], for another target with its own connect rate limit.
func NewTo(env synthetic.Env, p *synthetic.Profile, t *synthetic.Target, gate *synthetic.Gate) (*Client, error) {
	c := &Client{Env: env, Profile: p, Target: t, gate: gate}
	var err error
	if _, err = mqtt.ParseURL(t.URL); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if p.Proxy != "" {
		if c.proxy, err = url.Parse(p.Proxy); err != nil || !slices.Contains([]string{"socks5", "socks5h", "http"}, c.proxy.Scheme) || c.proxy.Hostname() == "" {
			return nil, fmt.Errorf("profile %s: proxy is not a URL like socks5://host:1080 or http://host:3128", p.Name)
		}
	}
	if p.SourceAddress != "" {
		if c.source, err = netip.ParseAddr(p.SourceAddress); err != nil {
			return nil, fmt.Errorf("profile %s: source_address %q is not an IP address", p.Name, p.SourceAddress)
		}
	}
	if _, err := tlsOffer(p.TLS); err != nil {
		return nil, fmt.Errorf("profile %s: %w", p.Name, err)
	}
	if p.TLS.Resumption {
		c.cache = tls.NewLRUClientSessionCache(4)
	}
	if c.Env.IDs == nil {
		c.Env.IDs = synthetic.NewClientIDs()
	}
	if c.Env.Known == nil {
		c.Env.Known = synthetic.NewKnown()
	}
	if c.Env.Files == nil {
		c.Env.Files = new(files.Reader)
	}
	return c, nil
}

// ClientID returns the client identifier of a role, which counts as ours from now on. It is "" if the
// profile has a fixed pool and all of it is in use.
func (c *Client) ClientID(role string) string {
	e, who := &c.Env, c.who(role)
	if pool := c.Profile.ClientIDs; len(pool) > 0 {
		id := e.IDs.Lend(pool, c.Target.Name, who)
		return e.IDs.Use(who, e.Agent, func(string) string { return id })
	}
	return e.IDs.Use(who, e.Agent, func(agent string) string {
		theirs := c.Env
		theirs.Agent = agent
		return theirs.ClientID(c.Profile.ClientID, role)
	})
}

// Options returns the options of one connection. It reads password and certificates again each
// time. If it cannot read them, this is a fault of our own side. The error is then not an
// [mqtt.End], so the run becomes inconclusive.
func (c *Client) Options(ctx context.Context, role string) (mqtt.Options, error) {
	p, t := c.Profile, c.Target
	o := mqtt.Options{URL: c.URL(), Version: p.Protocol, ClientID: c.ClientID(role), Username: t.Username,
		Password: t.Password, CleanStart: p.CleanStart, SessionExpiry: p.SessionExpiry, Keepalive: p.Keepalive,
		KeepaliveMin: t.KeepaliveBounds.Min, KeepaliveMax: t.KeepaliveBounds.Max, Ping: p.Ping,
		ReceiveMaximum: p.ReceiveMaximum, TCP: p.TCP, Proxy: c.proxy, Source: c.source, IPFamily: p.IPFamily, Sockets: c.Env.Sockets, DialSocket: c.Env.Dial, Open: c.Env.Open, Budget: c.Env.Budget, Late: c.Env.Late, Heard: c.Env.Heard}
	if o.ClientID == "" && len(p.ClientIDs) > 0 {
		return o, &synthetic.UnreadyError{Err: fmt.Errorf("client_ids of profile %s: all %d are in use at target %s: add some (see `pingreq config check`)", p.Name, len(p.ClientIDs), t.Name)}
	}
	if len(p.Websocket.Headers) > 0 {
		o.WSHeader = http.Header{}
		for k, v := range p.Websocket.Headers {
			o.WSHeader.Set(k, v)
		}
	}
	if err := retryRead(ctx, func() error { return c.read(ctx, &o) }); err != nil {
		err = fmt.Errorf("target %s: %w", t.Name, err)
		if errors.Is(err, context.Canceled) {
			return o, err
		}
		return o, &synthetic.UnreadyError{Err: err}
	}
	return o, nil
}

// read reads the files that a connection needs.
func (c *Client) read(ctx context.Context, o *mqtt.Options) (err error) {
	if c.Target.PasswordFile != "" {
		if o.Password, err = c.readPassword(ctx, c.Target.PasswordFile); err != nil {
			return err
		}
	}
	if o.URL.Scheme == "mqtts" || o.URL.Scheme == "wss" {
		o.TLS, err = c.tls(ctx)
		o.VerifyCommonName = c.Target.TLS.VerifyCommonName
	}
	return err
}

// Wait waits for the connect rate limit of the target. If ctx ends first, this is a fault of our
// own side.
func (c *Client) Wait(ctx context.Context) error { return c.wait(ctx, c.Env.Turn) }

func (c *Client) wait(ctx context.Context, turn synthetic.Turn) error {
	t := c.queue(ctx, turn)
	t.Wait()
	return t.Come()
}

// Queue is [Client.Wait] in parts, for an owner of thousands of clients: the caller calls Wait and then
// Come of what it returns.
func (c *Client) Queue(ctx context.Context) *Turn { return c.queue(ctx, c.Env.Turn) }

func (c *Client) queue(ctx context.Context, turn synthetic.Turn) *Turn {
	half, cancel := clock.Half(ctx)
	return &Turn{target: c.Target.Name, cancel: cancel, place: c.gate.Join(half, turn)}
}

// Turn is a wait for the connect rate limit of a target.
type Turn struct {
	target string
	cancel context.CancelFunc
	place  *synthetic.Place
}

// Wait waits until the turn has come, or it is too late. It needs little stack.
func (t *Turn) Wait() { t.place.Wait() }

// Come ends the wait. The error says that the turn has not come.
func (t *Turn) Come() error {
	defer t.cancel()
	err := t.place.Come()
	if missed, ok := errors.AsType[*synthetic.NoTurnError](err); ok {
		if errors.Is(err, context.Canceled) {
			return context.Canceled // we were stopped
		}
		return fmt.Errorf("target %s: %w", t.target, missed)
	}
	return err
}

// Connect waits for the connect rate limit and connects. change may change the options; it may be
// nil.
func (c *Client) Connect(ctx context.Context, role string, change func(*mqtt.Options)) (*mqtt.Session, error) {
	return c.connect(ctx, role, c.Env.Turn, change)
}

func (c *Client) connect(ctx context.Context, role string, turn synthetic.Turn, change func(*mqtt.Options)) (*mqtt.Session, error) {
	o, err := c.Options(ctx, role)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&o)
	}
	if err := c.wait(ctx, turn); err != nil {
		return nil, err
	}
	return c.Dial(ctx, role, o)
}

// Join connects one client of a run, within [ConnectTime]. The session ends with its connection,
// unless change makes it persistent.
func (c *Client) Join(ctx context.Context, role string, change func(*mqtt.Options)) (*mqtt.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, ConnectTime)
	defer cancel()
	return c.Connect(ctx, role, func(o *mqtt.Options) {
		Clean(o)
		if change != nil {
			change(o)
		}
	})
}

// Clean changes the options so that the session ends with its connection.
func Clean(o *mqtt.Options) { o.CleanStart, o.SessionExpiry = true, 0 }

// Expect tells a connection that messages of ours will arrive: at most n a second, each with a
// payload of size bytes. More is a flood.
func Expect(o *mqtt.Options, n, size int) {
	size += expectExtra
	o.Inbound.Messages += n
	o.Inbound.Bytes += n * size
	o.MaxMessage = max(mqtt.DefaultMaxMessage, uint32(size))
}

// expectExtra is how many bytes a PUBLISH may have besides its payload, for the topic and properties
// of a bridge.
const expectExtra = 2048

// Polite sets the ping policy of clients that must not be disconnected, whatever the profile says.
func Polite(o *mqtt.Options) { o.Ping = mqtt.PingPolicy{When: mqtt.PingEither, After: 1} }

// Dial connects. If the broker closes an MQTT 5 connection after CONNECT without a CONNACK, Dial
// finds out whether the MQTT version was the reason.
func (c *Client) Dial(ctx context.Context, role string, o mqtt.Options) (*mqtt.Session, error) {
	lasts, leftover := o.Version == mqtt.V5 && o.SessionExpiry > 0 || o.Version == mqtt.V311 && !o.CleanStart, c.hasLeftover(role)
	var s *mqtt.Session
	var err error
	if lasts {
		err = c.begin(ctx, role, o)
	}
	if err == nil {
		if lasts {
			c.setLeftover(role, true) // from CONNECT on, with or without a CONNACK
		}
		s, err = c.dial(ctx, o)
	}
	if err == nil {
		now := time.Now()
		c.Env.Known.Connected(c.Target.URL, synthetic.Connect{Who: c.who(role), From: now.Add(-MQTTPhase(s)), To: now})
	}
	if err == nil { // a clean session has replaced an older one as well
		c.setBegun(role)
	}
	if end, ok := errors.AsType[*mqtt.End](err); ok {
		if o.Version == mqtt.V5 {
			c.judgeV5(ctx, o, end)
		}
		if lasts && !leftover && (end.Evidence == disconnect.FromConnack || end.Reason == disconnect.NotSupported || end.When.Speaks != "") {
			c.setLeftover(role, false) // refused, so there is no session
		}
	}
	return s, err
}

// begin makes sure that the first lasting session of a role in this process is a new one, and not
// what an agent that was killed has left. It makes a connection with a clean session, which deletes
// any other: in 3.1.1 a session that lasts cannot begin as a new one. In MQTT 5 it can, but Mosquitto
// 2.0 does not store a session that began with Clean Start.
func (c *Client) begin(ctx context.Context, role string, o mqtt.Options) error {
	c.mu.Lock()
	begun := slices.Contains(c.begun, role)
	c.mu.Unlock()
	if begun || o.Resume != nil || o.CleanStart {
		return nil
	}
	first := o
	Clean(&first)
	s, err := c.dial(ctx, first)
	if err != nil {
		return err
	}
	s.Disconnect(0)
	c.setBegun(role)
	return c.wait(ctx, c.Env.Turn)
}

// setBegun records that a role has connected.
func (c *Client) setBegun(role string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.begun, role) {
		c.begun = append(c.begun, role)
	}
}

// Finish ends a session in order and makes sure that the broker does not keep it, whatever the
// profile says. s may be nil.
func (c *Client) Finish(s *mqtt.Session, role string) {
	if s == nil {
		return
	}
	if _, told := s.Forget(); told {
		c.setLeftover(role, false)
	}
	c.Settle(role)
}

// Settle makes the broker delete the session of a role, if it may have one, by replacing it with a
// clean session. This is the only way to end a 3.1.1 session without Clean Session, or a session
// whose connection broke. A broker that has not yet noticed the broken connection may refuse the
// new one at first. NATS closes the client of a second takeover within a second. Settle therefore
// tries again, for at most 3 s. If the agent has no time left, it stops at once.
func (c *Client) Settle(role string) {
	if !c.hasLeftover(role) {
		return
	}
	ctx, cancel := context.WithTimeout(c.Env.Open.Context(), 3*time.Second)
	defer cancel()
	defer func() {
		if c.hasLeftover(role) {
			c.Env.Open.Leave(c.ClientID(role))
		}
	}()
	for {
		s, err := c.connect(ctx, role, synthetic.TurnRun, Clean) // there is little time
		if err == nil {
			s.Disconnect(0)
			c.setLeftover(role, false)
			return
		}
		if end, ok := errors.AsType[*mqtt.End](err); !ok || end.Phase != disconnect.PhaseMQTT || !clock.Sleep(ctx, settleAgain) {
			return
		}
	}
}

// settleAgain is the wait before the next try to end a session.
const settleAgain = 1250 * time.Millisecond

// hasLeftover reports whether the broker may still keep a session of a role.
func (c *Client) hasLeftover(role string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leftover[role]
}

// setLeftover records whether the broker may still keep a session of a role.
func (c *Client) setLeftover(role string, leftover bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !leftover {
		delete(c.leftover, role)
		return
	}
	if c.leftover == nil {
		c.leftover = map[string]bool{}
	}
	c.leftover[role] = true
}
