package disconnect

import "slices"

// Initiator is the side from which an end came: the side that refused or closed. If we closed
// because something was missing or wrong, it is the side that should have sent it.
type Initiator string

// The initiators.
const (
	ByClient  Initiator = "client"  // our own side
	ByServer  Initiator = "server"  // the server, or what answers at its address
	ByNetwork Initiator = "network" // the path between them, or the server's whole machine
	ByUnknown Initiator = "unknown" // the observation does not show it
)

var initiators = [...]Initiator{ByClient, ByServer, ByNetwork, ByUnknown}

// Initiators lists every initiator, in the order of the documentation.
func Initiators() []Initiator { return slices.Clone(initiators[:]) }

// Valid reports whether i is one of [Initiators].
func (i Initiator) Valid() bool { return slices.Contains(initiators[:], i) }
