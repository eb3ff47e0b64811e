package connect

import (
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// delayedAck finds out whether a CONNACK is late because the broker waits for our acknowledgement.
// Nagle's algorithm [RFC 896] delays a small segment until the segment before it is acknowledged.
// Our kernel delays this acknowledgement because it has nothing to send. With TLS 1.3 the session
// tickets are such a segment before the CONNACK. A second connect that acknowledges at once
// shows whether this is the cause. A third connect, without TCP_QUICKACK, excludes chance.
type delayedAck struct {
	metric  *synthetic.Metric
	since   time.Time // first try to find out in the last hour
	tries   int       // number of tries since then
	verdict delayVerdict
	// usual and quick are the times to the CONNACK without and with TCP_QUICKACK, from the latest
	// try.
	usual, quick time.Duration
}

// delayVerdict says what a late CONNACK waited for.
type delayVerdict uint8

const (
	delayUnknown delayVerdict = iota
	delayOurs                 // our acknowledgement
	delayTheirs               // the broker itself
)

const (
	// delayLeast and delayMost limit the delay that a delayed acknowledgement causes. Linux waits
	// 40 ms (TCP_DELACK_MIN), in ticks of up to 10 ms, and the machine may be slow.
	delayLeast = 35 * time.Millisecond
	delayMost  = 60 * time.Millisecond
	// delayHolds is how long a verdict is valid. delayTries limits the tries to reach a verdict in
	// this time. Without them, a broker might get every connect three times.
	delayHolds = time.Hour
	delayTries = 3
)

func newDelayedAckMetric() *synthetic.Metric {
	return &synthetic.Metric{Name: "mqtt_probe_connect_delayed_ack", Type: synthetic.Gauge,
		Help: "1 if Nagle's algorithm at the broker delayed the CONNACK until our delayed acknowledgement: the CONNACK came about 40 ms late without TCP_QUICKACK, and on time with it. Otherwise 0. Absent if the probe cannot find out: without TCP_INFO, which only Linux has, and in profiles with tcp.quickack."}
}

// answer is the time from CONNECT to CONNACK, and the least round-trip time of the path.
type answer struct{ took, rtt time.Duration }

// answerOf measures the CONNACK of a session that was just accepted. It returns false if the system
// does not have the round-trip time.
func answerOf(s *mqtt.Session) (answer, bool) {
	f, err := netfault.ReadFacts(s.Conn())
	return answer{client.MQTTPhase(s), f.MinRTT}, err == nil
}

// late returns how much later the CONNACK came than it would with immediate acknowledgements.
// Without delay it takes two round trips: one for the first segment, and one for our
// acknowledgement and the second segment.
func (a answer) late() time.Duration { return a.took - 2*a.rtt }

// prompt reports whether the CONNACK waited for nothing. delayed reports whether it is late by the
// time of a delayed acknowledgement.
func (a answer) prompt() bool  { return a.late() < delayLeast }
func (a answer) delayed() bool { return !a.prompt() && a.late() <= delayMost }

// judge adds to the report what the CONNACK waited for. again connects once more, with or without
// TCP_QUICKACK. It is called only if the CONNACK was delayed, and only a few times an hour.
func (d *delayedAck) judge(r *synthetic.Report, first answer, again func(quick bool) (answer, error)) {
	switch {
	case first.prompt():
		d.verdict = delayUnknown
		r.Samples = append(r.Samples, d.metric.Of(0))
		return
	case !first.delayed(): // too late for this cause alone, so the cause is not known
		r.Samples = append(r.Samples, d.metric.Forgetting())
		return
	}
	if time.Since(d.since) >= delayHolds {
		d.since, d.tries, d.verdict = time.Now(), 0, delayUnknown
	}
	if d.verdict == delayUnknown && d.tries < delayTries {
		d.tries++
		d.findOut(first, again)
	}
	switch d.verdict {
	case delayUnknown:
		r.Samples = append(r.Samples, d.metric.Forgetting())
	case delayOurs:
		r.Samples = append(r.Samples, d.metric.Of(1))
		r.Detail += "; the CONNACK waited for our delayed acknowledgement because of Nagle's algorithm at the broker, and it does so for real devices too: set TCP_NODELAY at the broker, in Mosquitto with set_tcp_nodelay true"
		r.Signs = append(r.Signs, synthetic.Sign{Kind: synthetic.SignNagle, Detail: message.NagleSays})
		r.AddNumbers("delayed_ack", d.numbers(), "CONNACK took %s, and %s when we acknowledged at once", synthetic.FormatDuration(d.usual), synthetic.FormatDuration(d.quick))
	case delayTheirs:
		r.Samples = append(r.Samples, d.metric.Of(0))
		r.AddNumbers("delayed_ack", d.numbers(), "none: CONNACK took %s, and %s when we acknowledged at once", synthetic.FormatDuration(d.usual), synthetic.FormatDuration(d.quick))
	}
}

// findOut reaches a verdict, unless a connect fails or the times are not clear.
func (d *delayedAck) findOut(first answer, again func(quick bool) (answer, error)) {
	quick, err := again(true)
	if err != nil {
		return
	}
	d.usual, d.quick = first.took, quick.took
	if quick.delayed() {
		d.verdict = delayTheirs
	} else if quick.prompt() {
		if proof, err := again(false); err == nil && proof.delayed() {
			d.verdict = delayOurs
		}
	}
}

// numbers returns how long CONNACK took.
func (d *delayedAck) numbers() []synthetic.Number {
	return []synthetic.Number{{Name: "usual_seconds", Value: d.usual.Seconds()}, {Name: "acknowledged_at_once_seconds", Value: d.quick.Seconds()}}
}
