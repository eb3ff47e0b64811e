package resume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// resumeProbe has a client with a persistent session vanish, publishes to it, and has it come back as a device does whose
// network was gone: with the same id, and with what it knew.
type probe struct {
	c      *client.Client
	opts   Options
	m      *metrics
	faller *client.Faller
}

// resumeRun is one run.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)

	gone      *client.Member // the client, once it vanished
	fallen    *client.Fallen
	expiry    time.Duration  // for which the broker keeps the session; MQTT 5
	publisher *client.Member // stays, to tell a broker that restarts from one that forgets
	back      *mqtt.Session  // the client that came back
	came      time.Time      // its CONNACK
	t         *message.Tally
	who       string // connects or is being watched now, for people
}

// The roles of a run.
const (
	clientRole    = "client"
	publisherRole = "publisher"
)

// subscribeTime is how long a SUBACK may take.
const subscribeTime = 10 * time.Second

// Run implements [Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	x := &run{probe: p, r: &synthetic.Report{}, emit: emit,
		t: message.NewTally(p.opts.DeliveryTimeout, p.c.Env.Topic(p.c.ClientID(clientRole), "resume"))}
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
func (p *probe) Leave() { p.c.Settle(clientRole) }

// leave ends all connections, and the session at the broker.
func (x *run) leave() {
	x.publisher.Leave()
	x.c.Finish(x.back, clientRole)
	if s := x.gone.Stop(); s != nil {
		x.fallen.End(s)
	}
	x.c.Settle(clientRole)
}

// persistent makes a connection of the client whose session outlives it.
func (x *run) persistent(o *mqtt.Options) {
	client.Polite(o)
	if o.Version == mqtt.V5 {
		o.SessionExpiry = x.opts.SessionExpiry
	} else {
		o.CleanStart = false
	}
}

// vanish begins a session, subscribes, and has the client vanish.
func (x *run) vanish(ctx context.Context) error {
	x.who = "client"
	if x.c.Profile.Protocol != mqtt.V5 { // it cannot ask for a new session that lasts
		s, err := x.c.Join(ctx, clientRole, nil)
		if err != nil {
			return err
		}
		s.Disconnect(0)
	}
	s, err := x.c.Join(ctx, clientRole, x.persistent)
	if err != nil {
		return err
	}
	x.r.SetConnected(s)
	x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()))
	if err = x.subscribe(ctx, s); err == nil {
		x.fallen, err = x.faller.Fall(ctx, s)
	}
	if err != nil {
		x.c.Finish(s, clientRole)
		return err
	}
	x.gone = client.Drive(x.c, clientRole, s, 0, nil)
	x.fallen.Describe(x.r, x.emit)
	return nil
}

// subscribe makes sure that the broker offers what is to be tried, and subscribes.
func (x *run) subscribe(ctx context.Context, s *mqtt.Session) error {
	x.expiry = x.opts.SessionExpiry
	if e := s.Connack().SessionExpiry; e != nil {
		x.expiry = *e
		x.r.AddFact("session expiry", "%s, by the broker's word", *e)
	}
	if x.expiry == 0 {
		return fmt.Errorf("%w: sessions that outlive their connection", mqtt.ErrUnsupported)
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	granted, err := client.Subscribe(s, time.Now().Add(subscribeTime), mqtt.Filter{Topic: x.t.Topic, QoS: 1})
	if err == nil && granted == 0 {
		err = fmt.Errorf("%w: subscriptions at QoS 1", mqtt.ErrUnsupported)
	}
	return err
}

// publish publishes the messages, after a while.
func (x *run) publish(ctx context.Context) error {
	if !clock.Sleep(ctx, x.opts.Away) {
		return client.ContextError(ctx)
	}
	x.who = "publisher"
	s, err := x.c.Join(ctx, publisherRole, client.Polite)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	if err = x.t.Publish(s, 1, x.opts.Messages, x.opts.Size, time.Now().Add(x.opts.DeliveryTimeout)); err != nil {
		x.c.Finish(s, publisherRole)
		return err
	}
	x.publisher = client.Drive(x.c, publisherRole, s, 0, nil)
	return nil
}

// sessionLostError says that the broker has not kept the session.
type sessionLostError struct{}

// Error implements error.
func (sessionLostError) Error() string {
	return "the broker has not kept the session: the client was let in as a new one"
}

// comeBack connects the client again, while the broker still holds its dead connection or has given it up.
func (x *run) comeBack(ctx context.Context) error {
	if end := x.gone.Ended(); client.AnnouncedOtherReason(end) {
		return fmt.Errorf("the broker ended the client's connection for a reason of its own: %s", end)
	}
	x.who = "client that comes back"
	old := x.gone.Stop()
	var err error
	x.back, err = x.c.Join(ctx, clientRole, func(o *mqtt.Options) {
		x.persistent(o)
		o.CleanStart, o.Resume = false, old.State()
	})
	if err != nil {
		return err
	}
	if x.fallen.Mode == netfault.Deaf {
		if err := x.fallen.Held(); err != nil {
			return err
		}
	}
	a := x.back.Account()
	x.came = a.Start.Add(a.Total())
	x.r.AddFact("let in again", "after %s", client.MQTTPhase(x.back))
	present := 0.0
	if x.back.Connack().SessionPresent {
		present = 1
	} else if gone := x.came.Sub(x.fallen.Since); x.back.Version() == mqtt.V5 && gone >= x.expiry {
		return fmt.Errorf("the client was gone for %s, so the session expired by right, after %s", synthetic.FormatDuration(gone), x.expiry)
	}
	x.r.Samples = append(x.r.Samples, x.m.present.Of(present))
	if present == 0 {
		return sessionLostError{}
	}
	return nil
}

// receive takes what was waiting, and what comes twice after that.
func (x *run) receive(ctx context.Context) error {
	over := make(chan struct{})
	var end error
	go func() {
		defer close(over)
		end = x.t.Receive(x.back)
	}()
	defer context.AfterFunc(ctx, x.back.Interrupt)()
	x.t.Await(x.came.Add(x.opts.DeliveryTimeout), over)
	settled := time.NewTimer(x.opts.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-over:
	}
	x.back.Interrupt()
	<-over
	if ctx.Err() != nil {
		return client.ContextError(ctx)
	}
	return end
}

// conclude concludes from the account of the messages, or from what kept a run from its verdict.
func (x *run) conclude(err error) {
	var forgot sessionLostError
	lost := errors.As(err, &forgot)
	if err != nil && !lost {
		x.r.ConcludeFor(x.who, err)
		return
	}
	c := x.t.Count(1)
	for result, n := range map[result]int{resultDelivered: c.Delivered, resultLost: c.Lost, resultDuplicated: c.Duplicated, resultReordered: c.Reordered} {
		if n > 0 {
			x.r.Samples = append(x.r.Samples, x.m.messages.Of(float64(n), string(result)))
		}
	}
	took := x.t.Last.Sub(x.came).Round(time.Microsecond)
	x.r.AddFact("messages", "%d of %d delivered, %d of them again, %d after a later one", c.Delivered, c.Published, c.Duplicated, c.Reordered)
	switch {
	case lost:
		x.r.Fail(disconnect.SessionLost, "%s, and %d messages that were waiting are lost", forgot, c.Published)
	case c.Lost > 0:
		x.r.Fail(disconnect.MessageLost, "%d of %d messages that were waiting did not come within %s", c.Lost, c.Published, x.opts.DeliveryTimeout)
		if c.Delivered == 0 {
			x.r.Detail += fmt.Sprintf("; do the broker's access rules allow to publish and to read %s? With MQTT 3.1.1 a broker cannot say that they do not", x.t.Topic)
		}
	case c.Reordered > 0 && x.opts.Ordered:
		x.r.Fail(disconnect.MessageReordered, "%d of %d messages that were waiting came after a later one", c.Reordered, c.Published)
	default:
		x.r.Outcome, x.r.Detail = synthetic.Success, fmt.Sprintf("%d messages were waiting, and came within %s", c.Published, took)
	}
	if c.Lost == 0 {
		x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds()))
		x.r.AddFact("last message", "after %s", took)
	}
	if end := x.publisher.Ended(); x.r.Outcome == synthetic.Failure && end != nil { // that restarted, or had its connections cut
		x.r.Samples = nil
		x.r.Conclude(fmt.Errorf("%s; but the publisher's connection ended, too, so that is no wonder: %s", x.r.Detail, end))
		x.r.Finding = ""
	}
}
