package disconnect

import "slices"

// Evidence is how we know why a connection was refused or ended.
type Evidence string

// The kinds of evidence.
const (
	// FromDisconnectPacket is a DISCONNECT, or the close frame of a websocket.
	FromDisconnectPacket Evidence = "disconnect_packet"
	// FromConnack is a CONNACK.
	FromConnack Evidence = "connack"
	// FromSuback is a SUBACK or UNSUBACK.
	FromSuback Evidence = "suback"
	// FromPuback is a PUBACK, PUBREC, PUBREL or PUBCOMP.
	FromPuback Evidence = "puback"
	// FromCloseNotify means that TLS was closed cleanly.
	FromCloseNotify Evidence = "close_notify"
	// FromFIN means that TCP was closed cleanly; over TLS, without close_notify.
	FromFIN Evidence = "fin"
	// FromRST is a TCP reset.
	FromRST Evidence = "rst"
	// FromTLSAlert is an alert from the TLS peer, other than close_notify.
	FromTLSAlert Evidence = "tls_alert"
	// FromDeadline means that a deadline of ours passed.
	FromDeadline Evidence = "deadline"
	// FromErrno is the operating system's error, or a SOCKS reply that stands for one.
	FromErrno Evidence = "errno"
	// FromResolver is the name resolver.
	FromResolver Evidence = "resolver"
	// FromHTTPStatus is the HTTP answer to a websocket upgrade or to a proxy's CONNECT.
	FromHTTPStatus Evidence = "http_status"
	// FromEvent is a client event that the broker published.
	FromEvent Evidence = "event"
	// FromLog is a line of the broker's log.
	FromLog Evidence = "log"
	// FromLocal means that we found or did it ourselves.
	FromLocal Evidence = "local"
)

var evidences = [...]Evidence{
	FromDisconnectPacket, FromConnack, FromSuback, FromPuback, FromCloseNotify, FromFIN, FromRST, FromTLSAlert,
	FromDeadline, FromErrno, FromResolver, FromHTTPStatus, FromEvent, FromLog, FromLocal,
}

// Evidences lists every kind of evidence, in the order of the documentation.
func Evidences() []Evidence { return slices.Clone(evidences[:]) }

// Valid reports whether e is one of [Evidences].
func (e Evidence) Valid() bool { return slices.Contains(evidences[:], e) }
