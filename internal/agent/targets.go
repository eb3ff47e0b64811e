package agent

import (
	"time"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/diagnosis"
)

// stateNames returns the states of targets as label values.
func stateNames() (names []string) {
	for _, s := range diagnosis.States() {
		names = append(names, string(s))
	}
	return names
}

// targetStates returns how the targets are now.
func (a *Agent) targetStates() (all []collector.TargetState) {
	for _, d := range a.diagnoses.All(time.Now()) {
		host, port := d.About.HostPort()
		all = append(all, collector.TargetState{Target: d.Target, State: string(d.State), Cause: d.Cause, Failing: d.Failing(), Since: d.Since, FailingKinds: d.FailingKinds,
			Host: host, Port: port, Transport: d.About.Scheme})
	}
	return all
}

// broker returns what the broker of a target says of itself.
func (a *Agent) broker(target string) *diagnosis.Broker {
	s, ok := a.fleet.Status(target, time.Now())
	if !ok {
		return nil
	}
	b := &diagnosis.Broker{Software: s.Dialect}
	if s.State == sys.Refused {
		b.Refused = s.Reason
	}
	return b
}
