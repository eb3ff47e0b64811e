package disconnect

import "fmt"

// Ending says why a connection was refused or ended, which side did it, and what the evidence is.
// All fields except Detail have a bounded set of values.
type Ending struct {
	// Reason is why the connection was refused or ended.
	Reason Reason
	// Initiator is the side that refused or closed, or that should have sent what was missing.
	Initiator Initiator
	// Evidence is how we know.
	Evidence Evidence
	// Phase is how far the connection had come. It is empty if that is not known.
	Phase Phase
	// Code is the MQTT reason code or CONNACK return code of the packet that is the evidence. It is
	// -1 if no packet is.
	Code int
	// When is what was measured around the end.
	When Circumstances
	// Detail is one line for humans to read: printable, at most 200 bytes, maybe empty. It is not
	// bounded, so it must not be used as a label.
	Detail string
}

// Local reports whether the fault is on our own side: late timers, no descriptors or ports left, or
// this machine's own policy. Such an ending says nothing about the server. An end on purpose is no
// fault.
func (e Ending) Local() bool { return e.Initiator == ByClient && e.Reason != ClientDisconnect }

// String returns "reason (initiator, evidence): detail".
func (e Ending) String() string {
	s := fmt.Sprintf("%s (%s, %s)", e.Reason, e.Initiator, e.Evidence)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}
