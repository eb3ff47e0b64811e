package halfopen

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// probe makes a victim vanish, and measures when the broker notices. Besides the victim it has four
// other clients. The observer receives the Will. The control has a Will too, which proves that a
// Will can arrive. The twin pings at the victim's keepalive all the time, and shows that living
// clients stay connected. The idler sends as little as the victim, but has a keepalive that allows
// it. If the idler is cut, the path did it.
type probe struct {
	c      *client.Client
	opts   Options
	m      *metrics
	faller *client.Faller
	// recent are the latest verdicts on the broker, at most recentKept, the latest last.
	recent []verdict
}

// recentKept is how many verdicts on the broker are remembered: two bad ones of three are no accident.
const recentKept = 3

// onBroker returns the verdicts on the broker. The others are about the path or the Will.
func onBroker() []verdict {
	return []verdict{verdictOnTime, verdictEarly, verdictLate, verdictUndetected}
}

// remember adds a verdict to the recent ones and returns the samples that tell them.
func (p *probe) remember(v verdict) (samples []synthetic.Sample) {
	if !slices.Contains(onBroker(), v) {
		return nil
	}
	p.recent = append(p.recent, v)
	p.recent = p.recent[max(0, len(p.recent)-recentKept):]
	counts := map[verdict]float64{}
	for _, r := range p.recent {
		counts[r]++
	}
	for _, o := range onBroker() {
		s := p.m.recent.Of(counts[o], string(o))
		if counts[o] == 0 {
			s = p.m.recent.Forgetting(string(o))
		}
		samples = append(samples, s)
	}
	return samples
}

// run is one run of the probe.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)

	willQoS                       byte
	will                          string // payload of the victim's Will
	observer, twin, idler, victim *client.Member
	fallen                        *client.Fallen
	// keepalive is the effective keepalive of the victim.
	keepalive time.Duration
	limits    limits
	// age is how old the victim's connection has to be when it vanishes, and was how old it was.
	age, was time.Duration
	again    bool // an old connection is looked at, after a young one
	// closedAfter is when the broker closed the victim's connection, from the victim's last packet.
	// 0 means that this was not seen.
	closedAfter time.Duration
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	// A run tolerates a small delay of our own timers, because the limits of the verdicts are
	// further apart.
	x := &run{probe: p, age: p.opts.Age, r: &synthetic.Report{Tolerance: min(p.c.Profile.Keepalive/4, time.Second)}, emit: emit}
	defer x.endSessions()
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

// conclude sets the outcome of a run without a verdict. err is why there is none; nil means that
// there is one.
func (x *run) conclude(ctx context.Context, err error) {
	var missing willMissingError
	end, isEnd := errors.AsType[*mqtt.End](err)
	switch {
	case err == nil:
	case errors.As(err, &missing):
		x.verdict(verdictWillMissing, "%s", err)
		if missing.connected {
			x.r.AddSign(synthetic.SignUnshared, "the Will of one client does not reach another one that subscribed to it")
		}
	case isEnd && end.Phase == disconnect.PhaseEstablished && !client.AnnouncedOtherReason(end) && !x.silentCap() && x.awaitAftermath(ctx, 0) == nil && x.disturbance() == nil && x.pathCut(x.keepalive) != "":
		x.verdict(verdictPathCut, "a client's connection was cut before there was a half-open one (%s), and %s was cut too: the path ends idle connections",
			end.Evidence, x.pathCut(x.keepalive))
	case isEnd && end.Phase == disconnect.PhaseEstablished && end.Evidence != disconnect.FromSuback:
		// Other probes judge this end.
		x.r.Conclude(fmt.Errorf("a client's connection ended before there was a half-open one: %s", end))
	default:
		x.r.Conclude(err)
	}
}

// endSessions ends all sessions.
func (x *run) endSessions() {
	if s := x.victim.Stop(); s != nil {
		x.fallen.End(s)
	}
	for _, m := range []*client.Member{x.idler, x.twin, x.observer} {
		m.Leave()
	}
}

// assemble connects all clients except the victim, and proves that a Will can arrive.
func (x *run) assemble(ctx context.Context) error {
	observer, err := x.c.Join(ctx, "observer", func(o *mqtt.Options) {
		// The observer must stay connected when others are cut, so it pings often.
		o.Ping = mqtt.PingPolicy{When: mqtt.PingEither, After: min(1, max(1/o.Keepalive.Seconds(), .1))}
	})
	if err != nil {
		return err
	}
	x.willQoS = min(1, observer.Connack().MaximumQoS)
	for _, role := range []string{"control", "victim"} {
		if _, err := client.Subscribe(observer, time.Now().Add(client.AnswerTime), mqtt.Filter{Topic: x.willTopic(role), QoS: x.willQoS}); err != nil {
			x.c.Finish(observer, "observer")
			return err
		}
	}
	every, duty := x.downstreamDuty()
	x.observer = client.Drive(x.c, "observer", observer, every, duty)
	if err := x.proveWillArrives(ctx); err != nil {
		return err
	}
	twin, err := x.c.Join(ctx, "twin", client.Polite)
	if err != nil {
		return err
	}
	x.twin = client.Drive(x.c, "twin", twin, 0, nil)
	x.keepalive = twin.Keepalive()
	x.limits = limitsOf(x.keepalive, &x.opts)
	x.connectIdler(ctx)
	return nil
}

func (x *run) willTopic(role string) string {
	return x.c.Env.Topic(x.c.ClientID(role), "will")
}

func (x *run) downTopic() string {
	return x.c.Env.Topic(x.c.ClientID("victim"), "down")
}

// downstreamDuty returns what the observer publishes for the option downstream, and how often.
func (x *run) downstreamDuty() (time.Duration, func(*mqtt.Session) error) {
	if !x.opts.Downstream {
		return 0, nil
	}
	return x.opts.DownstreamInterval, func(s *mqtt.Session) error {
		_, _, err := s.Publish(mqtt.Message{Topic: x.downTopic(), QoS: x.willQoS, Payload: []byte("pingreq downstream")})
		return err
	}
}

// willMissingError says that the Will did not arrive, although we broke the connection ourselves.
type willMissingError struct {
	why       string
	connected bool // the client with the Will was accepted
}

// Error implements error.
func (e willMissingError) Error() string { return e.why }

// proveWillArrives proves that a Will can arrive: it connects a client with a Will and resets its
// connection.
func (x *run) proveWillArrives(ctx context.Context) error {
	will := rand.Text()
	s, err := x.c.Join(ctx, "control", x.withWill("control", will))
	if end, ok := errors.AsType[*mqtt.End](err); ok && end.Evidence == disconnect.FromConnack && (end.Reason == disconnect.NotAuthorized || end.Reason == disconnect.NotSupported) {
		return willMissingError{fmt.Sprintf("a client with a Will on %s was refused, but a client without a Will was accepted: %s", x.willTopic("control"), end.Detail), false}
	}
	if err != nil {
		return err
	}
	s.Abort()
	timer := time.NewTimer(client.ConnectTime)
	defer timer.Stop()
	for {
		select {
		case e := <-x.observer.Mail:
			if string(e.Msg.Payload) == will {
				return nil
			}
		case <-x.observer.Done():
			return x.helperLost(x.observer)
		case <-timer.C:
			return willMissingError{fmt.Sprintf("we reset the connection of a client, and its Will on %s did not reach its subscriber within %s: check whether the broker's access rules allow to publish and to read %s/#",
				x.willTopic("control"), client.ConnectTime, x.c.Env.TopicRoot()), true}
		case <-ctx.Done():
			return client.ContextError(ctx)
		}
	}
}

// withWill returns a change of options that adds a Will.
func (x *run) withWill(role, payload string) func(*mqtt.Options) {
	return func(o *mqtt.Options) {
		o.Will = &mqtt.Will{Topic: x.willTopic(role), Payload: []byte(payload), QoS: x.willQoS}
	}
}

// helperLost returns the error that makes a run inconclusive because another client than the victim
// lost its connection.
func (x *run) helperLost(m *client.Member) error {
	return fmt.Errorf("the %s's connection ended in the middle of the run, so the run proves nothing about the victim: %s", m.Role, m.Ended())
}

// connectIdler connects the idler, if the broker grants it a keepalive that lets it idle for longer
// than a run takes.
func (x *run) connectIdler(ctx context.Context) {
	want := (x.limits.deadline + time.Second).Truncate(time.Second)
	if b := x.c.Target.KeepaliveBounds.Max; b > 0 {
		want = min(want, b)
	}
	s, err := x.c.Join(ctx, "idler", func(o *mqtt.Options) {
		client.Polite(o)
		o.Keepalive = min(max(o.Keepalive, want), mqtt.MaxKeepalive)
	})
	switch {
	case err != nil:
		x.r.AddFact("idler", "none: %s", err)
	case s.Keepalive() < x.limits.early:
		x.r.AddFact("idler", "none: the broker limits its keepalive to %s, and would end its connection like the victim's", s.Keepalive())
		x.c.Finish(s, "idler")
	default:
		x.idler = client.Drive(x.c, "idler", s, 0, nil)
	}
}

// fall connects the victim, lets it live for a random part of its keepalive, and then makes it
// vanish. The part is random so that the fall meets the broker's own timers at any phase.
func (x *run) fall(ctx context.Context) error {
	x.will = rand.Text()
	s, err := x.c.Join(ctx, "victim", x.withWill("victim", x.will))
	if err != nil {
		return err
	}
	if !x.r.Connected {
		x.r.SetConnected(s)
	}
	x.keepalive = s.Keepalive()
	x.limits = limitsOf(x.keepalive, &x.opts)
	x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(s.Keepalive().Seconds()),
		x.m.limit.Of(x.limits.early.Seconds(), "early"), x.m.limit.Of(x.limits.late.Seconds(), "late"))
	born := time.Now()
	if err := x.liveUntilFall(ctx, s); err != nil {
		x.c.Finish(s, "victim")
		return err
	}
	if x.idler != nil { // from now on it sends nothing, like the victim
		idler := x.idler.Stop()
		_ = idler.Ping()
		x.idler = client.Drive(x.c, "idler", idler, 0, nil)
	}
	if x.fallen, err = x.faller.Fall(ctx, s); err != nil {
		x.c.Finish(s, "victim")
		return err
	}
	x.victim = client.Drive(x.c, "victim", s, 0, nil)
	x.was = x.fallen.Since.Sub(born)
	x.fallen.Describe(x.r, x.emit)
	x.r.AddDuration("connection age", x.was, "%s when the client vanished", synthetic.FormatDuration(x.was))
	return nil
}

// liveUntilFall is the victim's life from CONNACK to its fall.
func (x *run) liveUntilFall(ctx context.Context, s *mqtt.Session) error {
	defer context.AfterFunc(ctx, s.Interrupt)()
	if x.opts.Downstream {
		if _, err := client.Subscribe(s, time.Now().Add(client.AnswerTime), mqtt.Filter{Topic: x.downTopic(), QoS: x.willQoS}); err != nil {
			return err
		}
	}
	phase, wait := x.age+mathrand.N(x.keepalive), x.limits.deadline
	if x.again { // there is little time
		phase, wait = x.age, x.limits.late+client.AftermathTime
	}
	if dl, ok := ctx.Deadline(); ok {
		if missing := phase + s.PingTimeout() + wait - time.Until(dl); missing > 0 {
			return fmt.Errorf("a run with the broker's keepalive of %s takes longer than the timeout allows: raise timeout and interval by %s", x.keepalive, missing.Round(time.Second))
		}
	}
	return client.Linger(ctx, s, time.Now().Add(phase))
}

// watch waits for the signs that the broker noticed, and concludes.
func (x *run) watch(ctx context.Context) error {
	fell := x.fallen.Since
	timer := time.NewTimer(time.Until(fell.Add(x.limits.deadline)))
	defer timer.Stop()
	victim := x.victim.Done()
	for {
		select {
		case e := <-x.observer.Mail:
			if string(e.Msg.Payload) == x.will {
				return x.detected(ctx, e.At.Sub(fell))
			}
		case <-victim:
			victim = nil
			if err := x.recordClose(); err != nil {
				return err
			}
		case <-x.observer.Done():
			return x.helperLost(x.observer)
		case <-timer.C:
			return x.unnoticed()
		case <-ctx.Done():
			return client.ContextError(ctx)
		}
	}
}

// recordClose records how the broker ended the victim's connection, if the victim saw this.
func (x *run) recordClose() error {
	end := x.victim.Ended()
	switch {
	case end == nil || x.closedAfter > 0:
		return nil
	case client.AnnouncedOtherReason(end):
		return fmt.Errorf("the broker ended the victim's connection for another reason: %s", end)
	}
	x.closedAfter = end.Time.Sub(x.fallen.Since)
	x.r.AddDuration("closed by the broker", x.closedAfter, "after %s, by %s", synthetic.FormatDuration(x.closedAfter), end.Evidence)
	return nil
}

// detected concludes from the Will, which arrived t after the victim's last packet.
func (x *run) detected(ctx context.Context, t time.Duration) error {
	if err := x.awaitAftermath(ctx, t); err != nil {
		return err
	}
	if err := x.recordClose(); err != nil {
		return err
	}
	if err := x.disturbance(); err != nil {
		return err
	}
	cut := x.pathCut(t)
	if cut == "" && (t < x.limits.early || x.twin.Ended() != nil) {
		if err := x.confirmEarly(ctx); err != nil {
			return err
		}
	}
	if cut != "" && x.silentCap() {
		return fmt.Errorf("%s was cut like the victim, %s after its last packet: the path ends idle connections, or the broker applies a keepalive of about %s to all clients, which 3.1.1 cannot announce; set keepalive_bounds.max of target %s to the longest keepalive that its broker honours (18h if it has no limit)",
			cut, synthetic.FormatDuration(t), (t * 2 / 3).Round(time.Second), x.c.Target.Name)
	}
	ratio := t.Seconds() / x.keepalive.Seconds()
	noticed := fmt.Sprintf("the broker noticed after %s, %.2f × the keepalive of %s", synthetic.FormatDuration(t), ratio, x.keepalive)
	switch {
	case cut != "":
		x.verdict(verdictPathCut, "%s, but %s was cut too: the path ends idle connections", noticed, cut)
		return nil
	case t < x.limits.early:
		x.verdict(verdictEarly, "%s, before the limit of %s: clients that are slow but alive are disconnected", noticed, synthetic.FormatDuration(x.limits.early))
	case x.twin.Ended() != nil:
		x.verdict(verdictEarly, "%s, but a client that pinged at the keepalive was disconnected: %s", noticed, x.twin.Ended())
	case t > x.limits.late && x.age == 0 && x.was+t < oldAge+oldSlack: // a later detection is late at any age
		return x.lookAgain(ctx, noticed)
	case t > x.limits.late:
		x.verdict(verdictLate, "%s, after the limit of %s", noticed, synthetic.FormatDuration(x.limits.late))
	default:
		x.verdict(verdictOnTime, "%s", noticed)
	}
	mode := string(x.fallen.Mode)
	x.r.Samples = append(x.r.Samples, x.m.detection.Of(t.Seconds(), mode), x.m.last.Replacing(t.Seconds(), mode), x.m.ratio.Replacing(ratio, mode))
	if x.closedAfter > 0 {
		x.r.Samples = append(x.r.Samples, x.m.closed.Of(x.closedAfter.Seconds(), mode))
	}
	x.r.AddDuration("detected", t, "after %s", synthetic.FormatDuration(t))
	return nil
}

// lookAgain repeats the detection with an old connection, after a young one was noticed late. Devices
// live longer than that, so the old one decides.
func (x *run) lookAgain(ctx context.Context, noticed string) error {
	young := fmt.Sprintf("%s, but the connection was only %s old", noticed, synthetic.FormatDuration(x.was))
	needed := oldAge + x.victim.Session.PingTimeout() + x.limits.late + client.AftermathTime
	if dl, ok := ctx.Deadline(); ok && time.Until(dl) < needed {
		return fmt.Errorf("%s: some brokers look at young connections late; raise timeout and interval by %s, or set halfopen.age to %s", young, (needed - time.Until(dl)).Round(time.Second), oldAge)
	}
	x.r.AddDuration("young connection", x.was, "%s", young)
	if s := x.victim.Stop(); s != nil {
		x.fallen.End(s)
	}
	x.victim, x.fallen, x.closedAfter, x.age, x.again = nil, nil, 0, oldAge, true
	if err := x.fall(ctx); err != nil {
		return err
	}
	if err := x.watch(ctx); err != nil {
		return err
	}
	if x.r.Outcome == synthetic.Success {
		x.r.Signs = append(x.r.Signs, synthetic.Sign{Kind: synthetic.SignYoung, Detail: "the broker notices dead connections late while they are young, as FlashMQ and NanoMQ do"})
	}
	return nil
}

// awaitAftermath waits for the end of other connections that may have the same cause as a
// detection: the path cut them, or the broker shuts down. Without an idler only the twin can show
// this, and the twin idles for a keepalive at a time.
func (x *run) awaitAftermath(ctx context.Context, t time.Duration) error {
	wait := client.AftermathTime
	if x.idler == nil && t < x.keepalive {
		wait += x.keepalive + x.twin.Session.PingTimeout()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-x.observer.Done():
	case <-timer.C:
	case <-ctx.Done():
		return client.ContextError(ctx)
	}
	return nil
}

// earlyAftermath is how long an early detection is watched for another cause. Some brokers need
// seconds to end all connections when they stop.
const earlyAftermath = 8 * time.Second

// confirmEarly returns an error if something other than the keepalive may have made the broker end
// the victim's connection: if the broker ends the others too, or no longer serves them.
func (x *run) confirmEarly(ctx context.Context) error {
	timer := time.NewTimer(earlyAftermath)
	defer timer.Stop()
	select {
	case <-x.observer.Done():
	case <-timer.C:
	case <-ctx.Done():
		return client.ContextError(ctx)
	}
	if err := x.disturbance(); err != nil {
		return err
	}
	for _, m := range []*client.Member{x.observer, x.twin} {
		if m.Ended() != nil { // the twin: it is judged elsewhere
			continue
		}
		s := m.Stop()
		stop := context.AfterFunc(ctx, s.Interrupt)
		_, err := client.Ping(s)
		stop()
		if err != nil {
			return fmt.Errorf("the broker ended the victim's connection early, but then the %s was no longer served either, so the keepalive need not be the cause: %w", m.Role, err)
		}
	}
	return nil
}

// disturbance returns an error if something disturbed the run, so that it is inconclusive in spite
// of a verdict.
func (x *run) disturbance() error {
	if x.victim != nil {
		if err := x.fallen.Held(); err != nil {
			return fmt.Errorf("the victim was not half-open all the time: %w", err)
		}
	}
	if x.observer.Ended() != nil {
		return x.helperLost(x.observer)
	}
	for _, m := range []*client.Member{x.twin, x.idler} {
		if client.AnnouncedOtherReason(m.Ended()) {
			return x.helperLost(m)
		}
	}
	// A path cuts connections that were idle for different times at different moments.
	if twin, idler := x.twin.Ended(), x.idler.Ended(); twin != nil && idler != nil && twin.Time.Sub(idler.Time).Abs() < sameMoment &&
		twin.LastSent.Sub(idler.LastSent).Abs() > sameMoment {
		return fmt.Errorf("two connections ended at the same moment, although they had been idle for different times, so a part of the broker or of the path restarted: %s", twin)
	}
	return nil
}

// sameMoment is how far apart two ends with one cause may be.
const sameMoment = time.Second

// silentCap reports whether the broker may apply a shorter keepalive than ours without saying so: with
// 3.1.1 it cannot announce one, and keepalive_bounds of the target has none.
func (x *run) silentCap() bool {
	return x.c.Profile.Protocol == mqtt.V311 && x.c.Target.KeepaliveBounds.Max == 0
}

// pathCut describes a connection that only the path can have cut, after it had idled for no longer
// than the victim, t. It returns "" if there is none.
func (x *run) pathCut(t time.Duration) string {
	if end := x.idler.Ended(); end != nil && end.Time.Sub(end.LastSent) < t+client.AftermathTime/4 {
		return fmt.Sprintf("a connection with a keepalive of %s (%s)", x.idler.Session.Keepalive(), end.Evidence)
	}
	if end := x.twin.Ended(); end != nil && x.idler == nil {
		return fmt.Sprintf("a connection that pinged at the keepalive (%s)", end.Evidence)
	}
	return ""
}

// unnoticed concludes if no Will arrived in time.
func (x *run) unnoticed() error {
	if err := x.disturbance(); err != nil {
		return err
	}
	mode := string(x.fallen.Mode)
	if x.closedAfter > 0 {
		x.verdict(verdictWillMissing, "the broker closed the connection after %s, but the Will did not arrive within %s", synthetic.FormatDuration(x.closedAfter), synthetic.FormatDuration(x.limits.deadline))
		x.r.Samples = append(x.r.Samples, x.m.closed.Of(x.closedAfter.Seconds(), mode))
		return nil
	}
	x.verdict(verdictUndetected, "the broker did not notice within %s, %.1f × the keepalive of %s", synthetic.FormatDuration(x.limits.deadline),
		x.limits.deadline.Seconds()/x.keepalive.Seconds(), x.keepalive)
	x.r.Samples = append(x.r.Samples, x.m.last.Forgetting(mode), x.m.ratio.Forgetting(mode))
	return nil
}

// verdict sets the outcome of the run.
func (x *run) verdict(v verdict, format string, args ...any) {
	mode := x.faller.ExpectedMode()
	if x.fallen != nil {
		mode = x.fallen.Mode
	}
	x.r.Samples = append(x.r.Samples, x.m.runs.Of(1, string(mode), string(v)))
	x.r.Samples = append(x.r.Samples, x.remember(v)...)
	if v == verdictOnTime {
		x.r.Outcome, x.r.Detail = synthetic.Success, fmt.Sprintf(format, args...)
		return
	}
	x.r.Fail(v.finding(), format, args...)
}
