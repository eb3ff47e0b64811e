package disconnect

import "slices"

// Evidence is what told why a connection was refused or ended.
type Evidence string

// The kinds of evidence.
const (
	FromDisconnectPacket Evidence = "disconnect_packet" // a DISCONNECT, or the close frame of a websocket
	FromConnack          Evidence = "connack"           // a CONNACK
	FromSuback           Evidence = "suback"            // a SUBACK or UNSUBACK
	FromPuback           Evidence = "puback"            // a PUBACK, PUBREC, PUBREL or PUBCOMP
	FromCloseNotify      Evidence = "close_notify"      // TLS closed in order
	FromFIN              Evidence = "fin"               // TCP closed in order (on TLS: without close_notify)
	FromRST              Evidence = "rst"               // TCP reset
	FromTLSAlert         Evidence = "tls_alert"         // an alert from the TLS peer, other than close_notify
	FromDeadline         Evidence = "deadline"          // a deadline of ours passed
	FromErrno            Evidence = "errno"             // the operating system's error, or a SOCKS reply that stands for one
	FromResolver         Evidence = "resolver"          // the name resolver
	FromHTTPStatus       Evidence = "http_status"       // the HTTP answer to a websocket upgrade or to a proxy's CONNECT
	FromEvent            Evidence = "event"             // a client event published by the broker
	FromLog              Evidence = "log"               // a line of the broker's log
	FromLocal            Evidence = "local"             // we found it ourselves, or did it ourselves
)

var evidences = [...]Evidence{
	FromDisconnectPacket, FromConnack, FromSuback, FromPuback, FromCloseNotify, FromFIN, FromRST, FromTLSAlert,
	FromDeadline, FromErrno, FromResolver, FromHTTPStatus, FromEvent, FromLog, FromLocal,
}

// Evidences lists every kind of evidence, in the order of the documentation.
func Evidences() []Evidence { return slices.Clone(evidences[:]) }

// Valid tells whether e is one of [Evidences].
func (e Evidence) Valid() bool { return slices.Contains(evidences[:], e) }
