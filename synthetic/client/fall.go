package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// ModeAuto stands for the first mode that works: deaf, mute, silent.
const ModeAuto = "auto"

// Faller makes sessions half-open, in the configured mode or in the best mode that works here. It
// belongs to one probe.
type Faller struct {
	mode string // a netfault.Mode, or ModeAuto

	mu   sync.Mutex
	last netfault.Mode // mode of the latest fallen session; "" if none has fallen yet
	// muteFailure is set once mode mute did not work on this path: the broker still received our
	// packets.
	muteFailure error
}

// NewFaller returns a Faller for a mode: one of [netfault.Mode], or [ModeAuto].
func NewFaller(mode string) *Faller { return &Faller{mode: mode} }

// Fallen is a session that is half-open now.
type Fallen struct {
	// Mode is how the session was made half-open.
	Mode netfault.Mode
	// Since is when we sent the last packet that the broker can have received. Detection times are
	// measured from it.
	Since time.Time
	// downgrade says why a better mode did not work, with ModeAuto.
	downgrade string
	// firstTime is true if the session before fell in another mode, or if this is the first one.
	firstTime bool
	fault     *netfault.Fault // nil in mode silent
	// copy is the file descriptor with which the fault holds the socket.
	copy *mqtt.Lease
}

// ExpectedMode returns the mode in which the next session will probably fall.
func (f *Faller) ExpectedMode() netfault.Mode {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.mode != ModeAuto:
		return netfault.Mode(f.mode)
	case f.last != "":
		return f.last
	case netfault.Supported(netfault.Deaf) == nil:
		return netfault.Deaf
	}
	return netfault.Silent
}

// Fall sends a last PINGREQ on a session, waits for its PINGRESP, and makes the session half-open.
// An error that is not an [mqtt.End] is a limit of our own side, and says what to do about it.
func (f *Faller) Fall(ctx context.Context, s *mqtt.Session) (*Fallen, error) {
	release := context.AfterFunc(ctx, s.Interrupt)
	last, err := Ping(s)
	release()
	if err != nil {
		return nil, err
	}
	done := &Fallen{Mode: netfault.Silent, Since: last}
	defer s.FallSilent()
	if f.mode != string(netfault.Silent) {
		if done.copy, err = s.Duplicate(); err != nil {
			return nil, fmt.Errorf("cannot make a client half-open: %w", err)
		}
	}
	switch netfault.Mode(f.mode) {
	case netfault.Silent:
	case netfault.Deaf:
		done.Mode = netfault.Deaf
		done.fault, err = netfault.Apply(s.Conn(), netfault.Deaf)
	case netfault.Mute:
		done.Mode = netfault.Mute
		err = done.mute(ctx, s)
	default:
		f.fallBest(ctx, s, done)
	}
	if err != nil {
		done.copy.Release()
		return nil, fmt.Errorf("cannot make a client half-open: %w (mode auto selects a mode that works)", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	done.firstTime = f.last != done.Mode
	f.last = done.Mode
	return done, nil
}

// Describe adds to a report how the session fell, and emits a warning if it was not the best mode.
func (d *Fallen) Describe(r *synthetic.Report, emit func(synthetic.Event)) {
	r.AddFact("mode", "%s", d.Mode)
	if d.downgrade != "" {
		r.AddFact("why not deaf", "%s", d.downgrade)
		emit(synthetic.Event{Name: "downgraded", Notable: d.firstTime, Detail: fmt.Sprintf("half-open clients vanish in mode %s: %s", d.Mode, d.downgrade)})
	}
}

// fallBest makes the session half-open in the best mode that works.
func (f *Faller) fallBest(ctx context.Context, s *mqtt.Session, done *Fallen) {
	fault, deaf := netfault.Apply(s.Conn(), netfault.Deaf)
	if deaf == nil {
		done.Mode, done.fault = netfault.Deaf, fault
		return
	}
	f.mu.Lock()
	mute := f.muteFailure
	f.mu.Unlock()
	if mute == nil {
		if mute = done.mute(ctx, s); mute == nil {
			done.Mode, done.downgrade = netfault.Mute, deaf.Error()
			return
		}
		if errors.Is(mute, netfault.ErrIneffective) {
			f.mu.Lock()
			f.muteFailure = mute
			f.mu.Unlock()
		}
	}
	done.downgrade = fmt.Sprintf("%s; %s", deaf, mute)
}

// mute makes the session mute, and verifies that the broker receives nothing from it.
func (d *Fallen) mute(ctx context.Context, s *mqtt.Session) error {
	fault, err := netfault.Apply(s.Conn(), netfault.Mute)
	if err != nil {
		return err
	}
	if err = s.Ping(); err == nil { // this PINGREQ must not arrive
		err = fault.Verify(ctx)
	}
	if err != nil {
		_ = fault.Heal()
		d.Since = s.Account().LastSent
		return err
	}
	d.fault = fault
	return nil
}

// FallTime returns how long it may take to make a session of a profile half-open. The time is for
// the last PINGREQ with its PINGRESP, and for verifying that the broker receives nothing more.
func FallTime(p synthetic.Profile) time.Duration { return PingTime(p) + 6*time.Second }

// End ends the fallen session. Nothing of it stays at our side or at the broker.
func (d *Fallen) End(s *mqtt.Session) {
	if d != nil {
		if d.fault != nil {
			_ = d.fault.Reset()
		}
		d.copy.Release()
	}
	s.Abort()
}

// Held returns nil if the session was half-open all the time. Otherwise the error says what was
// wrong.
func (d *Fallen) Held() error {
	if d.fault == nil {
		return nil
	}
	return d.fault.Held()
}
