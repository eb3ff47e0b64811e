package message

import (
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

const (
	// delayLeast and delayMost limit how late an answer is that waits for our delayed acknowledgement.
	// Linux waits 40 ms (TCP_DELACK_MIN), in ticks of up to 10 ms, and the machine may be slow.
	delayLeast = 35 * time.Millisecond
	delayMost  = 60 * time.Millisecond
	// delayHolds is how long a verdict is valid, and after how long a try that was not clear is
	// repeated.
	delayHolds = time.Hour
)

// Nagle finds out whether a broker waits for our delayed TCP acknowledgements before it sends small
// packets (Nagle's algorithm [RFC 896]), so that latencies include about 40 ms that are not its work.
// It belongs to one probe. The zero value is ready.
type Nagle struct {
	// verdict is what the latest trial showed, until that is too old.
	verdict nagleVerdict
	at      time.Time     // of the latest trial
	usual   time.Duration // of the latest trial: without and with immediate acknowledgements
	quick   time.Duration
}

type nagleVerdict uint8

const (
	nagleUnknown nagleVerdict = iota
	nagleYes
	nagleNo
)

// Suspect reports whether a trial is due: the time d on a session is late by the time of a delayed
// acknowledgement, and no trial was made lately. It is false where the system has no TCP_INFO.
func (n *Nagle) Suspect(s *mqtt.Session, d time.Duration) bool {
	return late(s, d) && (n.at.IsZero() || time.Since(n.at) >= delayHolds)
}

// late reports whether a time on a session is that of a path with a delayed acknowledgement.
func late(s *mqtt.Session, d time.Duration) bool {
	f, err := netfault.ReadFacts(s.Conn())
	if err != nil {
		return false
	}
	over := d - 2*f.MinRTT
	return over >= delayLeast && over <= delayMost
}

// Judge records the result of a trial: the usual time, and the time with immediate acknowledgements.
func (n *Nagle) Judge(usual, quick time.Duration) {
	n.at, n.usual, n.quick, n.verdict = time.Now(), usual, quick, nagleNo
	if usual-quick >= delayLeast-10*time.Millisecond {
		n.verdict = nagleYes
	}
}

// Sample returns what to export for a time on a session: 1 if it waited for our acknowledgement, 0 if
// it did not, nothing if that is not known.
func (n *Nagle) Sample(m *synthetic.Metric, s *mqtt.Session, d time.Duration) synthetic.Sample {
	switch {
	case !late(s, d):
		return m.Of(0)
	case n.verdict == nagleYes:
		return m.Of(1)
	case n.verdict == nagleNo:
		return m.Of(0)
	}
	return m.Forgetting()
}

// Sign returns what is known for a time on a session, for humans to read. ok is false if it did not wait
// for our acknowledgement.
func (n *Nagle) Sign(s *mqtt.Session, d time.Duration) (sign synthetic.Sign, ok bool) {
	if n.verdict != nagleYes || !late(s, d) {
		return sign, false
	}
	return synthetic.Sign{Kind: synthetic.SignNagle, Detail: NagleSays}, true
}

// NagleSays says what Nagle's algorithm at a broker does to the latencies.
const NagleSays = "the broker waits for delayed TCP acknowledgements (Nagle's algorithm), which adds up to 40 ms to latencies, for real devices too: set TCP_NODELAY there, in Mosquitto with set_tcp_nodelay true"

// String describes the latest trial.
func (n *Nagle) String() string {
	return fmt.Sprintf("%s, and %s when we acknowledged at once", synthetic.FormatDuration(n.usual), synthetic.FormatDuration(n.quick))
}

// Slowest returns the longest median of the times of a tally until acknowledgements and deliveries.
func (t *Tally) Slowest() (slowest time.Duration) {
	for q := range byte(3) {
		c := t.Count(q)
		for _, ds := range [][]time.Duration{c.acks, c.took} {
			if len(ds) > 0 {
				slowest = max(slowest, median(ds))
			}
		}
	}
	return slowest
}
