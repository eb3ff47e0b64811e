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

// probe connects a client, and then a second one with the same client id while the first one is
// alive or half-open.
type probe struct {
	c      *client.Client
	opts   Options
	m      *metrics
	faller *client.Faller
}

// run is one run of the probe.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)
	// current is the client that connects or is watched now, for humans to read.
	current string
	// letIn says how the second clients were accepted, for humans to read.
	letIn []string
}

// takeoverGap is the least time between two takeovers. NATS closes a client that takes over a
// client id for the second time within a second.
const takeoverGap = 1250 * time.Millisecond

// clientRole is the role of both clients, so that they have the same client id.
const clientRole = "victim"

// Run implements [synthetic.Probe].
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

// notTakenOverError says that the first client stayed connected.
type notTakenOverError struct{ why string }

// Error implements error.
func (e notTakenOverError) Error() string { return e.why }

// conclude sets the outcome. err is why the run stopped early, or nil.
func (x *run) conclude(err error) {
	var stayed notTakenOverError
	switch {
	case err == nil:
		x.r.Outcome, x.r.Detail = synthetic.Success, "the broker accepted the second client "+strings.Join(x.letIn, ", ")
	case errors.As(err, &stayed):
		x.r.Fail(disconnect.NotTakenOver, "%s", stayed)
		x.r.AddSign(synthetic.SignUnshared, "two clients with one identifier stayed connected")
	default:
		x.r.ConcludeFor(x.current, err)
	}
}

// takeOver makes one takeover from a victim.
func (x *run) takeOver(ctx context.Context, kind string) error {
	where := "beside a " + strings.ReplaceAll(kind, "_", "-") + " one"
	x.current = "first client"
	s, err := x.c.Join(ctx, clientRole, client.Polite)
	if err != nil {
		return err
	}
	if !x.r.Connected {
		x.r.SetConnected(s)
		x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()))
	}
	if err = client.Linger(ctx, s, time.Now().Add(takeoverGap)); err != nil {
		x.c.Finish(s, clientRole)
		return err
	}
	var fallen *client.Fallen
	if kind == victimHalfOpen {
		if fallen, err = x.faller.Fall(ctx, s); err != nil {
			x.c.Finish(s, clientRole)
			return err
		}
		fallen.Describe(x.r, x.emit)
	}
	victim := client.Drive(x.c, clientRole, s, 0, nil)
	defer func() {
		if s := victim.Stop(); fallen != nil {
			fallen.End(s)
		} else {
			x.c.Finish(s, clientRole)
		}
	}()

	x.current = "second client " + where
	s, err = x.c.Join(ctx, clientRole, client.Polite)
	if err != nil {
		return err
	}
	took, came := client.MQTTPhase(s), s.Account().LastReceived
	second := client.Drive(x.c, clientRole, s, 0, nil)
	defer second.Leave()
	x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds(), kind))
	x.letIn = append(x.letIn, fmt.Sprintf("%s after %s", where, synthetic.FormatDuration(took)))
	x.r.AddDuration(kind, took, "the broker accepted the second client after %s", synthetic.FormatDuration(took))
	if fallen == nil {
		err = x.awaitClose(ctx, victim, second, came)
	} else if fallen.Mode == netfault.Deaf { // in other modes the close reaches the victim
		err = fallen.Held()
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	_, err = client.Ping(second.Stop()) // being accepted does not mean being served
	return err
}

// awaitClose waits until the broker ends the connection of a live victim, and checks that the
// takeover was the reason. came is when the CONNACK of the second client arrived.
func (x *run) awaitClose(ctx context.Context, victim, second *client.Member, came time.Time) error {
	timer := time.NewTimer(x.opts.CloseTimeout)
	defer timer.Stop()
	select {
	case <-victim.Done():
	case <-second.Done():
	case <-timer.C:
		return notTakenOverError{fmt.Sprintf("the broker accepted the second client, but the first one is still connected %s later", x.opts.CloseTimeout)}
	case <-ctx.Done():
		return client.ContextError(ctx)
	}
	for _, end := range []*mqtt.End{second.Ended(), victim.Ended()} {
		// A websocket that the broker closed has the reason PeerClosed.
		if client.AnnouncedOtherReason(end) && end.Reason != disconnect.SessionTakenOver && end.Reason != disconnect.PeerClosed {
			return fmt.Errorf("the broker ended a client's connection for another reason than the takeover: %s", end)
		}
	}
	if end := second.Ended(); end != nil {
		return end
	}
	end := victim.Ended()
	switch end.Evidence {
	case disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify, disconnect.FromDisconnectPacket:
	case disconnect.FromDeadline:
		// If the PINGRESP was overdue before the takeover, the broker was stopped for a while. This
		// does not show which client it serves.
		if end.Initiator == disconnect.ByServer && end.Time.Add(-victim.Session.PingTimeout()).After(came) {
			return notTakenOverError{"the broker accepted the second client, but neither closed the first one nor answered it: " + end.Detail}
		}
		fallthrough
	default:
		return fmt.Errorf("the connection of the first client failed by itself: %s", end)
	}
	x.r.AddFact("first client", "closed by %s (%s)", end.Reason, end.Evidence)
	return nil
}
