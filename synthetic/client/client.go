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

	"golang.org/x/time/rate"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// client makes the connections of one probe to one target.
type Client struct {
	Env     synthetic.Env
	Profile *synthetic.Profile
	Target  *synthetic.Target
	gate    *rate.Limiter
	URL     *url.URL
	proxy   *url.URL
	source  netip.Addr
	cache   tls.ClientSessionCache // nil: full handshakes
	v5      v5Support

	mu   sync.Mutex
	owed map[string]bool // roles of which the broker may keep a session
}

// newClient checks what can be checked before a connection is made.
func New(env synthetic.Env, p *synthetic.Profile) (*Client, error) {
	return NewTo(env, p, env.Target, env.Gate)
}

func NewTo(env synthetic.Env, p *synthetic.Profile, t *synthetic.Target, gate *rate.Limiter) (*Client, error) {
	c := &Client{Env: env, Profile: p, Target: t, gate: gate}
	var err error
	if c.URL, err = mqtt.ParseURL(t.URL); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	if ws := c.URL.Scheme == "ws" || c.URL.Scheme == "wss"; ws && p.Websocket.Path != "" {
		c.URL.Path = p.Websocket.Path
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
	if len(p.ClientIDs) > 0 && c.Env.IDs == nil {
		c.Env.IDs = synthetic.NewIDPools()
	}
	return c, nil
}

// clientID is the client identifier of a role; "" if the profile has a fixed pool and all of it is in use.
func (c *Client) ClientID(role string) string {
	if pool := c.Profile.ClientIDs; len(pool) > 0 {
		return c.Env.IDs.Lend(pool, c.Target.Name, synthetic.Borrower{Probe: c.Env.Identity, Slot: c.Env.Slot, Role: role})
	}
	return c.Env.ClientID(c.Profile.ClientID, role)
}

// options makes the options of one connection. Password and certificates are read anew each time; what cannot be read is
// our own fault and no [mqtt.End], which makes a run inconclusive.
func (c *Client) Options(ctx context.Context, role string) (mqtt.Options, error) {
	p, t := c.Profile, c.Target
	o := mqtt.Options{URL: c.URL, Version: p.Protocol, ClientID: c.ClientID(role), Username: t.Username,
		Password: t.Password, CleanStart: p.CleanStart, SessionExpiry: p.SessionExpiry, Keepalive: p.Keepalive, Ping: p.Ping,
		ReceiveMaximum: p.ReceiveMaximum, TCP: p.TCP, Proxy: c.proxy, Source: c.source, IPFamily: p.IPFamily, DialSocket: c.Env.Dial}
	if o.ClientID == "" && len(p.ClientIDs) > 0 {
		return o, fmt.Errorf("client_ids of profile %s: all %d are in use at target %s: add some (see `pingreq config check`)", p.Name, len(p.ClientIDs), t.Name)
	}
	if len(p.Websocket.Headers) > 0 {
		o.WSHeader = http.Header{}
		for k, v := range p.Websocket.Headers {
			o.WSHeader.Set(k, v)
		}
	}
	if err := patiently(ctx, func() error { return c.read(&o) }); err != nil {
		return o, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return o, nil
}

// read reads the files that a connection needs.
func (c *Client) read(o *mqtt.Options) (err error) {
	if c.Target.PasswordFile != "" {
		if o.Password, err = readPassword(c.Target.PasswordFile); err != nil {
			return err
		}
	}
	if c.URL.Scheme == "mqtts" || c.URL.Scheme == "wss" {
		o.TLS, err = c.tls()
	}
	return err
}

// wait waits for the target's connect rate limit. Not to be let through before ctx ends is our own doing.
func (c *Client) Wait(ctx context.Context) error {
	if c.gate == nil {
		return nil
	}
	if err := c.gate.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("connect_rate of target %s: more connects are planned than its %g a second allow: raise it, or lengthen intervals (see `pingreq config check`)", c.Target.Name, float64(c.gate.Limit()))
	}
	return nil
}

// connect waits for the rate limit and connects.
func (c *Client) Connect(ctx context.Context, role string, change func(*mqtt.Options)) (*mqtt.Session, error) {
	o, err := c.Options(ctx, role)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(&o)
	}
	if err := c.Wait(ctx); err != nil {
		return nil, err
	}
	return c.Dial(ctx, role, o)
}

// join connects one of the clients of a run; it leaves no session behind, unless change says otherwise.
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

// clean makes a connection leave no session behind.
func Clean(o *mqtt.Options) { o.CleanStart, o.SessionExpiry = true, 0 }

// polite is the ping policy of the clients that must not be cut, whatever the profile says.
func Polite(o *mqtt.Options) { o.Ping = mqtt.PingPolicy{When: mqtt.PingEither, After: 1} }

// dial connects, and finds out whether a CONNECT that was closed without an answer was closed for its version.
func (c *Client) Dial(ctx context.Context, role string, o mqtt.Options) (*mqtt.Session, error) {
	lasts, owed := o.Version == mqtt.V5 && o.SessionExpiry > 0 || o.Version == mqtt.V311 && !o.CleanStart, c.owes(role)
	if lasts {
		c.owe(role, true) // from CONNECT on, whether its CONNACK comes or not
	}
	s, err := mqtt.Dial(ctx, o)
	if end, ok := errors.AsType[*mqtt.End](err); ok {
		if o.Version == mqtt.V5 {
			c.v5.judge(ctx, c, o, end)
		}
		if lasts && !owed && (end.Evidence == disconnect.FromConnack || end.Reason == disconnect.NotSupported) { // refused: there is no session
			c.owe(role, false)
		}
	}
	return s, err
}

// finish ends a session in order and makes sure that the broker keeps nothing of it, whatever the profile says.
func (c *Client) Finish(s *mqtt.Session, role string) {
	if s == nil {
		return
	}
	if end := s.Forget(); s.Version() == mqtt.V5 && end.Reason == disconnect.ClientDisconnect {
		c.owe(role, false)
	}
	c.Settle(role)
}

// settle makes the broker forget the session of a role, if it may have one, by a clean one in its place. A 3.1.1 session
// without Clean Session has no other end, nor has one whose connection broke off. A broker that has not noticed that yet
// may refuse the other at first; NATS refuses a second takeover within a second.
func (c *Client) Settle(role string) {
	if !c.owes(role) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for {
		s, err := c.Connect(ctx, role, Clean)
		if err == nil {
			s.Disconnect(0)
			c.owe(role, false)
			return
		}
		if end, ok := errors.AsType[*mqtt.End](err); !ok || end.Phase != disconnect.PhaseMQTT || !clock.Sleep(ctx, settleAgain) {
			return
		}
	}
}

// settleAgain is the wait before the next try to end a session.
const settleAgain = 1250 * time.Millisecond

// owes tells whether the broker may keep a session of a role.
func (c *Client) owes(role string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owed[role]
}

// owe notes whether the broker may keep a session of a role.
func (c *Client) owe(role string, owed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !owed {
		delete(c.owed, role)
		return
	}
	if c.owed == nil {
		c.owed = map[string]bool{}
	}
	c.owed[role] = true
}
