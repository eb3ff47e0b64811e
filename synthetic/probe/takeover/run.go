package takeover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// takeoverProbe connects a client, and a second one with the same id while the first is alive or half-open.
type probe struct {
	c      *client.Client
	opts   Options
	m      *metrics
	faller *client.Faller
}

// takeoverRun is one run.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)
	who  string   // connects or is being watched now, for people
	in   []string // how second clients got in
}

// takeoverGap is the time between two takeovers, at least: NATS closes a client that takes over an id for the second time
// within a second.
const gap = 1250 * time.Millisecond

// takeoverRole is the role of both clients, so that they have one id.
const clientRole = "victim"

// Run implements [Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	x := &run{probe: p, r: &synthetic.Report{}, emit: emit}
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

func (x *run) conclude(err error) {
	var stayed notTakenOverError
	switch {
	case err == nil:
		x.r.Outcome, x.r.Detail = synthetic.Success, "the second client was let in "+strings.Join(x.in, ", ")
	case errors.As(err, &stayed):
		x.r.Fail(disconnect.NotTakenOver, "%s", stayed)
	default:
		x.r.ConcludeFor(x.who, err)
	}
}

// takeOver does one takeover.
func (x *run) takeOver(ctx context.Context, kind string) error {
	beside := "beside a " + strings.ReplaceAll(kind, "_", "-") + " one"
	x.who = "first client"
	s, err := x.c.Join(ctx, clientRole, client.Polite)
	if err != nil {
		return err
	}
	if !x.r.Connected {
		x.r.SetConnected(s)
		x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()))
	}
	if err = client.Linger(ctx, s, time.Now().Add(gap)); err != nil {
		x.c.Finish(s, clientRole)
		return err
	}
	var down *client.Fallen
	if kind == victimHalfOpen {
		if down, err = x.faller.Fall(ctx, s); err != nil {
			x.c.Finish(s, clientRole)
			return err
		}
		down.Describe(x.r, x.emit)
	}
	victim := client.Drive(x.c, clientRole, s, 0, nil)
	defer func() {
		if s := victim.Stop(); down != nil {
			down.End(s)
		} else {
			x.c.Finish(s, clientRole)
		}
	}()

	x.who = "second client, " + beside
	s, err = x.c.Join(ctx, clientRole, client.Polite)
	if err != nil {
		return err
	}
	took, came := client.MQTTPhase(s), s.Account().LastReceived
	second := client.Drive(x.c, clientRole, s, 0, nil)
	defer second.Leave()
	x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds(), kind))
	x.in = append(x.in, fmt.Sprintf("%s after %s", beside, took))
	x.r.AddFact(kind, "the second client was let in after %s", took)
	if down == nil {
		err = x.closed(ctx, victim, second, came)
	} else if down.Mode == netfault.Deaf { // of the others it can be seen how the broker closes them
		err = down.Held()
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	_, err = client.LastPing(second.Stop()) // to be let in is one thing, to be served another
	return err
}

// closed waits for the end of a live victim, and makes sure that it was the takeover's. The second client was let in when
// it came.
func (x *run) closed(ctx context.Context, victim, second *client.Member, came time.Time) error {
	timer := time.NewTimer(x.opts.CloseTimeout)
	defer timer.Stop()
	select {
	case <-victim.Done():
	case <-second.Done():
	case <-timer.C:
		return notTakenOverError{fmt.Sprintf("the second client was let in, and the first one is still connected %s later", x.opts.CloseTimeout)}
	case <-ctx.Done():
		return client.ContextError(ctx)
	}
	for _, end := range []*mqtt.End{second.Ended(), victim.Ended()} {
		if client.AnnouncedOtherReason(end) && end.Reason != disconnect.SessionTakenOver && end.Reason != disconnect.PeerClosed { // the latter closes a websocket
			return fmt.Errorf("the broker ended a client for another reason than the takeover: %s", end)
		}
	}
	if end := second.Ended(); end != nil {
		return end
	}
	end := victim.Ended()
	switch end.Evidence {
	case disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify, disconnect.FromDisconnectPacket:
	case disconnect.FromDeadline:
		// An answer that was overdue before says that the broker stood still, not whom it serves.
		if end.Initiator == disconnect.ByServer && end.Time.Add(-victim.Session.PingTimeout()).After(came) {
			return notTakenOverError{"the second client was let in, and the first one was neither closed nor answered: " + end.Detail}
		}
		fallthrough
	default:
		return fmt.Errorf("the first client ended by a fault of its own connection: %s", end)
	}
	x.r.AddFact("first client", "closed by %s (%s)", end.Reason, end.Evidence)
	return nil
}
