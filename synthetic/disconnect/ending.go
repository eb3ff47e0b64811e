package disconnect

import "fmt"

// Ending says why a connection was refused or ended, who did it and how we know. All but Detail is bounded.
type Ending struct {
	Reason    Reason
	Initiator Initiator
	Evidence  Evidence
	Phase     Phase // "" when not known
	// Code is the MQTT reason code or CONNACK return code of the packet that told, -1 when none did.
	Code int
	// Detail is one line for people, printable and at most 200 bytes; it may be empty. It is no label.
	Detail string
}

// Local tells that the fault lies with our own side (late timers, no descriptors or ports left, this machine's own
// policy), so that the ending says nothing of the server. An end on purpose is no fault.
func (e Ending) Local() bool { return e.Initiator == ByClient && e.Reason != ClientDisconnect }

// String gives "reason (initiator, evidence): detail".
func (e Ending) String() string {
	s := fmt.Sprintf("%s (%s, %s)", e.Reason, e.Initiator, e.Evidence)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}
