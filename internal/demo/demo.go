// Package demo runs MQTT brokers inside the process. One is healthy. The others are broken on
// purpose, or the path to them is. They show everything that pingreq measures without installing
// anything. They listen only on free ports of 127.0.0.1.
//
// The brokers are github.com/mochi-mqtt/server. Hooks and connection wrappers of this package make
// their faults. The hook workarounds avoids faults of mochi 2.7.9 itself that a probe would see.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options says where the brokers keep their files and how soon their faults appear. Only Dir is
// required.
type Options struct {
	// Dir is an existing directory for the CA certificate and the password file. The caller removes
	// it after Close.
	Dir string
	// ZombieAfter is the age at which the broker "zombie" stops acknowledging on a connection. 0
	// means 8 s.
	ZombieAfter time.Duration
	// DropAfter is the age at which the broker "dropper" ends a connection. 0 means 28 s. That is
	// about half a minute but not a multiple of the usual keepalives: a close while a ping is just
	// due would look like a keepalive timeout.
	DropAfter time.Duration
	// CutAfter is how long the balancer in front of the broker "balancer" lets a connection idle
	// before it cuts it. 0 means 20 s.
	CutAfter time.Duration
	// Logger receives the log of the brokers, at level debug except errors. nil discards it.
	Logger *slog.Logger
}

// Broker is a running broker: what is wrong with it, and how to connect to it.
type Broker struct {
	// Name is a short lower-case name that can be used as a target's name.
	Name string
	// Summary says in one line what is wrong with the broker.
	Summary string
	// Expect says in one line what to look for, and names the metric.
	Expect string
	// Endpoints are the broker's listeners, at least one.
	Endpoints []Endpoint
	// CAFile is the PEM file that verifies the TLS endpoints. It is empty if there are none.
	CAFile string
	// Username is the user name that the broker requires. It is empty if anybody may connect.
	Username string
	// PasswordFile holds the password that goes with Username, without a newline.
	PasswordFile string
}

// Endpoint is one listener of a broker.
type Endpoint struct {
	// URL has the scheme mqtt, mqtts, ws or wss, a numeric address and a port.
	URL string
	// Transport is "tcp" or "websocket".
	Transport string
	// TLS reports whether the transport is encrypted.
	TLS bool
}

// Brokers are the running brokers.
type Brokers struct {
	// List holds the brokers, the healthy one first. It must not be changed.
	List []Broker

	close func() error
}

// Start starts all brokers. When it returns, they accept connections, and they run until Close. The
// context applies only to the start. If a broker does not start, the error names it and none is
// left running.
func Start(ctx context.Context, o Options) (*Brokers, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}

	now := time.Now()
	ca, err := newAuthority(now)
	if err != nil {
		return nil, err
	}
	s := setup{Options: o, ca: ca, now: now, password: rand.Text()}
	s.caFile = filepath.Join(o.Dir, "ca.pem")
	if err := ca.writeFile(s.caFile); err != nil {
		return nil, err
	}
	s.passwordFile = filepath.Join(o.Dir, "locked.password")
	if err := os.WriteFile(s.passwordFile, []byte(s.password), 0o600); err != nil {
		return nil, fmt.Errorf("write the demo's password file: %w", err)
	}

	var running []*broker
	b := &Brokers{close: sync.OnceValue(func() error {
		errs := make([]error, len(running))
		var wg sync.WaitGroup
		for i, r := range running {
			wg.Go(func() { errs[i] = r.close() })
		}
		wg.Wait()
		return errors.Join(errs...)
	})}
	for _, sp := range specs() {
		r, endpoints, err := sp.start(ctx, s)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start demo broker %q: %w", sp.name, err), b.Close())
		}
		running = append(running, r)
		b.List = append(b.List, sp.describe(s, endpoints))
	}
	return b, nil
}

// Close sends the clients DISCONNECT 0x8B Server shutting down, closes every connection and
// listener, and waits for the goroutines that served them. Further calls do nothing and return the
// same result.
func (b *Brokers) Close() error { return b.close() }

func (o *Options) complete() error {
	if o.Dir == "" {
		return errors.New("demo brokers need a directory for their certificates: set Dir")
	}
	if o.ZombieAfter < 0 || o.DropAfter < 0 || o.CutAfter < 0 {
		return errors.New("ZombieAfter, DropAfter and CutAfter of the demo brokers must not be negative")
	}
	if o.ZombieAfter == 0 {
		o.ZombieAfter = 8 * time.Second
	}
	if o.DropAfter == 0 {
		o.DropAfter = 28 * time.Second
	}
	if o.CutAfter == 0 {
		o.CutAfter = 20 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
