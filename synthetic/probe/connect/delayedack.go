package connect

import (
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/netfault"
)

// delayedAck finds out whether CONNACK comes late because the broker waits for our acknowledgement: by Nagle's algorithm
// [RFC 896] a small segment waits until the one before is acknowledged, and our kernel delays that acknowledgement, since it
// has nothing to send. With TLS 1.3 the session tickets are such a segment. A connect that acknowledges at once decides, and
// one more without that proves that it was no chance.
type delayedAck struct {
	metric       *synthetic.Metric
	since        time.Time // when it was tried to find out first, in the last hour
	tries        int       // since then
	verdict      delayVerdict
	usual, quick time.Duration // CONNACK without and with TCP_QUICKACK, at the verdict
}

// delayVerdict is what a late CONNACK was found to wait for.
type delayVerdict uint8

const (
	delayUnknown delayVerdict = iota
	delayOurs                 // our acknowledgement
	delayTheirs               // the broker itself
)

const (
	// delayLeast and delayMost bound what a delayed acknowledgement adds: Linux waits 40 ms (TCP_DELACK_MIN), in ticks of
	// up to 10 ms, and the machine may be slow.
	delayLeast = 35 * time.Millisecond
	delayMost  = 60 * time.Millisecond
	// delayHolds is how long a verdict holds, and delayTries how often it is tried meanwhile to come to one, so that a broker
	// does not get every connect three times.
	delayHolds = time.Hour
	delayTries = 3
)

func newDelayedAckMetric() *synthetic.Metric {
	return &synthetic.Metric{Name: "mqtt_probe_connect_delayed_ack", Type: synthetic.Gauge,
		Help: "Whether CONNACK waited for our delayed acknowledgement, by Nagle's algorithm at the broker: 1 if it came about 40 ms late and a connect with TCP_QUICKACK did not, 0 if not. Absent where that cannot be told: without TCP_INFO, which is Linux's, and in profiles with tcp.quickack."}
}

// answer is how long CONNACK took, and the least that the path takes there and back.
type answer struct{ took, rtt time.Duration }

// answerOf measures the answer of a session that has just been let in; false where the system does not tell.
func answerOf(s *mqtt.Session) (answer, bool) {
	f, err := netfault.ReadFacts(s.Conn())
	return answer{client.MQTTPhase(s), f.MinRTT}, err == nil
}

// late is by how much an answer came later than with an acknowledgement at once: after the first segment came, and our
// acknowledgement went and the second segment came.
func (a answer) late() time.Duration { return a.took - 2*a.rtt }

// prompt tells that an answer waited for nothing, delayed that it is late by what a delayed acknowledgement takes.
func (a answer) prompt() bool  { return a.late() < delayLeast }
func (a answer) delayed() bool { return !a.prompt() && a.late() <= delayMost }

// judge says in the report what the answer to a connect waited for. again connects once more, with or without
// TCP_QUICKACK; it is called only if the answer was delayed, and then once in a while.
func (d *delayedAck) judge(r *synthetic.Report, first answer, again func(quick bool) (answer, error)) {
	switch {
	case first.prompt():
		d.verdict = delayUnknown
		r.Samples = append(r.Samples, d.metric.Of(0))
		return
	case !first.delayed(): // for another reason as well, or alone: who knows
		r.Samples = append(r.Samples, d.metric.Forgetting())
		return
	}
	if time.Since(d.since) >= delayHolds {
		d.since, d.tries, d.verdict = time.Now(), 0, delayUnknown
	}
	if d.verdict == delayUnknown && d.tries < delayTries {
		d.tries++
		d.ask(first, again)
	}
	switch d.verdict {
	case delayUnknown:
		r.Samples = append(r.Samples, d.metric.Forgetting())
	case delayOurs:
		r.Samples = append(r.Samples, d.metric.Of(1))
		r.Detail += "; the answer waited for our delayed acknowledgement (Nagle's algorithm at the broker, which real devices feel too): set TCP_NODELAY there, in Mosquitto set_tcp_nodelay true"
		r.AddFact("delayed_ack", "CONNACK took %s, and %s when we acknowledged at once", d.usual.Round(10*time.Microsecond), d.quick.Round(10*time.Microsecond))
	case delayTheirs:
		r.Samples = append(r.Samples, d.metric.Of(0))
		r.AddFact("delayed_ack", "none: CONNACK took %s, and %s when we acknowledged at once", d.usual.Round(10*time.Microsecond), d.quick.Round(10*time.Microsecond))
	}
}

// ask comes to a verdict, unless a connect fails or the answers do not tell.
func (d *delayedAck) ask(first answer, again func(quick bool) (answer, error)) {
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
