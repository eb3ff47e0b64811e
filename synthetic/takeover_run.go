package synthetic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// takeoverProbe connects a client, and a second one with the same id while the first is alive or half-open.
type takeoverProbe struct {
	c      *client
	opts   TakeoverOptions
	m      *takeoverMetrics
	faller *faller
}

// takeoverRun is one run.
type takeoverRun struct {
	*takeoverProbe
	r    *Report
	emit func(Event)
	who  string   // connects or is being watched now, for people
	in   []string // how second clients got in
}

// takeoverGap is the time between two takeovers, at least: NATS closes a client that takes over an id for the second time
// within a second.
const takeoverGap = 1250 * time.Millisecond

// takeoverRole is the role of both clients, so that they have one id.
const takeoverRole = "victim"

// Run implements [Probe].
func (p *takeoverProbe) Run(ctx context.Context, emit func(Event)) *Report {
	x := &takeoverRun{takeoverProbe: p, r: &Report{}, emit: emit}
	var err error
	for _, kind := range p.opts.Victims {
		if err = x.takeOver(ctx, kind); err != nil {
			break
		}
	}
	x.conclude(err)
	return x.r
}

// notTakenOverError says that the first client stayed.
type notTakenOverError struct{ why string }

// Error implements error.
func (e notTakenOverError) Error() string { return e.why }

func (x *takeoverRun) conclude(err error) {
	var stayed notTakenOverError
	switch {
	case err == nil:
		x.r.Outcome, x.r.Detail = Success, "the second client was let in "+strings.Join(x.in, ", ")
	case errors.As(err, &stayed):
		x.r.found(disconnect.NotTakenOver, "%s", stayed)
	default:
		x.r.concludeFor(x.who, err)
	}
}

// takeOver does one takeover.
func (x *takeoverRun) takeOver(ctx context.Context, kind string) error {
	beside := "beside a " + strings.ReplaceAll(kind, "_", "-") + " one"
	x.who = "first client"
	s, err := x.c.join(ctx, takeoverRole, polite)
	if err != nil {
		return err
	}
	if !x.r.Connected {
		x.r.connected(s)
		x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()))
	}
	if err = linger(ctx, s, time.Now().Add(takeoverGap)); err != nil {
		x.c.finish(s, takeoverRole)
		return err
	}
	var down *fallen
	if kind == victimHalfOpen {
		if down, err = x.faller.fall(ctx, s); err != nil {
			x.c.finish(s, takeoverRole)
			return err
		}
		down.tell(x.r, x.emit)
	}
	victim := drive(x.c, takeoverRole, s, 0, nil)
	defer func() {
		if s := victim.stop(); down != nil {
			down.end(s)
		} else {
			x.c.finish(s, takeoverRole)
		}
	}()

	x.who = "second client, " + beside
	s, err = x.c.join(ctx, takeoverRole, polite)
	if err != nil {
		return err
	}
	took, came := mqttPhase(s), s.Account().LastReceived
	second := drive(x.c, takeoverRole, s, 0, nil)
	defer second.leave()
	x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds(), kind))
	x.in = append(x.in, fmt.Sprintf("%s after %s", beside, took))
	x.r.fact(kind, "the second client was let in after %s", took)
	if down == nil {
		err = x.closed(ctx, victim, second, came)
	} else if down.mode == netfault.Deaf { // of the others it can be seen how the broker closes them
		err = down.held()
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	_, err = lastPing(second.stop()) // to be let in is one thing, to be served another
	return err
}

// closed waits for the end of a live victim, and makes sure that it was the takeover's. The second client was let in when
// it came.
func (x *takeoverRun) closed(ctx context.Context, victim, second *member, came time.Time) error {
	timer := time.NewTimer(x.opts.CloseTimeout)
	defer timer.Stop()
	select {
	case <-victim.gone():
	case <-second.gone():
	case <-timer.C:
		return notTakenOverError{fmt.Sprintf("the second client was let in, and the first one is still connected %s later", x.opts.CloseTimeout)}
	case <-ctx.Done():
		return ctxError(ctx)
	}
	for _, end := range []*mqtt.End{second.ended(), victim.ended()} {
		if told(end) && end.Reason != disconnect.SessionTakenOver && end.Reason != disconnect.PeerClosed { // the latter closes a websocket
			return fmt.Errorf("the broker ended a client for another reason than the takeover: %s", end)
		}
	}
	if end := second.ended(); end != nil {
		return end
	}
	end := victim.ended()
	switch end.Evidence {
	case disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify, disconnect.FromDisconnectPacket:
	case disconnect.FromDeadline:
		// An answer that was overdue before says that the broker stood still, not whom it serves.
		if end.Initiator == disconnect.ByServer && end.Time.Add(-victim.s.PingTimeout()).After(came) {
			return notTakenOverError{"the second client was let in, and the first one was neither closed nor answered: " + end.Detail}
		}
		fallthrough
	default:
		return fmt.Errorf("the first client ended by a fault of its own connection: %s", end)
	}
	x.r.fact("first client", "closed by %s (%s)", end.Reason, end.Evidence)
	return nil
}
