package disconnect

import "slices"

// Phase is how far a connection had come.
type Phase string

// The phases, in the order in which they happen. A phase that a target does not need is skipped.
const (
	PhaseResolve     Phase = "resolve"     // from the name to an address
	PhaseTCP         Phase = "tcp"         // connecting the TCP or unix socket
	PhaseProxy       Phase = "proxy"       // SOCKS5 or HTTP CONNECT
	PhaseTLS         Phase = "tls"         // TLS handshake
	PhaseWebsocket   Phase = "websocket"   // HTTP upgrade
	PhaseMQTT        Phase = "mqtt"        // from writing CONNECT to reading CONNACK
	PhaseEstablished Phase = "established" // from CONNACK on
)

var phases = [...]Phase{
	PhaseResolve, PhaseTCP, PhaseProxy, PhaseTLS, PhaseWebsocket, PhaseMQTT, PhaseEstablished,
}

// Phases lists every phase, in the order in which they happen.
func Phases() []Phase { return slices.Clone(phases[:]) }

// Valid reports whether p is one of [Phases].
func (p Phase) Valid() bool { return slices.Contains(phases[:], p) }
