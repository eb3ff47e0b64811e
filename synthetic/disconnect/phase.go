package disconnect

import "slices"

// Phase is how far a connection had come.
type Phase string

// The phases, in the order in which they happen. Those that a target does not need are skipped.
const (
	PhaseResolve     Phase = "resolve"     // name to address
	PhaseTCP         Phase = "tcp"         // TCP or unix socket connect
	PhaseProxy       Phase = "proxy"       // SOCKS5 or HTTP CONNECT
	PhaseTLS         Phase = "tls"         // TLS handshake
	PhaseWebsocket   Phase = "websocket"   // HTTP upgrade
	PhaseMQTT        Phase = "mqtt"        // CONNECT written to CONNACK read
	PhaseEstablished Phase = "established" // from CONNACK on
)

var phases = [...]Phase{
	PhaseResolve, PhaseTCP, PhaseProxy, PhaseTLS, PhaseWebsocket, PhaseMQTT, PhaseEstablished,
}

// Phases lists every phase, in the order in which they happen.
func Phases() []Phase { return slices.Clone(phases[:]) }

// Valid tells whether p is one of [Phases].
func (p Phase) Valid() bool { return slices.Contains(phases[:], p) }
