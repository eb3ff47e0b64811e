package demo

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
)

// spec describes one broker. specs returns all of them.
type spec struct {
	name, summary, expect string
	schemes               []string
	// certificateLife is the lifetime of its server certificate, if a scheme uses TLS.
	certificateLife time.Duration
	// password reports whether clients need the user name and password.
	password bool
	// grace is the part of mochi's keepalive timeout after which a silent client is given up. 0
	// means all of it.
	grace float64
	// balanced puts a balancer in front of the broker that cuts idle connections.
	balanced bool
	hook     func(*broker, setup) mqtt.Hook
}

// setup is what all brokers of one Start share.
type setup struct {
	Options
	ca           *authority
	now          time.Time
	caFile       string
	password     string
	passwordFile string
}

const username = "demo"

func specs() []spec {
	return []spec{
		{
			name:            "healthy",
			summary:         "nothing is wrong: plain TCP, TLS and websockets, anyone may connect",
			expect:          `mqtt_probe_success is 1 for every probe`,
			schemes:         []string{"mqtt", "mqtts", "ws", "wss"},
			certificateLife: 90 * 24 * time.Hour,
			hook:            func(*broker, setup) mqtt.Hook { return new(auth.AllowHook) },
		},
		{
			name:    "zombie",
			summary: "answers pings but acknowledges and delivers nothing after some seconds of a connection; a reconnect helps for a while",
			expect:  `mqtt_probe_zombies_total grows, and mqtt_probe_zombie_reconnects_total with it`,
			schemes: []string{"mqtt"},
			hook:    func(_ *broker, s setup) mqtt.Hook { return newZombieHook(s.ZombieAfter) },
		},
		{
			name:            "expiring",
			summary:         "its certificate expires within a day, everything else is fine",
			expect:          `mqtt_probe_tls_earliest_cert_expiry_timestamp_seconds - time() is below 86400`,
			schemes:         []string{"mqtts"},
			certificateLife: 23 * time.Hour,
			hook:            func(*broker, setup) mqtt.Hook { return new(auth.AllowHook) },
		},
		{
			name:    "dropper",
			summary: "ends every connection after half a minute, alternately with DISCONNECT 0x98 Administrative action and with a bare FIN",
			expect:  `mqtt_probe_session_disconnects_total grows, alternately with reason="admin_action" and with reason="peer_closed"`,
			schemes: []string{"mqtt"},
			hook:    func(b *broker, s setup) mqtt.Hook { return newDropHook(b.server, &b.work, s.DropAfter) },
		},
		{
			name:     "locked",
			summary:  "requires a user name and password, so it must refuse anonymous clients",
			expect:   `mqtt_probe_success{kind="refuse"} is 1: the anonymous client was refused`,
			schemes:  []string{"mqtt"},
			password: true,
			hook:     func(_ *broker, s setup) mqtt.Hook { return newLockHook(username, s.password) },
		},
		{
			name:    "hasty",
			summary: "gives up silent clients after 0.8 of the 1.5 keepalives that the standard allows; those that ping in time stay connected",
			expect:  `mqtt_probe_halfopen_verdicts_total{verdict="early"} grows, and mqtt_probe_sessions{state="connected"} stays at 2`,
			schemes: []string{"mqtt"},
			grace:   .8,
			hook:    func(*broker, setup) mqtt.Hook { return new(auth.AllowHook) },
		},
		{
			name:     "balancer",
			summary:  "a healthy broker, but the balancer in front of it cuts every connection that idles for 20 s",
			expect:   `mqtt_probe_session_disconnects_total{profile="ka60"} grows every 20 s; with keepalive 5s, profile="default", it does not`,
			schemes:  []string{"mqtt"},
			balanced: true,
			hook:     func(*broker, setup) mqtt.Hook { return new(auth.AllowHook) },
		},
	}
}

// start starts the broker and returns its endpoints in the order of the schemes.
func (sp spec) start(ctx context.Context, s setup) (*broker, []Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	var config *tls.Config
	if sp.certificateLife > 0 {
		cert, err := s.ca.serverCertificate(s.now, s.now.Add(sp.certificateLife))
		if err != nil {
			return nil, nil, err
		}
		config = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}

	b := newBroker(s.Logger.With("broker", sp.name))
	if sp.grace > 0 {
		b.grace = sp.grace
	}
	endpoints, err := sp.open(ctx, b, s, config)
	if err != nil {
		return nil, nil, errors.Join(err, b.close())
	}
	return b, endpoints, nil
}

func (sp spec) open(ctx context.Context, b *broker, s setup, config *tls.Config) ([]Endpoint, error) {
	for _, h := range []mqtt.Hook{new(workarounds), sp.hook(b, s)} {
		if err := b.server.AddHook(h, nil); err != nil {
			return nil, err
		}
	}
	var endpoints []Endpoint
	for _, scheme := range sp.schemes {
		e, err := b.listen(ctx, scheme, config)
		if err == nil && sp.balanced {
			e, err = b.balance(ctx, e, s.CutAfter)
		}
		if err != nil {
			return nil, err
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, b.serve()
}

func (sp spec) describe(s setup, endpoints []Endpoint) Broker {
	d := Broker{Name: sp.name, Summary: sp.summary, Expect: sp.expect, Endpoints: endpoints}
	if sp.certificateLife > 0 {
		d.CAFile = s.caFile
	}
	if sp.password {
		d.Username, d.PasswordFile = username, s.passwordFile
	}
	return d
}
