package message

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// messageMetrics are the families of the kinds that send messages to themselves.
type Metrics struct {
	AckDuration, DeliveryDuration                           *synthetic.Metric
	Published, Delivered, Lost, Late, Duplicated, Reordered *synthetic.Metric
}

func NewMetrics() *Metrics {
	qos := []string{"qos"}
	zero := [][]string{{"0"}, {"1"}, {"2"}}
	count := func(name, help string) *synthetic.Metric {
		return &synthetic.Metric{Name: "mqtt_probe_messages_" + name + "_total", Type: synthetic.Counter, Labels: qos, Zero: zero, Help: help}
	}
	return &Metrics{
		AckDuration: &synthetic.Metric{Name: "mqtt_probe_publish_ack_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: qos, Buckets: synthetic.RTTBuckets(), Native: true,
			Help: "Time from writing a PUBLISH to its PUBACK (QoS 1) or PUBCOMP (QoS 2)."},
		DeliveryDuration: &synthetic.Metric{Name: "mqtt_probe_delivery_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: qos, Buckets: synthetic.RTTBuckets(), Native: true,
			Help: "Time from writing a PUBLISH to its arrival at the subscriber."},
		Published:  count("published", "Messages published, by the QoS of publishing."),
		Delivered:  count("delivered", "Messages that arrived, each counted once, also when it was late."),
		Lost:       count("lost", "Messages that had not arrived when the run, or the connection, ended."),
		Late:       count("late", "Messages that arrived after the delivery timeout."),
		Duplicated: count("duplicated", "Further arrivals of messages that had arrived already; at QoS 1 the standard allows them."),
		Reordered:  count("reordered", "Messages that arrived after one that was published later."),
	}
}

func (m *Metrics) All() []*synthetic.Metric {
	return []*synthetic.Metric{m.AckDuration, m.DeliveryDuration, m.Published, m.Delivered, m.Lost, m.Late, m.Duplicated, m.Reordered}
}

// payload makes and recognises the payloads of one run: a nonce that nobody else has, and a sequence number, so that
// neither a retained nor a foreign message passes for one of ours.
type Payload struct{ nonce string }

func NewPayload() Payload { return Payload{rand.Text()} }

// make gives a payload of at least size bytes.
func (p Payload) Make(seq, size int) []byte {
	s := fmt.Sprintf("pingreq %s %d ", p.nonce, seq)
	return []byte(s + strings.Repeat(".", max(0, size-len(s))))
}

// seq gives the sequence number of a payload of this run.
func (p Payload) Seq(b []byte) (int, bool) {
	rest, ok := strings.CutPrefix(string(b[:min(len(b), 80)]), "pingreq "+p.nonce+" ")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// qosLabel is the value of label qos.
func QoSLabel(q byte) string { return strconv.Itoa(int(q)) }
