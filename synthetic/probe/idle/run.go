package idle

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// idleProbe finds how long the path lets a connection idle. Its rungs say nothing for a time each and then ping. They
// have a keepalive that allows it, so that the broker has no reason to end them; and a companion, which pings every
// second, shows that what ends them befalls the idle alone.
type probe struct {
	c    *client.Client
	opts Options
	m    *metrics
}

// idleRun is one run.
type run struct {
	*probe
	r    *synthetic.Report
	emit func(synthetic.Event)

	keepalive time.Duration // that we ask for
	limit     time.Duration // above which the broker's own keepalive would end a rung; 0 = none
	limitName string        // what set it
	effective time.Duration // keepalive of a session with the profile
	need      time.Duration // what such a session needs the path to allow; 0 = any idle time
	companion *client.Member
	rungs     []*rung // the longest first
	results   chan *rung
	all       sync.WaitGroup
}

// Run implements [Probe].
func (p *probe) Run(ctx context.Context, emit func(synthetic.Event)) *synthetic.Report {
	// Idle times are those that were, not those that were planned: of lateness a run can bear some.
	x := &run{probe: p, r: &synthetic.Report{Tolerance: limitSlack}, emit: emit}
	defer x.leave()
	if p.c.Profile.Protocol == mqtt.V311 && p.c.Target.KeepaliveBounds.Max == 0 {
		x.r.Outcome = synthetic.Unsupported
		x.r.Detail = fmt.Sprintf("an MQTT 3.1.1 broker may shorten the keepalive without a word, which would look like a limit of the path: "+
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

// leave ends all sessions in order.
func (x *run) leave() {
	for _, g := range x.rungs {
		g.stop()
	}
	x.all.Wait()
	x.companion.Leave()
}

// companionEvery is how often the companion pings: no path is known to cut what idles for so short a time.
const companionEvery = time.Second

// assemble connects the companion and then, one after the other, the rungs.
func (x *run) assemble(ctx context.Context) error {
	// Twice the longest idle time leaves the broker no reason to end a rung. The longest keepalive of all is one that
	// some brokers get wrong: Mosquitto 2.0.21 ends clients whose keepalive is its max_keepalive too early.
	x.keepalive = (2*x.opts.top() + time.Second - 1).Truncate(time.Second)
	if b := x.c.Target.KeepaliveBounds.Max; b > 0 {
		x.keepalive = min(x.keepalive, b)
	}
	s, err := x.c.Join(ctx, "companion", x.patient)
	if err != nil {
		return err
	}
	x.r.SetConnected(s)
	x.granted(s)
	x.companion = client.Drive(x.c, "companion", s, companionEvery, (*mqtt.Session).Ping)
	x.r.Samples = append(x.r.Samples, x.m.common.Keepalive.Of(x.effective.Seconds()))

	steps := x.opts.steps(x.need, x.limit)
	x.results = make(chan *rung, len(steps))
	for i := len(steps) - 1; i >= 0; i-- { // the longest first, since the run takes as long as it
		if err := x.climb(ctx, fmt.Sprintf("rung-%d", i+1), steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// patient makes a client idle for as long as it likes.
func (x *run) patient(o *mqtt.Options) { o.Keepalive, o.Ping.When = x.keepalive, mqtt.PingNever }

// granted takes what the broker allows.
func (x *run) granted(s *mqtt.Session) {
	profile := x.c.Profile
	x.effective = profile.Keepalive
	announced := s.Connack().ServerKeepAlive
	if announced != nil && *announced > 0 && (x.effective == 0 || *announced < x.effective) {
		x.effective = *announced
	}
	x.need = neededIdle(profile, x.effective)
	granted := x.c.Target.EffectiveKeepalive(s)
	if granted == 0 || granted >= x.opts.top() {
		return
	}
	x.limit, x.limitName = granted, "keepalive_bounds.max of the target"
	if announced != nil {
		x.limitName = "the broker's Server Keep Alive"
	}
	x.need = min(x.need, x.limit)
}

// climb adds a rung.
func (x *run) climb(ctx context.Context, role string, step time.Duration) error {
	s, err := x.c.Join(ctx, role, x.patient)
	if err != nil {
		return err
	}
	if k := x.c.Target.EffectiveKeepalive(s); 0 < k && k < step {
		x.c.Finish(s, role)
		return fmt.Errorf("the broker granted one connection a keepalive of %s, and another one of %s: do its nodes differ?", x.companion.Session.Keepalive(), k)
	}
	g := &rung{step: step, s: s, since: s.Account().LastReceived}
	x.rungs = append(x.rungs, g)
	x.all.Go(func() {
		g.idle()
		x.results <- g
		x.c.Finish(s, role)
	})
	return nil
}

// watch waits until it is known of every rung what became of it.
func (x *run) watch(ctx context.Context) error {
	for range x.rungs {
		select {
		case g := <-x.results:
			if err := x.take(g); err != nil {
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

// lostCompanion makes a run inconclusive in which not only idle connections ended.
func lostCompanion(why error) error {
	return fmt.Errorf("a connection that pinged every %s ended, too, so nothing can be said of the path: %s", companionEvery, why)
}

// take takes the result of a rung. Its error is what makes the run inconclusive.
func (x *run) take(g *rung) error {
	x.emit(synthetic.Event{Name: "idled", Detail: g.String()})
	switch {
	case g.end == nil:
		return nil
	case g.end.Local():
		return fmt.Errorf("our own side ended a connection: %s", g.end)
	case g.end.Reason == disconnect.KeepaliveTimeout:
		return fmt.Errorf("the broker ended a connection for its keepalive, which it had said to be %s, after %s: set keepalive_bounds.max of target %s to what it really honours",
			g.s.Keepalive(), synthetic.FormatDuration(g.idled), x.c.Target.Name)
	case !g.cut():
		return fmt.Errorf("a connection ended for another reason than that it idled: %s", g.end)
	}
	if g.pinged { // the longer ones are cut already, and have only to find out
		for _, longer := range x.rungs {
			if longer.step > g.step {
				longer.ping()
			}
		}
	}
	return nil
}

// conclude concludes from what became of all rungs.
func (x *run) conclude(ctx context.Context) error {
	cut := x.shortestCut()
	if cut != nil {
		if err := x.alive(ctx); err != nil {
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
		} else if g.asked || g.idled > cut.idled+limitSlack {
			return fmt.Errorf("one connection was cut after %s idle (%s), and another one survived %s: something else cut the first, or they took different paths",
				synthetic.FormatDuration(cut.idled), cut.end.Evidence, synthetic.FormatDuration(g.idled))
		}
	}
	x.r.AddFact("connections", "%s", strings.Join(steps, "; "))
	if x.limit > 0 {
		x.r.AddFact("limit", "nothing above %s was tried: %s", x.limit, x.limitName)
	}
	recommended := x.recommend(survived, cut)
	x.samples(survived, cut, recommended)
	x.verdict(survived, cut, recommended)
	return nil
}

// limitSlack is by how much the idle times may differ of two connections of which the path cuts the one that idled less.
const limitSlack = time.Second

// shortestCut gives the rung that was cut after the shortest time, nil if none was.
func (x *run) shortestCut() (shortest *rung) {
	for _, g := range x.rungs {
		if g.end != nil && (shortest == nil || g.idled < shortest.idled) {
			shortest = g
		}
	}
	return shortest
}

// alive makes sure that what cut the rungs did not befall the companion, too, as when a broker stops or is gone.
func (x *run) alive(ctx context.Context) error {
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
	_, err := client.LastPing(s)
	switch {
	case ctx.Err() != nil:
		return client.ContextError(ctx)
	case err != nil:
		return lostCompanion(err)
	}
	return nil
}

// recommend gives the keepalive to use; 0 if none is known to work.
func (x *run) recommend(survived time.Duration, cut *rung) time.Duration {
	if survived == 0 && !cut.pinged { // until the moment of the cut the connection was good
		survived = cut.idled
	}
	k := survived * 4 / 5
	if x.limit > 0 {
		k = min(k, x.limit)
	}
	return k.Truncate(time.Second)
}

// samples gives the values of the metrics; what is not known is absent.
func (x *run) samples(survived time.Duration, cut *rung, recommended time.Duration) {
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

// verdict says whether the profile fits the path.
func (x *run) verdict(survived time.Duration, cut *rung, recommended time.Duration) {
	if survived > 0 {
		x.r.AddFact("survived", "%s", survived)
	}
	limit := ""
	if cut != nil {
		limit = synthetic.FormatDuration(cut.idled)
		if cut.pinged {
			limit = "at most " + limit
		}
		x.r.AddFact("cut", "after %s idle: %s", limit, cut.end)
	}
	if recommended > 0 {
		x.r.AddFact("recommended keepalive", "%s", recommended)
	}
	switch {
	case cut == nil:
		x.r.Outcome, x.r.Detail = synthetic.Success, "no limit found up to "+survived.String()
		if x.limit > 0 {
			x.r.Detail += ", which is " + x.limitName
		}
		if x.need == 0 || x.need > survived {
			x.r.Detail += fmt.Sprintf("; more, as this profile needs (%s), was not tried", x.habit())
		}
	case x.need > 0 && survived >= x.need:
		x.r.Outcome, x.r.Detail = synthetic.Success, fmt.Sprintf("connections may idle for %s and die after %s (%s); this profile is safe (%s)",
			survived, limit, cut.end.Evidence, x.habit())
	case recommended > 0:
		x.r.Fail(disconnect.PathCut, "connections die after %s idle (%s), those of this profile too (%s): use a keepalive of %s",
			limit, cut.end.Evidence, x.habit(), recommended)
	default:
		x.r.Fail(disconnect.PathCut, "connections die after %s idle (%s), those of this profile too (%s): to find the keepalive to use, begin the ladder below that",
			limit, cut.end.Evidence, x.habit())
	}
}

// habit says in words when a session of the profile pings.
func (x *run) habit() string {
	pause := pauseOf(x.c.Profile, x.effective)
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
	step  time.Duration // for which it is to idle
	s     *mqtt.Session
	since time.Time // of its last packet

	stopping, early atomic.Bool

	// What became of it: may be read once it was given as a result.
	idled  time.Duration // until its PINGREQ, or its end if that came first
	pinged bool
	asked  bool      // before its time
	end    *mqtt.End // nil: it survived, or was stopped
}

// idle idles, and then pings.
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
		case e.Kind == mqtt.Due, e.Kind == mqtt.Interrupted && g.early.Load():
			g.idled, g.pinged, g.asked = time.Since(g.since), true, e.Kind == mqtt.Interrupted
			until = time.Time{} // the session watches the PINGRESP
			_ = g.s.Ping()      // what it fails for, Next tells
		case e.Kind != mqtt.Interrupted: // the broker said something
			g.since = e.At
			until = e.At.Add(g.step)
		}
	}
}

// stop makes it end without a result.
func (g *rung) stop() {
	g.stopping.Store(true)
	g.s.Interrupt()
}

// ping makes it ping now, if it did not yet.
func (g *rung) ping() {
	g.early.Store(true)
	g.s.Interrupt()
}

// cut tells whether it ended as what idles for too long does.
func (g *rung) cut() bool {
	switch g.end.Reason {
	case disconnect.PeerClosed, disconnect.ConnectionReset, disconnect.IdleTimeout, disconnect.PingrespTimeout, disconnect.NetworkTimeout,
		disconnect.NetworkUnreachable:
		return true
	}
	return false
}

// String says in words what became of it.
func (g *rung) String() string {
	switch {
	case g.end == nil:
		return fmt.Sprintf("%s survived", synthetic.FormatDuration(g.idled))
	case g.pinged:
		return fmt.Sprintf("%s cut (%s after the PINGREQ)", synthetic.FormatDuration(g.idled), g.end.Evidence)
	}
	return fmt.Sprintf("%s cut after %s (%s)", g.step, synthetic.FormatDuration(g.idled), g.end.Evidence)
}
