package session

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// life is one life of a held session. It implements [synthetic.Life].
type life struct {
	*probe
	ctx  context.Context
	emit func(synthetic.Event)
	s    *mqtt.Session
	echo *echo // nil if the option is absent

	connected atomic.Pointer[mqtt.Session] // s, for Interrupt

	stop  func() // stops what runs beside the session; may be called twice
	start *start // while the session waits for its turn to connect

	connectedAt  time.Time // when the CONNACK arrived
	nextTraffic  time.Time
	trafficTopic string
	rtt          struct {
		n               int
		sum, least, top time.Duration
	}
}

// start is an attempt that waits for the connect rate limit.
type start struct {
	options mqtt.Options
	turn    *client.Turn
}

// errLifetime ends a session that has reached its max_lifetime.
var errLifetime = errors.New("max_lifetime")

// zombieError says that pings are answered and publishes are not.
type zombieError struct{ missing string }

// Error implements error.
func (e zombieError) Error() string { return "zombie: missing " + e.missing }

// Step implements [synthetic.Life].
func (l *life) Step() *synthetic.Report {
	goesOn := false
	defer func() {
		if !goesOn { // also after a panic
			l.stop()
			l.enter(stateWaiting)
		}
	}()
	err := l.advance()
	if goesOn = err == nil; goesOn {
		return nil
	}
	l.stop()
	r := &synthetic.Report{}
	l.conclude(r, err)
	return r
}

// Wait implements [synthetic.Life].
func (l *life) Wait() {
	if l.start != nil {
		l.start.turn.Wait()
	} else {
		l.s.Wait()
	}
}

// Interrupt implements [synthetic.Life]. The wait for a turn ends with the context.
func (l *life) Interrupt() {
	if s := l.connected.Load(); s != nil {
		s.Interrupt()
	}
}

// advance does everything that needs no waiting. An error ends the life.
func (l *life) advance() error {
	switch {
	case l.start != nil:
		if err := l.connect(); err != nil {
			return err
		}
		l.reportConnected()
		if err := l.prepare(); err != nil {
			return err
		}
	case l.s == nil:
		return l.queue()
	}
	for {
		e, err := l.s.Poll(l.until())
		if e == nil || err != nil {
			return err
		}
		if err := l.handle(e); err != nil {
			return err
		}
	}
}

// queue prepares a connect and begins to wait for the connect rate limit. The wait is not part of the
// attempt.
func (l *life) queue() error {
	if !l.counted {
		l.enter(stateWaiting)
	}
	o, err := l.c.Options(l.ctx, "")
	if err != nil {
		return err
	}
	l.opts.expect(&o)
	l.start = &start{o, l.c.Queue(l.ctx)}
	return nil
}

// connect makes the connection.
func (l *life) connect() error {
	start := l.start
	l.start = nil
	if err := start.turn.Come(); err != nil {
		return err
	}
	l.enter(stateConnecting)
	ctx, cancel := context.WithTimeout(l.ctx, l.c.Env.Timeout)
	defer cancel()
	var err error
	if l.s, err = l.c.Dial(ctx, "", start.options); err != nil {
		return err
	}
	l.connected.Store(l.s)
	if l.ctx.Err() != nil { // Interrupt may have come before
		l.s.Interrupt()
	}
	return nil
}

// reportConnected emits the event that the broker accepted the session.
func (l *life) reportConnected() {
	a := l.s.Account()
	l.connectedAt = time.Now()
	l.enter(stateConnected)
	e := synthetic.Event{Name: "connected", Phases: a.Phases, TLS: a.TLS,
		Detail:  fmt.Sprintf("connected to %s in %s, keepalive %s", a.Remote, synthetic.FormatDuration(a.Total()), l.s.Keepalive()),
		Samples: []synthetic.Sample{l.m.connects.Of(1), l.m.keepalive.Of(l.s.Keepalive().Seconds())}}
	if l.opts.Echo == nil { // with an echo, only its answers are conclusive
		e.Outcome = synthetic.Success
	}
	l.emit(e)
}

// prepare prepares echo and traffic.
func (l *life) prepare() error {
	id := l.s.ClientID()
	if l.opts.Echo != nil {
		l.echo = newEcho(l, *l.opts.Echo, l.c.Env.Topic(id, "echo"))
		if err := l.echo.subscribe(); err != nil {
			return err
		}
	}
	if l.opts.Traffic == TrafficPublish || l.opts.Traffic == TrafficBoth {
		l.trafficTopic, l.nextTraffic = l.c.Env.Topic(id, "traffic"), time.Now()
	}
	if l.opts.Traffic == TrafficReceive || l.opts.Traffic == TrafficBoth {
		topic := l.c.Env.Topic(id, "receive")
		if _, err := client.Subscribe(l.s, time.Now().Add(l.c.Env.Timeout), mqtt.Filter{Topic: topic}); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(l.ctx)
		var publisher guard.Group
		publisher.Go(func() { l.publishTo(ctx, topic) })
		l.stop = func() {
			cancel()
			publisher.Wait()
		}
	}
	return nil
}

// until returns when the next thing is due. Zero means never.
func (l *life) until() (at time.Time) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	earlier(l.nextTraffic)
	if l.echo != nil {
		earlier(l.echo.due)
	}
	if l.opts.MaxLifetime > 0 {
		earlier(l.connectedAt.Add(l.opts.MaxLifetime))
	}
	if l.state == stateConnected {
		ping, ok := l.s.Unanswered()
		if !ok {
			ping, ok = l.s.NextPing()
		}
		if ok {
			earlier(ping.Add(l.s.PingTimeout() / 2))
		}
	}
	return at
}

// handle handles one event of the session.
func (l *life) handle(e *mqtt.Event) error {
	switch e.Kind {
	case mqtt.Interrupted:
		if l.ctx.Err() != nil {
			return synthetic.ErrStopped
		}
		return nil
	case mqtt.Due:
		return l.onDue(e.At)
	case mqtt.Pong:
		l.proveAlive(e.At)
		l.rtt.n++
		l.rtt.sum += e.RTT
		l.rtt.top = max(l.rtt.top, e.RTT)
		if l.rtt.least == 0 || e.RTT < l.rtt.least {
			l.rtt.least = e.RTT
		}
		pong := synthetic.Event{Name: "pong", Time: e.At, Detail: fmt.Sprintf("PINGRESP after %s", synthetic.FormatDuration(e.RTT)),
			Samples: []synthetic.Sample{l.m.pingDuration.Of(e.RTT.Seconds()), l.m.pings.Of(1, "answered")}}
		if l.echo == nil {
			pong.Outcome = synthetic.Success
		}
		l.emit(pong)
		if l.echo != nil {
			return l.echo.pong(e)
		}
	case mqtt.Ack, mqtt.Delivery:
		l.proveAlive(e.At)
		if l.echo != nil {
			return l.echo.handle(e)
		}
	}
	return nil
}

// onDue does what is due.
func (l *life) onDue(now time.Time) error {
	passed := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if l.opts.MaxLifetime > 0 && passed(l.connectedAt.Add(l.opts.MaxLifetime)) {
		return errLifetime
	}
	if t, ok := l.s.Unanswered(); ok && l.state == stateConnected && passed(t.Add(l.s.PingTimeout()/2)) {
		l.enter(stateBlind)
	}
	if passed(l.nextTraffic) {
		if _, _, err := l.s.Publish(mqtt.Message{Topic: l.trafficTopic, Payload: []byte("pingreq traffic")}); err != nil {
			return err
		}
		if l.nextTraffic = l.nextTraffic.Add(l.opts.TrafficInterval); l.nextTraffic.Before(now) {
			l.nextTraffic = now.Add(l.opts.TrafficInterval)
		}
	}
	if l.echo != nil && passed(l.echo.due) {
		return l.echo.onDue(now)
	}
	return nil
}

// proveAlive counts the time up to at as connected, because a packet from the broker proves it.
func (l *life) proveAlive(at time.Time) {
	if l.state == stateBlind {
		l.enter(stateConnected)
	}
	if l.echo == nil || l.echo.stage == echoIdle { // after a burst, only its answers prove anything
		l.accrue(stateConnected, at)
	}
}

// accrueSample returns the sample that adds the time since the last one to a state.
func (p *probe) accrueSample(state sessionState, at time.Time) []synthetic.Sample {
	d := at.Sub(p.accrued)
	if p.accrued.IsZero() || d <= 0 {
		return nil
	}
	p.accrued = at
	return []synthetic.Sample{p.m.stateSeconds.Of(d.Seconds(), string(state))}
}

// accrue adds the time up to at to a state, and emits the sample.
func (l *life) accrue(state sessionState, at time.Time) {
	if s := l.accrueSample(state, at); s != nil {
		l.emit(synthetic.Event{Name: "accrued", Time: at, Samples: s})
	}
}

// enter moves the session to another state. The time of waiting and connecting is added when it has
// passed. The time of the other states is added when it is proven.
func (l *life) enter(state sessionState) {
	now := time.Now()
	var samples []synthetic.Sample
	if !l.counted {
		l.counted, l.accrued = true, now
	} else {
		if l.state == stateWaiting || l.state == stateConnecting {
			samples = l.accrueSample(l.state, now)
		}
		samples = append(samples, l.m.sessions.Adding(-1, string(l.state)))
	}
	l.state = state
	l.emit(synthetic.Event{Name: string(state), Time: now, Samples: append(samples, l.m.sessions.Adding(1, string(state)))})
}

// conclude ends the session, if it has not ended, and sets the outcome of the report.
func (l *life) conclude(r *synthetic.Report, err error) {
	if l.s == nil {
		r.Conclude(err)
		return
	}
	var zombie zombieError
	end := l.s.Ended()
	ours := false
	switch {
	case errors.As(err, &zombie):
		l.enter(stateZombie)
		r.Fail(disconnect.Zombie, "pings are answered, but %s are missing", map[string]string{"ack": "acknowledgements of publishes", "delivery": "deliveries of publishes"}[zombie.missing])
		end = l.s.Fail(disconnect.DeadlineAck)
		l.afterZombie = true
		r.Samples = append(r.Samples, l.m.zombies.Of(1, zombie.missing))
		r.Samples = append(r.Samples, l.accrueSample(stateZombie, end.Time)...)
	case end != nil:
		r.Conclude(end)
	default: // we end the session
		ours = true
		l.c.Finish(l.s, "")
		end = l.s.Ended()
		switch {
		case !errors.Is(err, synthetic.ErrStopped) && !errors.Is(err, errLifetime):
			r.Conclude(err)
		case l.echo != nil && l.echo.rounds == 0:
			r.Outcome, r.Detail = synthetic.Inconclusive, "we ended the session before the first echo was complete"
		default:
			r.Outcome, r.Detail = synthetic.Success, "alive until "+err.Error()
		}
	}
	if blind := end.Blind(); blind > 0 && r.Finding == "" {
		r.Samples = append(r.Samples, l.m.blind.Of(blind.Seconds()))
		r.Samples = append(r.Samples, l.accrueSample(stateBlind, end.Time)...)
		r.AddDuration("blind", blind, "%s", synthetic.FormatDuration(blind))
	} else if !l.echo.suspicious() {
		r.Samples = append(r.Samples, l.accrueSample(stateConnected, end.Time)...)
	}
	if end.Reason == disconnect.PingrespTimeout {
		r.Samples = append(r.Samples, l.m.pings.Of(1, "timeout"))
	}
	lifetime := end.Time.Sub(l.connectedAt)
	if !ours {
		r.Samples = append(r.Samples, l.m.lifetime.Of(lifetime.Seconds()))
	}
	r.Samples = append(r.Samples, l.m.disconnects.Of(1, string(end.Reason), string(end.Initiator), string(end.Evidence)))
	if l.echo != nil {
		// If we end it ourselves, messages on the way are not lost.
		if r.Outcome == synthetic.Failure {
			r.Samples = append(r.Samples, l.echo.lost()...)
		}
		r.AddNumbers("echo", []synthetic.Number{{Name: "complete", Value: float64(l.echo.rounds)}}, "%d bursts of %d messages were complete", l.echo.rounds, l.echo.o.Burst)
	}
	if end.Reason == disconnect.SessionTakenOver {
		r.Detail += "; check whether another agent with the same agent.id is running"
	}
	r.AddDuration("lifetime", lifetime, "%s", synthetic.FormatDuration(lifetime))
	if n := l.rtt.n; n > 0 {
		mean := l.rtt.sum / time.Duration(n)
		r.AddNumbers("ping", []synthetic.Number{{Name: "answered", Value: float64(n)}, {Name: "shortest_seconds", Value: l.rtt.least.Seconds()},
			{Name: "mean_seconds", Value: mean.Seconds()}, {Name: "longest_seconds", Value: l.rtt.top.Seconds()}},
			"%d answered, %s / %s / %s shortest / mean / longest", n, synthetic.FormatDuration(l.rtt.least), synthetic.FormatDuration(mean), synthetic.FormatDuration(l.rtt.top))
	}
	r.AddFact("end", "%s", end.Ending)
}

// publishTo keeps a second connection that publishes to the session.
func (l *life) publishTo(ctx context.Context, topic string) {
	link := mqtt.Link{Timeout: l.c.Env.Timeout, Wait: l.c.Wait,
		Dial:    func(ctx context.Context, o mqtt.Options) (*mqtt.Session, error) { return l.c.Dial(ctx, "publisher", o) },
		Backoff: mqtt.Backoff{Min: l.opts.BackoffMin, Max: l.opts.BackoffMax},
		Options: func() (mqtt.Options, error) {
			o, err := l.c.Options(ctx, "publisher")
			client.Clean(&o)
			return o, err
		},
		Serve: func(ctx context.Context, s *mqtt.Session) error {
			for next := time.Now(); ; {
				e, err := s.Next(next)
				switch {
				case err != nil:
					return err
				case ctx.Err() != nil:
					return nil
				case e.Kind == mqtt.Due:
					if _, _, err := s.Publish(mqtt.Message{Topic: topic, Payload: []byte("pingreq traffic")}); err != nil {
						return err
					}
					next = e.At.Add(l.opts.TrafficInterval)
				}
			}
		}}
	_ = link.Run(ctx) // it ends only when ctx is done
}
