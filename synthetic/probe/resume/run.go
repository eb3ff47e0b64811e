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
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// probe makes a client with a persistent session vanish, publishes to it, and lets it come back
// like a device whose network was gone: with the same client id and the state of its session.
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

	vanished *client.Member // the client after it vanished
	fallen   *client.Fallen
	// expiry is how long an MQTT 5 broker keeps the session.
	expiry time.Duration
	// publisher stays connected until the end of the run. If its connection ends too, the broker
	// restarted, which is different from a broker that forgets sessions.
	publisher  *client.Member
	returned   *mqtt.Session // the session of the client that came back
	returnedAt time.Time     // when its CONNACK arrived
	tally      *message.Tally
	// denied reports that the broker said that it has no session. every is the time between two messages
	// if the broker hands them out one by one, and too slowly.
	denied bool
	every  time.Duration
	// current is the client that connects or is watched now, for humans to read.
	current string
}

// The roles of a run.
const (
	clientRole    = "client"
	publisherRole = "publisher"
)

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	x := &run{probe: p, r: &synthetic.Report{}, emit: emit,
		tally: message.NewTally(p.opts.DeliveryTimeout, p.c.Env.Topic(p.c.ClientID(clientRole), "resume"))}
	defer x.endSessions()
	err := x.vanish(ctx)
	if err == nil {
		err = x.publish(ctx)
	}
	if err == nil {
		err = x.reconnect(ctx)
	}
	if err == nil {
		err = x.receive(ctx)
	}
	x.conclude(err)
	return x.r
}

// Leave implements [synthetic.Leaver].
func (p *probe) Leave() { p.c.Settle(clientRole) }

// endSessions ends all connections, and the session at the broker.
func (x *run) endSessions() {
	x.publisher.Leave()
	x.c.Finish(x.returned, clientRole)
	if s := x.vanished.Stop(); s != nil {
		x.fallen.End(s)
	}
	x.c.Settle(clientRole)
}

// keepSession changes the options so that the session outlives its connection.
func (x *run) keepSession(o *mqtt.Options) {
	x.expect(o)
	client.Polite(o)
	if o.Version == mqtt.V5 {
		o.SessionExpiry = x.opts.SessionExpiry
	} else {
		o.CleanStart = false
	}
}

// expect tells a connection that all messages, or their acknowledgements, may arrive at once.
func (x *run) expect(o *mqtt.Options) { client.Expect(o, x.opts.Messages, x.opts.Size) }

// vanish begins a session, subscribes, and makes the client vanish.
func (x *run) vanish(ctx context.Context) error {
	x.current = "client"
	if x.c.Profile.Protocol != mqtt.V5 { // a 3.1.1 client cannot ask for a new persistent session
		s, err := x.c.Join(ctx, clientRole, nil)
		if err != nil {
			return err
		}
		s.Disconnect(0)
	}
	s, err := x.c.Join(ctx, clientRole, x.keepSession)
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
	x.vanished = client.Drive(x.c, clientRole, s, 0, nil)
	x.fallen.Describe(x.r, x.emit)
	return nil
}

// subscribe subscribes. It returns an error if the broker does not offer what the run needs.
func (x *run) subscribe(ctx context.Context, s *mqtt.Session) error {
	x.expiry = x.opts.SessionExpiry
	if e := s.Connack().SessionExpiry; e != nil {
		x.expiry = *e
		x.r.AddDuration("session expiry", *e, "%s, announced by the broker", *e)
	}
	if x.expiry == 0 {
		return fmt.Errorf("%w: sessions that outlive their connection", mqtt.ErrUnsupported)
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	granted, err := client.Subscribe(s, time.Now().Add(client.AnswerTime), mqtt.Filter{Topic: x.tally.Topic, QoS: 1})
	if err == nil && granted == 0 {
		err = fmt.Errorf("%w: subscriptions at QoS 1", mqtt.ErrUnsupported)
	}
	return err
}

// publish waits until the client has been away for long enough, and publishes the messages.
func (x *run) publish(ctx context.Context) error {
	if !clock.Sleep(ctx, x.opts.Away) {
		return client.ContextError(ctx)
	}
	x.current = "publisher"
	s, err := x.c.Join(ctx, publisherRole, func(o *mqtt.Options) {
		client.Polite(o)
		x.expect(o)
	})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, s.Interrupt)()
	if err = x.tally.Publish(s, 1, x.opts.Messages, x.opts.Size, time.Now().Add(x.opts.DeliveryTimeout)); err != nil {
		x.c.Finish(s, publisherRole)
		return err
	}
	x.publisher = client.Drive(x.c, publisherRole, s, 0, nil)
	return nil
}

// sessionLostError says that the broker did not keep the session.
type sessionLostError struct{}

// Error implements error.
func (sessionLostError) Error() string {
	return "the broker did not keep the session: it accepted the client as a new one"
}

// reconnect connects the client again. The broker may still hold the dead connection, or may have
// noticed its loss.
func (x *run) reconnect(ctx context.Context) error {
	if end := x.vanished.Ended(); client.AnnouncedOtherReason(end) {
		return fmt.Errorf("the broker ended the client's connection for another reason: %s", end)
	}
	x.current = "client that comes back"
	old := x.vanished.Stop()
	var err error
	x.returned, err = x.c.Join(ctx, clientRole, func(o *mqtt.Options) {
		x.keepSession(o)
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
	a := x.returned.Account()
	x.returnedAt = a.Start.Add(a.Total())
	x.r.AddDuration("accepted again", client.MQTTPhase(x.returned), "after %s", synthetic.FormatDuration(client.MQTTPhase(x.returned)))
	present := 0.0
	if x.returned.Connack().SessionPresent {
		present = 1
	} else if away := x.returnedAt.Sub(x.fallen.Since); x.returned.Version() == mqtt.V5 && away >= x.expiry {
		return fmt.Errorf("the client was gone for %s, so the broker was right to end the session after %s", synthetic.FormatDuration(away), x.expiry)
	}
	x.r.Samples = append(x.r.Samples, x.m.present.Of(present))
	x.denied = present == 0
	return nil
}

// receive receives the messages that were waiting, and then waits for duplicates.
func (x *run) receive(ctx context.Context) error {
	over := make(chan struct{})
	var end error
	var receiver guard.Group
	receiver.Go(func() {
		defer close(over)
		end = x.tally.Receive(x.returned)
	})
	defer context.AfterFunc(ctx, x.returned.Interrupt)()
	x.await(ctx, over)
	settled := time.NewTimer(x.opts.Settle)
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-over:
	}
	x.returned.Interrupt()
	receiver.Wait()
	if ctx.Err() != nil {
		return client.ContextError(ctx)
	}
	if end == nil && x.denied && x.tally.Count(1).Delivered == 0 {
		return sessionLostError{}
	}
	if end == nil && x.tally.Incomplete() {
		return x.checkServed(ctx)
	}
	return end
}

// await waits for the messages that were waiting. If the broker says that it has no session, it listens
// for a while, since ActiveMQ says so and delivers all of them. If some arrived in time and others did
// not, it finds out whether they still come one by one, as NanoMQ hands them out at its retry_interval.
func (x *run) await(ctx context.Context, over <-chan struct{}) {
	until := x.returnedAt.Add(x.opts.DeliveryTimeout)
	if x.denied {
		x.tally.Await(time.Now().Add(min(x.opts.Settle, x.opts.DeliveryTimeout)), over)
		if x.tally.Count(1).Delivered == 0 {
			return
		}
	}
	x.tally.Await(until, over)
	inTime := x.tally.Count(1).Delivered
	if !x.tally.Incomplete() || inTime == 0 {
		return
	}
	more := time.Now().Add(oneByOne)
	if dl, ok := ctx.Deadline(); ok {
		more = earlier(more, dl.Add(-x.opts.Settle-client.CleanUpTime))
	}
	x.tally.Await(more, over)
	if c := x.tally.Count(1); c.Delivered > inTime {
		x.every = x.tally.Last.Sub(x.returnedAt) / time.Duration(c.Delivered)
	}
}

// oneByOne is how long a run waits for one more message: a little longer than NanoMQ's retry_interval.
const oneByOne = 12 * time.Second

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// checkServed returns an error if the broker does not answer a PINGREQ. Then messages that are missing
// are not lost.
func (x *run) checkServed(ctx context.Context) error {
	until := time.Now().Add(x.returned.PingTimeout() + time.Second)
	if dl, ok := ctx.Deadline(); ok {
		until = dl.Add(-client.CleanUpTime)
	}
	answered, err := client.Answers(x.returned, until)
	if err == nil && !answered {
		err = errors.New("messages are missing, but the broker does not answer a PINGREQ either, so it is stopped or stuck, or the path is cut: the run had no time left to tell which")
	}
	return err
}

// conclude sets the outcome from what happened to the messages. err is why the run has no verdict,
// or a [sessionLostError], or nil.
func (x *run) conclude(err error) {
	var forgot sessionLostError
	lost := errors.As(err, &forgot)
	if err != nil && !lost {
		x.r.ConcludeFor(x.current, err)
		return
	}
	c := x.tally.Count(1)
	x.tally.ReportForeign(x.m.foreign, x.r)
	for result, n := range map[result]int{resultDelivered: c.Delivered, resultLost: c.Lost, resultDuplicated: c.Duplicated, resultReordered: c.Reordered} {
		if n > 0 {
			x.r.Samples = append(x.r.Samples, x.m.messages.Of(float64(n), string(result)))
		}
	}
	took := x.tally.Last.Sub(x.returnedAt)
	x.r.AddNumbers("messages", c.Numbers(), "%d of %d delivered, %d further arrivals, %d after a later one", c.Delivered, c.Published, c.Duplicated, c.Reordered)
	switch {
	case lost:
		x.r.Fail(disconnect.SessionLost, "%s, and %d messages that were waiting are lost", forgot, c.Published)
		x.r.AddSign(synthetic.SignUnshared, "a session that was left %s ago is not known", synthetic.FormatDuration(x.returnedAt.Sub(x.fallen.Since)))
	case x.every > 0:
		x.r.Fail(disconnect.DeliveryTimeout, "the broker hands out the messages that were waiting one by one, about every %s: %d of %d came within %s", synthetic.FormatDuration(x.every), c.Delivered, c.Published, synthetic.FormatDuration(took))
	case c.Lost > 0:
		x.r.Fail(disconnect.MessageLost, "%d of %d messages that were waiting did not arrive within %s", c.Lost, c.Published, x.opts.DeliveryTimeout)
		if c.Delivered == 0 {
			x.r.AddSign(synthetic.SignUnshared, "messages that another client published do not reach the session of their subscriber")
			x.r.Detail += fmt.Sprintf("; check whether the broker's access rules allow to publish and to read %s, because an MQTT 3.1.1 broker cannot report that they do not", x.tally.Topic)
		}
	case c.Reordered > 0 && x.opts.Ordered:
		x.r.Fail(disconnect.MessageReordered, "%d of %d messages that were waiting arrived after a later one", c.Reordered, c.Published)
	default:
		x.r.Outcome, x.r.Detail = synthetic.Success, fmt.Sprintf("%d messages were waiting, and all arrived within %s", c.Published, synthetic.FormatDuration(took))
	}
	if x.denied && c.Delivered > 0 {
		x.r.AddSign(synthetic.SignSessionPresent, "the broker says that it kept no session (Session Present 0), and delivers the messages of one: clients that believe it subscribe again, and may get messages twice")
	}
	if c.Lost == 0 {
		x.r.Samples = append(x.r.Samples, x.m.duration.Of(took.Seconds()))
		x.r.AddDuration("last message", took, "after %s", synthetic.FormatDuration(took))
	}
	// The broker restarted, or other connections were cut too.
	if end := x.publisher.Ended(); x.r.Outcome == synthetic.Failure && end != nil {
		x.r.Samples = nil
		x.r.Conclude(fmt.Errorf("%s; but the publisher's connection ended too, so the run proves nothing: %s", x.r.Detail, end))
		x.r.Finding = ""
	}
}
