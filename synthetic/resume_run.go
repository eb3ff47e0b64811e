package synthetic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// resumeProbe has a client with a persistent session vanish, publishes to it, and has it come back as a device does whose
// network was gone: with the same id, and with what it knew.
type resumeProbe struct {
	c      *client
	opts   ResumeOptions
	m      *resumeMetrics
	faller *faller
}

// resumeRun is one run.
type resumeRun struct {
	*resumeProbe
	r    *Report
	emit func(Event)

	gone      *member // the client, once it vanished
	fallen    *fallen
	expiry    time.Duration // for which the broker keeps the session; MQTT 5
	publisher *member       // stays, to tell a broker that restarts from one that forgets
	back      *mqtt.Session // the client that came back
	came      time.Time     // its CONNACK
	t         *tally
	who       string // connects or is being watched now, for people
}

// The roles of a run.
const (
	resumeRole    = "client"
	publisherRole = "publisher"
)

// subscribeTime is how long a SUBACK may take.
const subscribeTime = 10 * time.Second

// Run implements [Probe].
func (p *resumeProbe) Run(ctx context.Context, emit func(Event)) *Report {
	x := &resumeRun{resumeProbe: p, r: &Report{}, emit: emit,
		t: newTally(p.opts.DeliveryTimeout, p.c.env.topic(p.c.clientID(resumeRole), "resume"))}
	defer x.leave()
	err := x.vanish(ctx)
	if err == nil {
		err = x.publish(ctx)
	}
	if err == nil {
		err = x.comeBack(ctx)
	}
	if err == nil {
		err = x.receive(ctx)
	}
	x.conclude(err)
	return x.r
}

// Leave implements [Leaver].
func (p *resumeProbe) Leave() { p.c.settle(resumeRole) }

// leave ends all connections, and the session at the broker.
func (x *resumeRun) leave() {
	x.publisher.leave()
	x.c.finish(x.back, resumeRole)
	if s := x.gone.stop(); s != nil {
		x.fallen.end(s)
	}
	x.c.settle(resumeRole)
}

// persistent makes a connection of the client whose session outlives it.
func (x *resumeRun) persistent(o *mqtt.Options) {
	polite(o)
	if o.Version == mqtt.V5 {
		o.SessionExpiry = x.opts.SessionExpiry
	} else {
		o.CleanStart = false
	}
}

// vanish begins a session, subscribes, and has the client vanish.
func (x *resumeRun) vanish(ctx context.Context) error {
	x.who = "client"
	if x.c.profile.Protocol != mqtt.V5 { // it cannot ask for a new session that lasts
		s, err := x.c.join(ctx, resumeRole, nil)
		if err != nil {
			return err
		}
		s.Disconnect(0)
	}
	s, err := x.c.join(ctx, resumeRole, x.persistent)
	if err != nil {
		return err
	}
	x.r.connected(s)
	x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()))
	if err = x.subscribe(ctx, s); err == nil {
		x.fallen, err = x.faller.fall(ctx, s)
	}
	if err != nil {
		x.c.finish(s, resumeRole)
		return err
	}
	x.gone = drive(x.c, resumeRole, s, 0, nil)
	x.fallen.tell(x.r, x.emit)
	return nil
}

// subscribe makes sure that the broker offers what is to be tried, and subscribes.
func (x *resumeRun) subscribe(ctx context.Context, s *mqtt.Session) error {
	x.expiry = x.opts.SessionExpiry
	if e := s.Connack().SessionExpiry; e != nil {
		x.expiry = *e
		x.r.fact("session expiry", "%s, by the broker's word", *e)
	}
	if x.expiry == 0 {
		return fmt.Errorf("%w: sessions that outlive their connection", mqtt.ErrUnsupported)
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	granted, err := subscribe(s, time.Now().Add(subscribeTime), mqtt.Filter{Topic: x.t.topic, QoS: 1})
	if err == nil && granted == 0 {
		err = fmt.Errorf("%w: subscriptions at QoS 1", mqtt.ErrUnsupported)
	}
	return err
}

// publish publishes the messages, after a while.
func (x *resumeRun) publish(ctx context.Context) error {
	if !clock.Sleep(ctx, x.opts.Away) {
		return ctxError(ctx)
	}
	x.who = "publisher"
	s, err := x.c.join(ctx, publisherRole, polite)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	if err = x.t.publish(s, 1, x.opts.Messages, x.opts.Size, time.Now().Add(x.opts.DeliveryTimeout)); err != nil {
		x.c.finish(s, publisherRole)
		return err
	}
	x.publisher = drive(x.c, publisherRole, s, 0, nil)
	return nil
}

// sessionLostError says that the broker has not kept the session.
type sessionLostError struct{}

// Error implements error.
func (sessionLostError) Error() string {
	return "the broker has not kept the session: the client was let in as a new one"
}

// comeBack connects the client again, while the broker still holds its dead connection or has given it up.
func (x *resumeRun) comeBack(ctx context.Context) error {
	if end := x.gone.ended(); told(end) {
		return fmt.Errorf("the broker ended the client's connection for a reason of its own: %s", end)
	}
	x.who = "client that comes back"
	old := x.gone.stop()
	var err error
	x.back, err = x.c.join(ctx, resumeRole, func(o *mqtt.Options) {
		x.persistent(o)
		o.CleanStart, o.Resume = false, old.State()
	})
	if err != nil {
		return err
	}
	if x.fallen.mode == netfault.Deaf {
		if err := x.fallen.held(); err != nil {
			return err
		}
	}
	a := x.back.Account()
	x.came = a.Start.Add(a.Total())
	x.r.fact("let in again", "after %s", mqttPhase(x.back))
	present := 0.0
	if x.back.Connack().SessionPresent {
		present = 1
	} else if gone := x.came.Sub(x.fallen.since); x.back.Version() == mqtt.V5 && gone >= x.expiry {
		return fmt.Errorf("the client was gone for %s, so the session expired by right, after %s", forPeople(gone), x.expiry)
	}
	x.r.Samples = append(x.r.Samples, x.m.present.Of(present))
	if present == 0 {
		return sessionLostError{}
	}
	return nil
}

// receive takes what was waiting, and what comes twice after that.
func (x *resumeRun) receive(ctx context.Context) error {
	over := make(chan struct{})
	var end error
	go func() {
		defer close(over)
		end = x.t.receive(x.back)
	}()
	defer context.AfterFunc(ctx, x.back.Interrupt)()
	x.t.await(x.came.Add(x.opts.DeliveryTimeout), over)
	settled := time.NewTimer(x.opts.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-over:
	}
	x.back.Interrupt()
	<-over
	if ctx.Err() != nil {
		return ctxError(ctx)
	}
	return end
}

// conclude concludes from the account of the messages, or from what kept a run from its verdict.
func (x *resumeRun) conclude(err error) {
	var forgot sessionLostError
	lost := errors.As(err, &forgot)
	if err != nil && !lost {
		x.r.concludeFor(x.who, err)
		return
	}
	c := x.t.count(1)
	for result, n := range map[resumeResult]int{resumeDelivered: c.delivered, resumeLost: c.lost, resumeDuplicated: c.duplicated, resumeReordered: c.reordered} {
		if n > 0 {
			x.r.Samples = append(x.r.Samples, x.m.messages.Of(float64(n), string(result)))
		}
	}
	took := x.t.last.Sub(x.came).Round(time.Microsecond)
	x.r.fact("messages", "%d of %d delivered, %d of them again, %d after a later one", c.delivered, c.published, c.duplicated, c.reordered)
	switch {
	case lost:
		x.r.found(disconnect.SessionLost, "%s, and %d messages that were waiting are lost", forgot, c.published)
	case c.lost > 0:
		x.r.found(disconnect.MessageLost, "%d of %d messages that were waiting did not come within %s", c.lost, c.published, x.opts.DeliveryTimeout)
		if c.delivered == 0 {
			x.r.Detail += fmt.Sprintf("; do the broker's access rules allow to publish and to read %s? With MQTT 3.1.1 a broker cannot say that they do not", x.t.topic)
		}
	case c.reordered > 0 && x.opts.Ordered:
		x.r.found(disconnect.MessageReordered, "%d of %d messages that were waiting came after a later one", c.reordered, c.published)
	default:
		x.r.Outcome, x.r.Detail = Success, fmt.Sprintf("%d messages were waiting, and came within %s", c.published, took)
	}
	if c.lost == 0 {
		x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds()))
		x.r.fact("last message", "after %s", took)
	}
	if end := x.publisher.ended(); x.r.Outcome == Failure && end != nil { // that restarted, or had its connections cut
		x.r.Samples = nil
		x.r.conclude(fmt.Errorf("%s; but the publisher's connection ended, too, so that is no wonder: %s", x.r.Detail, end))
		x.r.Finding = ""
	}
}
