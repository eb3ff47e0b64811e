package disconnect

import "slices"

// Finding is what a probe found wrong where no connection ended: a bounded value, fit for a label.
type Finding string

// The findings.
const (
	Zombie               Finding = "zombie"                // pings are answered, publishes are not
	DeliveryTimeout      Finding = "delivery_timeout"      // a message did not reach the subscriber in time
	MessageLost          Finding = "message_lost"          // a message never came
	MessageDuplicated    Finding = "message_duplicated"    // a message came more than once
	MessageReordered     Finding = "message_reordered"     // messages came in another order
	DetectionEarly       Finding = "detection_early"       // a dead client was given up before 1.5 × keepalive
	DetectionLate        Finding = "detection_late"        // a dead client was noticed too late
	Undetected           Finding = "undetected"            // a dead client was not noticed
	WillMissing          Finding = "will_missing"          // no Will although the connection broke
	PathCut              Finding = "path_cut"              // the path, not the server, cut the connection
	SessionLost          Finding = "session_lost"          // the server forgot a persistent session
	NotTakenOver         Finding = "not_taken_over"        // a second client with the same id was let in and the first one stayed
	UnexpectedAcceptance Finding = "unexpected_acceptance" // what must be refused was let in
	WrongRefusal         Finding = "wrong_refusal"         // refused for another reason than expected
	Panic                Finding = "panic"                 // the probe's own code failed
)

var findings = [...]Finding{
	Zombie, DeliveryTimeout, MessageLost, MessageDuplicated, MessageReordered, DetectionEarly, DetectionLate,
	Undetected, WillMissing, PathCut, SessionLost, NotTakenOver, UnexpectedAcceptance, WrongRefusal, Panic,
}

// Findings lists every finding, in the order of the documentation.
func Findings() []Finding { return slices.Clone(findings[:]) }

// Valid tells whether f is one of [Findings].
func (f Finding) Valid() bool { return slices.Contains(findings[:], f) }
