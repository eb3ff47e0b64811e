// Package demo runs MQTT brokers inside the process, one healthy and the others broken on purpose or behind a path that
// is, so that everything pingreq measures can be seen without installing anything. They listen on free ports of 127.0.0.1 only.
//
// The brokers are github.com/mochi-mqtt/server; their faults are hooks and connection wrappers of this package. Where
// mochi 2.7.9 itself would look faulty to a probe, workarounds has a way round it.
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

// Options says where the brokers keep their files and how soon their faults show. Only Dir is required.
type Options struct {
	// Dir is an existing directory for the CA certificate and the password file. The caller removes it after Close.
	Dir string
	// ZombieAfter is the age at which a connection to the broker "zombie" stops being acknowledged; 8 s if zero.
	ZombieAfter time.Duration
	// DropAfter is the age at which the broker "dropper" ends a connection. The default, 28 s, is half a minute but
	// no multiple of the usual keepalives: a close with a ping just due would pass for a keepalive timeout.
	DropAfter time.Duration
	// CutAfter is the time for which the path to the broker "balancer" lets a connection idle; 20 s if zero.
	CutAfter time.Duration
	// Logger receives what the brokers log, at level debug unless it is an error; nil discards it.
	Logger *slog.Logger
}

// Broker is one running broker: what is wrong with it, and how to reach it.
type Broker struct {
	// Name is a short lower-case name, fit to be a target's name.
	Name string
	// Summary says in one line what is wrong with the broker.
	Summary string
	// Expect says in one line what to look for, naming the metric.
	Expect string
	// Endpoints are the broker's listeners, at least one.
	Endpoints []Endpoint
	// CAFile is the PEM file that verifies the TLS endpoints; empty if there are none.
	CAFile string
	// Username is what the broker demands; empty if it lets anyone in.
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
	// TLS says whether the transport is encrypted.
	TLS bool
}

// Brokers are the running brokers.
type Brokers struct {
	// List has the healthy broker first. It must not be changed.
	List []Broker

	close func() error
}

// Start starts all brokers; they accept connections when it returns and run until Close. The context bounds the start
// alone. An error names the broker that did not start, and then none is left running.
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

// Close tells the clients with DISCONNECT 0x8B Server shutting down, closes every connection and listener and waits
// for what served them. Further calls do nothing and return the same.
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
