package synthetic

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// halfopenProbe has a victim vanish and measures when the broker notices. Beside the victim it has an observer, to whom
// the Will goes; a control, whose Will proves that it can arrive; a twin, which pings at the victim's keepalive
// throughout and shows that living clients stay; and an idler, which says as little as the victim but has a keepalive
// that allows it: what cuts it is the path.
type halfopenProbe struct {
	c      *client
	opts   HalfopenOptions
	m      *halfopenMetrics
	faller *faller
}

// halfopenRun is one run.
type halfopenRun struct {
	*halfopenProbe
	r    *Report
	emit func(Event)

	willQoS                       byte
	will                          string // payload of the victim's
	observer, twin, idler, victim *member
	fallen                        *fallen
	keepalive                     time.Duration // effective
	limits                        detectionLimits
	closeTime                     time.Duration // after which the broker closed the victim's connection; 0: not seen
}

// Run implements [Probe].
func (p *halfopenProbe) Run(ctx context.Context, emit func(Event)) *Report {
	// Of lateness a run can bear some: the limits of the verdicts are further apart.
	x := &halfopenRun{halfopenProbe: p, r: &Report{tolerance: min(p.c.profile.Keepalive/4, time.Second)}, emit: emit}
	defer x.leave()
	err := x.assemble(ctx)
	if err == nil {
		err = x.fall(ctx)
	}
	if err == nil {
		err = x.watch(ctx)
	}
	x.conclude(ctx, err)
	return x.r
}

// conclude concludes from what kept a run from its verdict; nil: nothing did.
func (x *halfopenRun) conclude(ctx context.Context, err error) {
	var missing willMissingError
	end, isEnd := errors.AsType[*mqtt.End](err)
	switch {
	case err == nil:
	case errors.As(err, &missing):
		x.verdict(verdictWillMissing, "%s", err)
	case isEnd && end.Phase == disconnect.PhaseEstablished && !told(end) && x.others(ctx, 0) == nil && x.spoiled() == nil && x.pathCut(x.keepalive) != "":
		x.verdict(verdictPathCut, "the client was cut while it lived as its profile says (%s), and so was %s: the path ends connections that idle",
			end.Evidence, x.pathCut(x.keepalive))
	case isEnd && end.Phase == disconnect.PhaseEstablished && end.Evidence != disconnect.FromSuback: // which other probes judge
		x.r.conclude(fmt.Errorf("a client's connection ended before there was a half-open one: %s", end))
	default:
		x.r.conclude(err)
	}
}

// leave ends all sessions.
func (x *halfopenRun) leave() {
	if s := x.victim.stop(); s != nil {
		x.fallen.end(s)
	}
	for _, m := range []*member{x.idler, x.twin, x.observer} {
		m.leave()
	}
}

// assemble connects everybody, up to the victim, and proves that the Will arrives.
func (x *halfopenRun) assemble(ctx context.Context) error {
	observer, err := x.c.join(ctx, "observer", func(o *mqtt.Options) {
		// It must outlive what cuts the others, so it never lets the line grow cold.
		o.Ping = mqtt.PingPolicy{When: mqtt.PingEither, After: min(1, max(1/o.Keepalive.Seconds(), .1))}
	})
	if err != nil {
		return err
	}
	x.willQoS = min(1, observer.Connack().MaximumQoS)
	for _, role := range []string{"control", "victim"} {
		if _, err := subscribe(observer, time.Now().Add(connectTime), mqtt.Filter{Topic: x.willTopic(role), QoS: x.willQoS}); err != nil {
			x.c.finish(observer, "observer")
			return err
		}
	}
	every, duty := x.downstream()
	x.observer = drive(x.c, "observer", observer, every, duty)
	if err := x.control(ctx); err != nil {
		return err
	}
	twin, err := x.c.join(ctx, "twin", polite)
	if err != nil {
		return err
	}
	x.twin = drive(x.c, "twin", twin, 0, nil)
	x.keepalive = x.c.target.effective(twin)
	x.limits = halfopenLimits(x.keepalive, &x.opts)
	x.idle(ctx)
	return nil
}

func (x *halfopenRun) willTopic(role string) string {
	return x.c.env.topic(x.c.clientID(role), "will")
}

func (x *halfopenRun) downTopic() string {
	return x.c.env.topic(x.c.clientID("victim"), "down")
}

// downstream is what the observer does for the option of that name.
func (x *halfopenRun) downstream() (time.Duration, func(*mqtt.Session) error) {
	if !x.opts.Downstream {
		return 0, nil
	}
	return x.opts.DownstreamInterval, func(s *mqtt.Session) error {
		_, _, err := s.Publish(mqtt.Message{Topic: x.downTopic(), QoS: x.willQoS, Payload: []byte("pingreq downstream")})
		return err
	}
}

// willMissingError says that the Will does not arrive, though a connection broke for certain.
type willMissingError struct{ why string }

// Error implements error.
func (e willMissingError) Error() string { return e.why }

// control proves that a Will arrives at all: a client with one is ended by RST.
func (x *halfopenRun) control(ctx context.Context) error {
	will := rand.Text()
	s, err := x.c.join(ctx, "control", x.withWill("control", will))
	if end, ok := errors.AsType[*mqtt.End](err); ok && end.Evidence == disconnect.FromConnack && (end.Reason == disconnect.NotAuthorized || end.Reason == disconnect.NotSupported) {
		return willMissingError{fmt.Sprintf("a client with a Will on %s is refused, one without is let in: %s", x.willTopic("control"), end.Detail)}
	}
	if err != nil {
		return err
	}
	s.Abort()
	timer := time.NewTimer(connectTime)
	defer timer.Stop()
	for {
		select {
		case e := <-x.observer.mail:
			if string(e.Msg.Payload) == will {
				return nil
			}
		case <-x.observer.gone():
			return x.lost(x.observer)
		case <-timer.C:
			return willMissingError{fmt.Sprintf("a client was ended by RST, and its Will on %s did not reach its subscriber within %s: do the broker's access rules allow to publish and to read %s/#?",
				x.willTopic("control"), connectTime, x.c.env.prefix())}
		case <-ctx.Done():
			return ctxError(ctx)
		}
	}
}

// withWill gives a client a Will.
func (x *halfopenRun) withWill(role, payload string) func(*mqtt.Options) {
	return func(o *mqtt.Options) {
		o.Will = &mqtt.Will{Topic: x.willTopic(role), Payload: []byte(payload), QoS: x.willQoS}
	}
}

// lost makes a run inconclusive that lost one of its helpers.
func (x *halfopenRun) lost(m *member) error {
	return fmt.Errorf("the %s's connection ended in the middle of the run, so nothing can be said of the victim: %s", m.role, m.ended())
}

// idle connects the idler, if the broker grants it a keepalive that lets it idle for longer than a run takes.
func (x *halfopenRun) idle(ctx context.Context) {
	want := (x.limits.deadline + time.Second).Truncate(time.Second)
	if b := x.c.target.KeepaliveBounds.Max; b > 0 {
		want = min(want, b)
	}
	s, err := x.c.join(ctx, "idler", func(o *mqtt.Options) {
		polite(o)
		o.Keepalive = min(max(o.Keepalive, want), mqtt.MaxKeepalive)
	})
	switch {
	case err != nil:
		x.r.fact("idler", "none: %s", err)
	case x.c.target.effective(s) < x.limits.early:
		x.r.fact("idler", "none: the broker limits it to a keepalive of %s, and would end it like the victim", x.c.target.effective(s))
		x.c.finish(s, "idler")
	default:
		x.idler = drive(x.c, "idler", s, 0, nil)
	}
}

// fall connects the victim, has it live for a random part of its keepalive, so that the broker's own timers are met at
// any phase, and then vanish.
func (x *halfopenRun) fall(ctx context.Context) error {
	x.will = rand.Text()
	s, err := x.c.join(ctx, "victim", x.withWill("victim", x.will))
	if err != nil {
		return err
	}
	x.r.connected(s)
	x.keepalive = x.c.target.effective(s)
	x.limits = halfopenLimits(x.keepalive, &x.opts)
	x.r.Samples = append(x.r.Samples, x.m.common.Keepalive.Of(s.Keepalive().Seconds()),
		x.m.limit.Of(x.limits.early.Seconds(), "early"), x.m.limit.Of(x.limits.late.Seconds(), "late"))
	if err := x.live(ctx, s); err != nil {
		x.c.finish(s, "victim")
		return err
	}
	if x.idler != nil { // from now on it says nothing, like the victim
		idler := x.idler.stop()
		_ = idler.Ping()
		x.idler = drive(x.c, "idler", idler, 0, nil)
	}
	if x.fallen, err = x.faller.fall(ctx, s); err != nil {
		x.c.finish(s, "victim")
		return err
	}
	x.victim = drive(x.c, "victim", s, 0, nil)
	x.fallen.tell(x.r, x.emit)
	return nil
}

// live is the victim's life from CONNACK to its fall.
func (x *halfopenRun) live(ctx context.Context, s *mqtt.Session) error {
	defer context.AfterFunc(ctx, s.Interrupt)()
	if x.opts.Downstream {
		if _, err := subscribe(s, time.Now().Add(connectTime), mqtt.Filter{Topic: x.downTopic(), QoS: x.willQoS}); err != nil {
			return err
		}
	}
	phase := mathrand.N(x.keepalive)
	if dl, ok := ctx.Deadline(); ok {
		if lack := phase + s.PingTimeout() + x.limits.deadline - time.Until(dl); lack > 0 {
			return fmt.Errorf("the broker's keepalive of %s needs more time than the probe's timeout leaves: raise timeout and interval by %s", x.keepalive, lack.Round(time.Second))
		}
	}
	return linger(ctx, s, time.Now().Add(phase))
}

// watch waits for what shows that the broker noticed, and concludes.
func (x *halfopenRun) watch(ctx context.Context) error {
	fell := x.fallen.since
	timer := time.NewTimer(time.Until(fell.Add(x.limits.deadline)))
	defer timer.Stop()
	victim := x.victim.gone()
	for {
		select {
		case e := <-x.observer.mail:
			if string(e.Msg.Payload) == x.will {
				return x.detected(ctx, e.At.Sub(fell))
			}
		case <-victim:
			victim = nil
			if err := x.closed(); err != nil {
				return err
			}
		case <-x.observer.gone():
			return x.lost(x.observer)
		case <-timer.C:
			return x.unnoticed()
		case <-ctx.Done():
			return ctxError(ctx)
		}
	}
}

// closed notes how the broker ended the victim's connection, where the victim can see it.
func (x *halfopenRun) closed() error {
	end := x.victim.ended()
	switch {
	case end == nil || x.closeTime > 0:
		return nil
	case told(end):
		return fmt.Errorf("the broker ended the victim for another reason: %s", end)
	}
	x.closeTime = end.Time.Sub(x.fallen.since)
	x.r.fact("closed by the broker", "after %s, by %s", forPeople(x.closeTime), end.Evidence)
	return nil
}

// detected concludes from the Will, which arrived t after the victim's last packet.
func (x *halfopenRun) detected(ctx context.Context, t time.Duration) error {
	if err := x.others(ctx, t); err != nil {
		return err
	}
	if err := x.closed(); err != nil {
		return err
	}
	if err := x.spoiled(); err != nil {
		return err
	}
	ratio := t.Seconds() / x.keepalive.Seconds()
	noticed := fmt.Sprintf("the broker noticed after %s, %.2f × the keepalive of %s", forPeople(t), ratio, x.keepalive)
	cut := x.pathCut(t)
	switch {
	case cut != "":
		x.verdict(verdictPathCut, "%s, but so was cut %s: the path ends connections that idle", noticed, cut)
		return nil
	case t < x.limits.early:
		x.verdict(verdictEarly, "%s, before %s: clients that are slow but alive are thrown off", noticed, forPeople(x.limits.early))
	case x.twin.ended() != nil:
		x.verdict(verdictEarly, "%s, but a client that pinged at the keepalive was thrown off: %s", noticed, x.twin.ended())
	case t > x.limits.late:
		x.verdict(verdictLate, "%s, after the limit of %s", noticed, forPeople(x.limits.late))
	default:
		x.verdict(verdictOnTime, "%s", noticed)
	}
	mode := string(x.fallen.mode)
	x.r.Samples = append(x.r.Samples, x.m.detection.Of(t.Seconds(), mode), x.m.last.Replacing(t.Seconds(), mode), x.m.ratio.Replacing(ratio, mode))
	if x.closeTime > 0 {
		x.r.Samples = append(x.r.Samples, x.m.closed.Of(x.closeTime.Seconds(), mode))
	}
	x.r.fact("detected", "after %s", forPeople(t))
	return nil
}

// others waits for what a detection may have in common with the end of other connections: the path cut them, or the
// broker goes down. Without an idler only the twin can tell, and it idles for a keepalive at a time.
func (x *halfopenRun) others(ctx context.Context, t time.Duration) error {
	wait := afterwards
	if x.idler == nil && t < x.keepalive {
		wait += x.keepalive + x.twin.s.PingTimeout()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-x.observer.gone():
	case <-timer.C:
	case <-ctx.Done():
		return ctxError(ctx)
	}
	return nil
}

// spoiled tells what makes a run inconclusive though there would be a verdict.
func (x *halfopenRun) spoiled() error {
	if x.victim != nil {
		if err := x.fallen.held(); err != nil {
			return fmt.Errorf("the victim was not half-open all the time: %w", err)
		}
	}
	if x.observer.ended() != nil {
		return x.lost(x.observer)
	}
	for _, m := range []*member{x.twin, x.idler} {
		if told(m.ended()) {
			return x.lost(m)
		}
	}
	return nil
}

// pathCut tells which connection was cut that only the path can have cut, after it had idled for no longer than the
// victim, t; "" if none was.
func (x *halfopenRun) pathCut(t time.Duration) string {
	if end := x.idler.ended(); end != nil && end.Time.Sub(end.LastSent) < t+afterwards/4 {
		return fmt.Sprintf("a connection with a keepalive of %s (%s)", x.idler.s.Keepalive(), end.Evidence)
	}
	if end := x.twin.ended(); end != nil && x.idler == nil {
		return fmt.Sprintf("a connection that pinged at the keepalive (%s)", end.Evidence)
	}
	return ""
}

// unnoticed concludes when no Will came in time.
func (x *halfopenRun) unnoticed() error {
	if err := x.spoiled(); err != nil {
		return err
	}
	mode := string(x.fallen.mode)
	if x.closeTime > 0 {
		x.verdict(verdictWillMissing, "the broker closed the connection after %s, but the Will did not come within %s", forPeople(x.closeTime), forPeople(x.limits.deadline))
		x.r.Samples = append(x.r.Samples, x.m.closed.Of(x.closeTime.Seconds(), mode))
		return nil
	}
	x.verdict(verdictUndetected, "the broker did not notice within %s, %.1f × the keepalive of %s", forPeople(x.limits.deadline),
		x.limits.deadline.Seconds()/x.keepalive.Seconds(), x.keepalive)
	x.r.Samples = append(x.r.Samples, x.m.last.Forgetting(mode), x.m.ratio.Forgetting(mode))
	return nil
}

// verdict concludes the run.
func (x *halfopenRun) verdict(v halfopenVerdict, format string, args ...any) {
	mode := x.faller.expected()
	if x.fallen != nil {
		mode = x.fallen.mode
	}
	x.r.Samples = append(x.r.Samples, x.m.runs.Of(1, string(mode), string(v)))
	if v == verdictOnTime {
		x.r.Outcome, x.r.Detail = Success, fmt.Sprintf(format, args...)
		return
	}
	x.r.found(v.finding(), format, args...)
}
