package disconnect

import (
	"fmt"
	"time"

	"github.com/pingreq/pingreq/internal/durations"
)

// Circumstances are what was measured around the end of a connection. They are facts without a
// conclusion. The zero value of a field means that it is not known or did not happen.
type Circumstances struct {
	// Age is how long the connection had been open, from the moment at which the socket was connected.
	Age time.Duration
	// Sent is the packet that we had sent last, SentSize its size in bytes, and SentAgo the time from
	// its last byte to the end.
	Sent     PacketType
	SentSize int
	SentAgo  time.Duration
	// Silence is the time from the last byte that came to the end.
	Silence time.Duration
	// PingsAnswered counts the PINGREQs that were answered. PingsWaiting counts those that were not.
	PingsAnswered, PingsWaiting int
	// Received counts the bytes that came on the raw socket, below TLS and websocket.
	Received int64
	// OthersAnswered reports that the address answered other connections of ours while it did not
	// answer this attempt.
	OthersAnswered bool
	// LargeLost reports that small segments of the connection passed and a full-sized one did not.
	LargeLost bool
	// Certificate is what was wrong with a certificate.
	Certificate CertificateFault
	// Speaks is what answers at the port, if that is not what we expect there.
	Speaks Protocol
}

const (
	// patientWait is how long a server may take to close a connection that it does not want. One that
	// takes longer wanted to answer, and gave up.
	patientWait = 2 * time.Second
	// promptAnswer is the time within which an end is the answer to what we sent last. It allows for
	// the round trip of a satellite and for the work of the server.
	promptAnswer = time.Second
)

// NothingCame reports whether a connection was open and nothing came on it.
func (c *Circumstances) NothingCame() bool { return c.Age > 0 && c.Received == 0 }

// Answers reports whether the end came so soon after our last packet that it can be the answer to it.
func (c *Circumstances) Answers() bool { return c.Sent != 0 && c.SentAgo < promptAnswer }

// story returns what a detail says of the circumstances of an established connection, such as " 3 ms
// after our SUBSCRIBE (27 bytes), connection 15.2 s old, pings answered until then".
func (c *Circumstances) story() string {
	if c.Sent == 0 {
		return c.history()
	}
	size := ""
	if c.Sent == Publish || c.Sent == Subscribe {
		size = fmt.Sprintf(" (%d bytes)", c.SentSize)
	}
	return fmt.Sprintf(" %s after our %s%s", durations.Text(c.SentAgo), c.Sent, size) + c.history()
}

// history is the part of story that is not about our last packet.
func (c *Circumstances) history() (s string) {
	if c.Age > 0 {
		s = ", connection " + durations.Text(c.Age) + " old"
	}
	switch {
	case c.PingsWaiting > 0:
		s += ", last ping not answered"
	case c.PingsAnswered > 0:
		s += ", pings answered until then"
	}
	return s
}
