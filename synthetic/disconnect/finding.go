package disconnect

import "slices"

// Finding is what a probe found wrong although no connection ended. Its values are bounded, so it
// can be a label.
type Finding string

// The findings.
const (
	// Zombie means that pings are answered and publishes are not.
	Zombie Finding = "zombie"
	// DeliveryTimeout means that a message did not reach the subscriber in time.
	DeliveryTimeout Finding = "delivery_timeout"
	// MessageLost means that a message never arrived.
	MessageLost Finding = "message_lost"
	// MessageDuplicated means that a message arrived more than once.
	MessageDuplicated Finding = "message_duplicated"
	// MessageReordered means that messages arrived in another order.
	MessageReordered Finding = "message_reordered"
	// DetectionEarly means that a dead client was given up before 1.5 × keepalive.
	DetectionEarly Finding = "detection_early"
	// DetectionLate means that a dead client was noticed too late.
	DetectionLate Finding = "detection_late"
	// Undetected means that a dead client was not noticed.
	Undetected Finding = "undetected"
	// WillMissing means that the connection broke but no Will was published.
	WillMissing Finding = "will_missing"
	// PathCut means that the path, not the server, cut the connection.
	PathCut Finding = "path_cut"
	// SessionLost means that the server discarded a persistent session.
	SessionLost Finding = "session_lost"
	// NotTakenOver means that a second client with the same id was accepted and the first one
	// stayed.
	NotTakenOver Finding = "not_taken_over"
	// UnexpectedAcceptance means that the server accepted what it must refuse.
	UnexpectedAcceptance Finding = "unexpected_acceptance"
	// WrongRefusal means that the server refused for another reason than expected.
	WrongRefusal Finding = "wrong_refusal"
	// Panic means that the probe's own code failed.
	Panic Finding = "panic"
)

var findings = [...]Finding{
	Zombie, DeliveryTimeout, MessageLost, MessageDuplicated, MessageReordered, DetectionEarly, DetectionLate,
	Undetected, WillMissing, PathCut, SessionLost, NotTakenOver, UnexpectedAcceptance, WrongRefusal, Panic,
}

// Findings lists every finding, in the order of the documentation.
func Findings() []Finding { return slices.Clone(findings[:]) }

// Valid reports whether f is one of [Findings].
func (f Finding) Valid() bool { return slices.Contains(findings[:], f) }
