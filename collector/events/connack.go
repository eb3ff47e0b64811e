package events

import (
	"cmp"
	"slices"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// connackFailure returns the event for a CONNECT that the broker answered with a failure code,
// classified as the client saw it.
func connackFailure(version, code byte) Event {
	e := disconnect.Classify(disconnect.Observation{Phase: disconnect.PhaseMQTT, Version: version, Packet: disconnect.Connack, Code: code})
	return Event{Kind: ConnectFailure, Reason: e.Reason, Initiator: e.Initiator}
}

// addConnackFailures adds every event that [connackFailure] can return.
func addConnackFailures(o *outcomes) {
	for code := byte(1); code != 0; code++ {
		o.add(connackFailure(4, code))
		o.add(connackFailure(5, code))
	}
}

// sorted sorts outcomes, because the order of a map's elements is random.
func sorted(o outcomes) []Event {
	slices.SortFunc(o, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Initiator, b.Initiator))
	})
	return o
}
