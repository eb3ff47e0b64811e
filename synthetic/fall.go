package synthetic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// modeAuto stands for the first mode that works: deaf, mute, silent.
const modeAuto = "auto"

// faller makes sessions half-open, in the way that is configured or the best that works here. It belongs to one probe.
type faller struct {
	mode string // a netfault.Mode, or modeAuto

	mu   sync.Mutex
	last netfault.Mode // in which a session fell; "": none yet
	// onLink tells that the path did not let us be mute: the broker heard us all the same.
	onLink error
}

func newFaller(mode string) *faller { return &faller{mode: mode} }

// fallen is a session that is half-open now.
type fallen struct {
	mode  netfault.Mode
	since time.Time // when its last packet left that the broker can have received
	// downgrade tells why a better mode did not work, if the mode was to be found; news that this is the first time.
	downgrade string
	news      bool
	fault     *netfault.Fault // nil in mode silent
}

// expected is the mode in which the next session will fall, as far as is known.
func (f *faller) expected() netfault.Mode {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.mode != modeAuto:
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
func (f *faller) fall(ctx context.Context, s *mqtt.Session) (*fallen, error) {
	release := context.AfterFunc(ctx, s.Interrupt)
	last, err := lastPing(s)
	release()
	if err != nil {
		return nil, err
	}
	done := &fallen{mode: netfault.Silent, since: last}
	defer s.FallSilent()
	switch netfault.Mode(f.mode) {
	case netfault.Silent:
	case netfault.Deaf:
		done.mode = netfault.Deaf
		done.fault, err = netfault.Apply(s.Conn(), netfault.Deaf)
	case netfault.Mute:
		done.mode = netfault.Mute
		err = done.mute(ctx, s)
	default:
		f.best(ctx, s, done)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make a client half-open: %w (mode auto takes what works)", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	done.news = f.last != done.mode
	f.last = done.mode
	return done, nil
}

// tell notes in a report how the session fell, and warns when that is not the best way.
func (d *fallen) tell(r *Report, emit func(Event)) {
	r.fact("mode", "%s", d.mode)
	if d.downgrade != "" {
		r.fact("why not deaf", "%s", d.downgrade)
		emit(Event{Name: "downgraded", Notable: d.news, Detail: fmt.Sprintf("half-open clients vanish in mode %s: %s", d.mode, d.downgrade)})
	}
}

// best falls in the best mode that works.
func (f *faller) best(ctx context.Context, s *mqtt.Session, done *fallen) {
	fault, deaf := netfault.Apply(s.Conn(), netfault.Deaf)
	if deaf == nil {
		done.mode, done.fault = netfault.Deaf, fault
		return
	}
	f.mu.Lock()
	mute := f.onLink
	f.mu.Unlock()
	if mute == nil {
		if mute = done.mute(ctx, s); mute == nil {
			done.mode, done.downgrade = netfault.Mute, deaf.Error()
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
func (d *fallen) mute(ctx context.Context, s *mqtt.Session) error {
	fault, err := netfault.Apply(s.Conn(), netfault.Mute)
	if err != nil {
		return err
	}
	if err = s.Ping(); err == nil { // that must not arrive
		err = fault.Verify(ctx)
	}
	if err != nil {
		_ = fault.Heal()
		d.since = s.Account().LastSent
		return err
	}
	d.fault = fault
	return nil
}

// fallTime is how long a session of a profile may take to fall: a PINGREQ that is answered, and to make sure that the
// broker does not hear it any more.
func fallTime(p Profile) time.Duration { return pingTime(p) + 6*time.Second }

// end ends a session that fell, so that nothing of it stays, neither here nor at the broker.
func (d *fallen) end(s *mqtt.Session) {
	if d != nil && d.fault != nil {
		_ = d.fault.Reset()
	}
	s.Abort()
}

// held tells whether the session was half-open all the time: nil, or what was wrong.
func (d *fallen) held() error {
	if d.fault == nil {
		return nil
	}
	return d.fault.Held()
}
