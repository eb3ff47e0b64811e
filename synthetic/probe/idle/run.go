package idle

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// probe finds out how long the path lets a connection idle. Each rung sends nothing for a time and
// then pings. The rungs have a keepalive that allows this, so the broker has no reason to end them.
// A companion pings every second. If the rungs end and the companion does not, they ended because
// they were idle.
type probe struct {
	c    *client.Client
	opts Options
	m    *metrics
}

// run is one run of the probe.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)

	keepalive time.Duration // what the rungs ask for
	// limit is the idle time above which the broker itself would end a rung. 0 means none.
	limit     time.Duration
	limitName string        // what set the limit
	effective time.Duration // keepalive of a session with the profile
	// need is the idle time that such a session needs from the path. 0 means any idle time.
	need      time.Duration
	companion *client.Member
	rungs     []*rung // the longest first
	results   chan *rung
	all       guard.Group
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	// A run tolerates a small delay of our own timers, because it uses the measured idle times, not
	// the planned ones.
	x := &run{probe: p, r: &synthetic.Report{Tolerance: limitSlack}, emit: emit}
	defer x.endSessions()
	if p.c.Profile.Protocol == mqtt.V311 && p.c.Target.KeepaliveBounds.Max == 0 {
		x.r.Outcome = synthetic.Unsupported
		x.r.Detail = fmt.Sprintf("an MQTT 3.1.1 broker may shorten the keepalive without announcing it, which would look like a limit of the path: "+
			"use a profile with MQTT 5, or set keepalive_bounds.max of target %s to the longest keepalive that its broker honours (18h if it has no limit)", p.c.Target.Name)
		return x.r
	}
	err := x.assemble(ctx)
	if err == nil {
		err = x.watch(ctx)
	}
	if err == nil {
		err = x.conclude(ctx)
	}
	if err != nil {
		x.r.Conclude(err)
	}
	return x.r
}

// endSessions ends all sessions in order.
func (x *run) endSessions() {
	for _, g := range x.rungs {
		g.stop()
	}
	x.all.Wait()
	x.companion.Leave()
}

// companionEvery is how often the companion pings. No path is known to cut a connection after so
// short an idle time.
const companionEvery = time.Second

// assemble connects the companion and then the rungs, one after the other.
func (x *run) assemble(ctx context.Context) error {
	// With twice the longest idle time as its keepalive, the broker has no reason to end a rung. We
	// do not ask for the longest possible keepalive, because some brokers handle it wrongly:
	// Mosquitto 2.0.21 ends clients too early whose keepalive is its max_keepalive.
	x.keepalive = (2*x.opts.longest() + time.Second - 1).Truncate(time.Second)
	if b := x.c.Target.KeepaliveBounds.Max; b > 0 {
		x.keepalive = min(x.keepalive, b)
	}
	s, err := x.c.Join(ctx, "companion", x.allowIdling)
	if err != nil {
		return err
	}
	x.r.SetConnected(s)
	x.recordLimits(s)
	x.companion = client.Drive(x.c, "companion", s, companionEvery, (*mqtt.Session).Ping)
	x.r.Samples = append(x.r.Samples, x.m.keepalive.Of(x.effective.Seconds()))

	steps := x.opts.steps(x.need, x.limit)
	x.results = make(chan *rung, len(steps))
	// The longest rung comes first, because it determines how long the run takes.
	for i := len(steps) - 1; i >= 0; i-- {
		if err := x.addRung(ctx, fmt.Sprintf("rung-%d", i+1), steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// allowIdling changes the options of a client so that it may idle. Its keepalive is long, and it
// never pings by itself.
func (x *run) allowIdling(o *mqtt.Options) { o.Keepalive, o.Ping.When = x.keepalive, mqtt.PingNever }

// recordLimits records the limits that the broker sets.
func (x *run) recordLimits(s *mqtt.Session) {
	profile := x.c.Profile
	x.effective = profile.Keepalive
	announced := s.Connack().ServerKeepAlive
	if announced != nil && *announced > 0 && (x.effective == 0 || *announced < x.effective) {
		x.effective = *announced
	}
	x.need = neededIdle(profile, x.effective)
	granted := s.Keepalive()
	if granted == 0 || granted >= x.opts.longest() {
		return
	}
	x.limit, x.limitName = granted, "keepalive_bounds.max of the target"
	if announced != nil {
		x.limitName = "the broker's Server Keep Alive"
	}
	x.need = min(x.need, x.limit)
}

// addRung connects a rung.
func (x *run) addRung(ctx context.Context, role string, step time.Duration) error {
	s, err := x.c.Join(ctx, role, x.allowIdling)
	if err != nil {
		return err
	}
	if k := s.Keepalive(); 0 < k && k < step {
		x.c.Finish(s, role)
		return fmt.Errorf("the broker granted a keepalive of %s to one connection and of %s to another: check whether its nodes have different settings", x.companion.Session.Keepalive(), k)
	}
	g := &rung{step: step, s: s, since: s.Account().LastReceived}
	x.rungs = append(x.rungs, g)
	x.all.Go(func() {
		g.report(x.results)
		x.c.Finish(s, role)
	})
	return nil
}

// watch waits for the result of every rung.
func (x *run) watch(ctx context.Context) error {
	for range x.rungs {
		select {
		case g := <-x.results:
			if err := x.handleResult(g); err != nil {
				return err
			}
		case <-x.companion.Done():
			return lostCompanion(x.companion.Ended())
		case <-ctx.Done():
			return client.ContextError(ctx)
		}
	}
	return nil
}

// lostCompanion returns the error that makes a run inconclusive because not only idle connections
// ended.
func lostCompanion(why error) error {
	return fmt.Errorf("the companion, which pinged every %s, ended too, so the run proves nothing about the path: %s", companionEvery, why)
}

// handleResult handles the result of a rung. An error makes the run inconclusive.
func (x *run) handleResult(g *rung) error {
	x.emit(synthetic.Event{Name: "idled", Detail: g.String()})
	switch {
	case g.end == nil:
		return nil
	case g.end.Local():
		return fmt.Errorf("our own side ended a connection: %s", g.end)
	case g.end.Reason == disconnect.KeepaliveTimeout:
		return fmt.Errorf("the broker granted a keepalive of %s, but ended a connection for its keepalive after %s: set keepalive_bounds.max of target %s to the longest keepalive that the broker really honours",
			g.s.Keepalive(), synthetic.FormatDuration(g.idled), x.c.Target.Name)
	case !g.looksCut():
		return fmt.Errorf("a connection ended for another reason than being idle: %s", g.end)
	}
	if g.pinged { // the longer rungs are already cut, and find it out by pinging
		for _, longer := range x.rungs {
			if longer.step > g.step {
				longer.ping()
			}
		}
	}
	return nil
}

// conclude sets the outcome from the results of all rungs.
func (x *run) conclude(ctx context.Context) error {
	cut := x.shortestCut()
	if cut != nil {
		if err := x.checkCompanion(ctx); err != nil {
			return err
		}
	}
	var survived time.Duration
	var steps []string
	for i := len(x.rungs) - 1; i >= 0; i-- {
		g := x.rungs[i]
		steps = append(steps, g.String())
		if g.end != nil {
			continue
		}
		if cut == nil || g.idled < cut.idled {
			survived = max(survived, min(g.step, g.idled))
		} else if g.pingedEarly || g.idled > cut.idled+limitSlack {
			return fmt.Errorf("one connection was cut after %s idle (%s), and another one survived %s: something else cut the first one, or the two took different paths",
				synthetic.FormatDuration(cut.idled), cut.end.Evidence, synthetic.FormatDuration(g.idled))
		}
	}
	x.r.AddFact("connections", "%s", strings.Join(steps, "; "))
	if x.limit > 0 {
		x.r.AddDuration("limit", x.limit, "no idle time above %s was tried: %s", x.limit, x.limitName)
	}
	recommended := x.recommendKeepalive(survived, cut)
	x.addSamples(survived, cut, recommended)
	x.verdict(survived, cut, recommended)
	return nil
}

// limitSlack is how much the idle times of two connections may differ if the path cuts the one that
// was idle for less time.
const limitSlack = time.Second

// shortestCut returns the rung that was cut after the shortest time. It is nil if none was cut.
func (x *run) shortestCut() (shortest *rung) {
	for _, g := range x.rungs {
		if g.end != nil && (shortest == nil || g.idled < shortest.idled) {
			shortest = g
		}
	}
	return shortest
}

// checkCompanion checks that the companion is still served. If it is not, something else ended the
// rungs, such as a broker that stopped.
func (x *run) checkCompanion(ctx context.Context) error {
	timer := time.NewTimer(client.AftermathTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.companion.Done():
		return lostCompanion(x.companion.Ended())
	case <-ctx.Done():
		return client.ContextError(ctx)
	}
	s := x.companion.Stop()
	defer context.AfterFunc(ctx, s.Interrupt)()
	_, err := client.Ping(s)
	switch {
	case ctx.Err() != nil:
		return client.ContextError(ctx)
	case err != nil:
		return lostCompanion(err)
	}
	return nil
}

// recommendKeepalive returns the keepalive to use. It is 0 if none is known to work.
func (x *run) recommendKeepalive(survived time.Duration, cut *rung) time.Duration {
	if survived == 0 && !cut.pinged { // the connection worked until it was cut
		survived = cut.idled
	}
	k := survived * 4 / 5
	if x.limit > 0 {
		k = min(k, x.limit)
	}
	return k.Truncate(time.Second)
}

// addSamples adds the values of the metrics. A value that is not known is absent.
func (x *run) addSamples(survived time.Duration, cut *rung, recommended time.Duration) {
	limit := time.Duration(0)
	if cut != nil {
		limit = cut.idled
	}
	for _, v := range []struct {
		m *synthetic.Metric
		d time.Duration
	}{{x.m.survived, survived}, {x.m.cut, limit}, {x.m.recommended, recommended}} {
		if v.d > 0 {
			x.r.Samples = append(x.r.Samples, v.m.Of(v.d.Seconds()))
		} else {
			x.r.Samples = append(x.r.Samples, v.m.Forgetting())
		}
	}
}

// verdict sets the outcome by whether the profile fits the path.
func (x *run) verdict(survived time.Duration, cut *rung, recommended time.Duration) {
	if survived > 0 {
		x.r.AddDuration("survived", survived, "%s", survived)
	}
	limit := ""
	if cut != nil {
		limit = synthetic.FormatDuration(cut.idled)
		if cut.pinged {
			limit = "at most " + limit
		}
		x.r.AddDuration("cut", cut.idled, "after %s idle: %s", limit, cut.end)
	}
	if recommended > 0 {
		x.r.AddDuration("recommended keepalive", recommended, "%s", recommended)
	}
	switch {
	case cut == nil:
		x.r.Outcome, x.r.Detail = synthetic.Success, "no limit found up to "+survived.String()
		if x.limit > 0 {
			x.r.Detail += ", which is " + x.limitName
		}
		if x.need == 0 || x.need > survived {
			x.r.Detail += fmt.Sprintf("; this profile needs more (%s), which was not tried", x.pingHabit())
		}
	case x.need > 0 && survived >= x.need:
		x.r.Outcome, x.r.Detail = synthetic.Success, fmt.Sprintf("connections may idle for %s and die after %s (%s); this profile is safe (%s)",
			survived, limit, cut.end.Evidence, x.pingHabit())
	case recommended > 0:
		x.r.Fail(disconnect.PathCut, "connections die after %s idle (%s), also those of this profile (%s): use a keepalive of %s",
			limit, cut.end.Evidence, x.pingHabit(), recommended)
	default:
		x.r.Fail(disconnect.PathCut, "connections die after %s idle (%s), also those of this profile (%s): add shorter idle times to the ladder to find the keepalive to use",
			limit, cut.end.Evidence, x.pingHabit())
	}
}

// pingHabit describes when a session of the profile pings.
func (x *run) pingHabit() string {
	pause := longestPause(x.c.Profile, x.effective)
	switch {
	case x.effective == 0:
		return "no keepalive"
	case pause == 0:
		return "it never pings"
	case pause != x.effective:
		return fmt.Sprintf("keepalive %s, pinging after %s", x.effective, pause)
	}
	return fmt.Sprintf("keepalive %s", x.effective)
}

// rung is one connection that idles.
type rung struct {
	step  time.Duration // planned idle time
	s     *mqtt.Session
	since time.Time // when its last packet was sent or received

	// stopping ends the rung without a result. pingNow makes it ping before its time.
	stopping, pingNow atomic.Bool

	// The result. It may be read after the rung was sent to results.
	idled       time.Duration // until its PINGREQ, or until its end if that came first
	pinged      bool
	pingedEarly bool      // it pinged before its time
	end         *mqtt.End // nil: it survived, or was stopped
}

// report idles and passes the result on, also after a panic.
func (g *rung) report(results chan<- *rung) {
	defer func() { results <- g }()
	g.idle()
}

// idle sends nothing until the idle time is over, and then pings.
func (g *rung) idle() {
	until := g.since.Add(g.step)
	for !g.stopping.Load() {
		e, err := g.s.Next(until)
		switch {
		case err != nil:
			g.end = g.s.Ended()
			if !g.pinged {
				g.idled = g.end.Time.Sub(g.since)
			}
			return
		case g.pinged:
			if e.Kind == mqtt.Pong {
				return
			}
		case e.Kind == mqtt.Due, e.Kind == mqtt.Interrupted && g.pingNow.Load():
			g.idled, g.pinged, g.pingedEarly = time.Since(g.since), true, e.Kind == mqtt.Interrupted
			until = time.Time{} // the session has its own deadline for the PINGRESP
			_ = g.s.Ping()      // Next returns the error
		case e.Kind != mqtt.Interrupted: // the broker sent a packet
			g.since = e.At
			until = e.At.Add(g.step)
		}
	}
}

// stop ends the rung without a result.
func (g *rung) stop() {
	g.stopping.Store(true)
	g.s.Interrupt()
}

// ping makes the rung ping now, if it has not yet pinged.
func (g *rung) ping() {
	g.pingNow.Store(true)
	g.s.Interrupt()
}

// looksCut reports whether the rung ended like a connection that was idle for too long.
func (g *rung) looksCut() bool {
	switch g.end.Reason {
	case disconnect.PeerClosed, disconnect.ConnectionReset, disconnect.IdleTimeout, disconnect.PingrespTimeout, disconnect.NetworkTimeout,
		disconnect.NetworkUnreachable:
		return true
	}
	return false
}

// String describes the result.
func (g *rung) String() string {
	switch {
	case g.end == nil:
		return fmt.Sprintf("%s survived", synthetic.FormatDuration(g.idled))
	case g.pinged:
		return fmt.Sprintf("%s cut (%s after the PINGREQ)", synthetic.FormatDuration(g.idled), g.end.Evidence)
	}
	return fmt.Sprintf("%s cut after %s (%s)", g.step, synthetic.FormatDuration(g.idled), g.end.Evidence)
}
