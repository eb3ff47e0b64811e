package disconnect

import "slices"

// Initiator is the side from which an end came: the side that refused or closed or, where we closed because something
// was missing or wrong, the side that owed it.
type Initiator string

// The initiators.
const (
	ByClient  Initiator = "client"  // this side
	ByServer  Initiator = "server"  // the server, or what stands at its address for it
	ByNetwork Initiator = "network" // the path between them, or the server's whole machine
	ByUnknown Initiator = "unknown" // cannot be told from what was seen
)

var initiators = [...]Initiator{ByClient, ByServer, ByNetwork, ByUnknown}

// Initiators lists every initiator, in the order of the documentation.
func Initiators() []Initiator { return slices.Clone(initiators[:]) }

// Valid tells whether i is one of [Initiators].
func (i Initiator) Valid() bool { return slices.Contains(initiators[:], i) }
