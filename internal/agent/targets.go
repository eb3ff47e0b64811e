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
	probed := map[string]bool{}
	for _, d := range a.diagnoses.All(time.Now()) {
		probed[d.Target] = true
		s := address(&d.About)
		s.State, s.Cause, s.Failing, s.Since, s.FailingKinds = string(d.State), d.Cause, d.Failing(), d.Since, d.FailingKinds
		all = append(all, s)
	}
	for _, t := range *a.targets.Load() { // perhaps it has only readers
		if about := diagnosis.About(&t); !probed[t.Name] {
			all = append(all, address(&about))
		}
	}
	return all
}

// address returns a state with nothing but the target's name and address.
func address(about *diagnosis.Target) collector.TargetState {
	host, port := about.HostPort()
	return collector.TargetState{Target: about.Name, Host: host, Port: port, Transport: about.Scheme}
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
