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

// modeAuto stands for the first mode that works: deaf, mute, silent.
const ModeAuto = "auto"

// faller makes sessions half-open, in the way that is configured or the best that works here. It belongs to one probe.
type Faller struct {
	mode string // a netfault.Mode, or modeAuto

	mu   sync.Mutex
	last netfault.Mode // in which a session fell; "": none yet
	// onLink tells that the path did not let us be mute: the broker heard us all the same.
	onLink error
}

func NewFaller(mode string) *Faller { return &Faller{mode: mode} }

// fallen is a session that is half-open now.
type Fallen struct {
	Mode  netfault.Mode
	Since time.Time // when its last packet left that the broker can have received
	// downgrade tells why a better mode did not work, if the mode was to be found; news that this is the first time.
	downgrade string
	news      bool
	fault     *netfault.Fault // nil in mode silent
}

// expected is the mode in which the next session will fall, as far as is known.
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

// fall has a session send a last PINGREQ, and vanish once it was answered. An error that is no [mqtt.End] is our own
// inability, with what to do about it.
func (f *Faller) Fall(ctx context.Context, s *mqtt.Session) (*Fallen, error) {
	release := context.AfterFunc(ctx, s.Interrupt)
	last, err := LastPing(s)
	release()
	if err != nil {
		return nil, err
	}
	done := &Fallen{Mode: netfault.Silent, Since: last}
	defer s.FallSilent()
	switch netfault.Mode(f.mode) {
	case netfault.Silent:
	case netfault.Deaf:
		done.Mode = netfault.Deaf
		done.fault, err = netfault.Apply(s.Conn(), netfault.Deaf)
	case netfault.Mute:
		done.Mode = netfault.Mute
		err = done.mute(ctx, s)
	default:
		f.best(ctx, s, done)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a client half-open: %w (mode auto takes what works)", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	done.news = f.last != done.Mode
	f.last = done.Mode
	return done, nil
}

// tell notes in a report how the session fell, and warns when that is not the best way.
func (d *Fallen) Describe(r *synthetic.Report, emit func(synthetic.Event)) {
	r.AddFact("mode", "%s", d.Mode)
	if d.downgrade != "" {
		r.AddFact("why not deaf", "%s", d.downgrade)
		emit(synthetic.Event{Name: "downgraded", Notable: d.news, Detail: fmt.Sprintf("half-open clients vanish in mode %s: %s", d.Mode, d.downgrade)})
	}
}

// best falls in the best mode that works.
func (f *Faller) best(ctx context.Context, s *mqtt.Session, done *Fallen) {
	fault, deaf := netfault.Apply(s.Conn(), netfault.Deaf)
	if deaf == nil {
		done.Mode, done.fault = netfault.Deaf, fault
		return
	}
	f.mu.Lock()
	mute := f.onLink
	f.mu.Unlock()
	if mute == nil {
		if mute = done.mute(ctx, s); mute == nil {
			done.Mode, done.downgrade = netfault.Mute, deaf.Error()
			return
		}
		if errors.Is(mute, netfault.ErrIneffective) {
			f.mu.Lock()
			f.onLink = mute
			f.mu.Unlock()
		}
	}
	done.downgrade = fmt.Sprintf("%s; %s", deaf, mute)
}

// mute makes the session mute, and makes sure that the broker does not hear it.
func (d *Fallen) mute(ctx context.Context, s *mqtt.Session) error {
	fault, err := netfault.Apply(s.Conn(), netfault.Mute)
	if err != nil {
		return err
	}
	if err = s.Ping(); err == nil { // that must not arrive
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

// fallTime is how long a session of a profile may take to fall: a PINGREQ that is answered, and to make sure that the
// broker does not hear it any more.
func FallTime(p synthetic.Profile) time.Duration { return PingTime(p) + 6*time.Second }

// end ends a session that fell, so that nothing of it stays, neither here nor at the broker.
func (d *Fallen) End(s *mqtt.Session) {
	if d != nil && d.fault != nil {
		_ = d.fault.Reset()
	}
	s.Abort()
}

// held tells whether the session was half-open all the time: nil, or what was wrong.
func (d *Fallen) Held() error {
	if d.fault == nil {
		return nil
	}
	return d.fault.Held()
}
