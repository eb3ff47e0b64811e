package disconnect

import (
	"errors"
	"fmt"
	"time"
)

// fromDeadline handles a deadline of ours that passed. A timeout error without a named deadline
// counts as the deadline of the phase.
func fromDeadline(o *Observation) (Ending, bool) {
	if o.Deadline == DeadlineNone && !isTimeout(o.Err) {
		return Ending{}, false
	}
	missing := func(reason Reason, what string) (Ending, bool) {
		e := ending(reason, owed(o), FromDeadline, what+tcpDetail(o)+lateDetail(o))
		e.When.LargeLost = !o.LocalFault && largeLost(o)
		return e, true
	}
	switch o.Deadline {
	case DeadlinePingresp:
		return missing(PingrespTimeout, "no PINGRESP in time")
	case DeadlineAck:
		return missing(AckTimeout, "no acknowledgement in time")
	case DeadlineConnack:
		return missing(ConnackTimeout, "no CONNACK in time")
	case DeadlineWrite:
		return missing(NetworkTimeout, "a write did not finish in time")
	case DeadlineHandshake:
		return missing(HandshakeTimeout, "the handshake did not finish in time")
	}
	switch o.Phase {
	case PhaseResolve:
		return ending(DNSError, network(o), FromResolver, resolverSilent), true
	case PhaseTCP:
		if o.When.OthersAnswered && !o.LocalFault {
			return queueFull(FromDeadline, "no TCP connection in time"), true
		}
		return ending(NetworkTimeout, network(o), FromDeadline, "no TCP connection in time"+lateDetail(o)), true
	case PhaseProxy:
		initiator := owed(o)
		if initiator == ByServer {
			// The proxy's host is up, and the proxy may be waiting for what is behind it.
			initiator = ByUnknown
		}
		return ending(NetworkTimeout, initiator, FromDeadline, "no answer from the proxy in time"+tcpDetail(o)), true
	case PhaseTLS, PhaseWebsocket:
		return missing(HandshakeTimeout, "the handshake did not finish in time")
	case PhaseMQTT:
		return missing(ConnackTimeout, "no CONNACK in time")
	}
	return missing(NetworkTimeout, "no answer in time")
}

// queueFull is the ending of a connect to an address that answers our other connections. Its host is
// up. A server that accepts too slowly has a full queue of new connections, and its kernel then drops
// what comes; a firewall that limits new connections does the same.
func queueFull(evidence Evidence, detail string) Ending {
	return ending(NetworkTimeout, ByUnknown, evidence, detail+", but it answers our other connections: its queue of new connections may be full")
}

// isTimeout reports whether err is a passed deadline of a context, a dialler or a socket.
func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// owed returns the side that owed the missing answer. Acknowledged bytes prove that the peer's
// kernel is running.
func owed(o *Observation) Initiator {
	t := o.TCP
	switch {
	case o.LocalFault:
		return ByClient
	case o.Transport == "unix":
		return ByServer // there is no path in between
	case t == nil:
		return ByUnknown
	case t.Unacked > 0 && !underway(o), largeLost(o):
		return ByNetwork
	case t.Backoff == 0:
		return ByServer
	case o.Deadline == DeadlineWrite:
		return ByServer // the window is full and probed with backoff: the peer does not read
	case t.LastAckRecv > 0 && t.LastAckRecv < o.SendIdle:
		return ByServer // the same, with our packet queued: the peer answers the probes
	}
	return ByNetwork // our packet was never sent: its route is gone
}

// largeLost reports whether large segments of a connection are lost again and again while small ones
// pass, in either direction: those after the lost one arrived. A link on the way takes no packets as
// large as both sides believe (an MTU black hole). A random loss is repaired within a deadline.
func largeLost(o *Observation) bool {
	t := o.TCP
	if t == nil {
		return false
	}
	ours := t.Sacked > 0 && (t.Retransmits > 1 || t.Backoff > 1)
	theirs := t.Unacked == 0 && t.OutOfOrder > 0 && (o.Phase != PhaseEstablished || o.When.Age > 0 && o.When.Age < youngAge)
	return ours || theirs
}

// youngAge is the age of a connection up to which a gap in what came is still the one that was seen.
const youngAge = time.Minute

// underwayTime is the shortest time after which TCP retransmits unacknowledged data (Linux:
// TCP_RTO_MIN).
const underwayTime = 200 * time.Millisecond

// underway reports whether everything unacknowledged was sent just now. Then the packet that we
// waited on is acknowledged.
func underway(o *Observation) bool {
	t := o.TCP
	return t.Unacked > 0 && t.Retransmits == 0 && t.Backoff == 0 && o.SendIdle > 0 && o.SendIdle < underwayTime
}

// network returns the initiator where nobody has answered yet.
func network(o *Observation) Initiator {
	if o.LocalFault {
		return ByClient
	}
	return ByNetwork
}

func lateDetail(o *Observation) string {
	if o.LocalFault {
		return "; but our own side was late"
	}
	return ""
}

func tcpDetail(o *Observation) string {
	t := o.TCP
	switch {
	case t == nil:
		return ""
	case largeLost(o):
		return ": large segments are lost again and again, and small ones after them arrive"
	case underway(o):
		return ": everything sent is acknowledged, except what was sent just now"
	case t.Unacked > 0:
		return fmt.Sprintf(": %d segments not acknowledged, retransmitted %d times", t.Unacked, t.Retransmits)
	case t.Backoff > 0:
		return ": everything sent is acknowledged, but no more can be sent"
	}
	return ": everything sent is acknowledged"
}
