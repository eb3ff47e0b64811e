// Package message makes the messages that probes publish to themselves, and counts what happened to
// each of them: delivered, lost, late, duplicated or reordered.
package message

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// Metrics are the metric families of the kinds that publish messages to themselves.
type Metrics struct {
	AckDuration, DeliveryDuration                           *synthetic.Metric
	Published, Delivered, Lost, Late, Duplicated, Reordered *synthetic.Metric
}

// NewMetrics declares the families.
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
		Published:  count("published", "Messages published, by the QoS at which they were published."),
		Delivered:  count("delivered", "Messages that arrived. Each counts once, also if it was late."),
		Lost:       count("lost", "Messages that had not arrived when the run or the connection ended."),
		Late:       count("late", "Messages that arrived after the delivery timeout."),
		Duplicated: count("duplicated", "Further arrivals of messages that had already arrived. At QoS 1 the standard allows them."),
		Reordered:  count("reordered", "Messages that arrived after a message that was published later."),
	}
}

// All returns the families in the order of the documentation.
func (m *Metrics) All() []*synthetic.Metric {
	return []*synthetic.Metric{m.AckDuration, m.DeliveryDuration, m.Published, m.Delivered, m.Lost, m.Late, m.Duplicated, m.Reordered}
}

// Payload makes and recognises the payloads of one run. Each has a random text that no other run
// has, and a sequence number. So a retained or foreign message never counts as one of ours.
type Payload struct{ nonce string }

// NewPayload returns a Payload with a new random text.
func NewPayload() Payload { return Payload{rand.Text()} }

// Make returns a payload of at least size bytes.
func (p Payload) Make(seq, size int) []byte {
	s := fmt.Sprintf("pingreq %s %d ", p.nonce, seq)
	return []byte(s + strings.Repeat(".", max(0, size-len(s))))
}

// Seq returns the sequence number of a payload, and whether the payload belongs to this run.
func (p Payload) Seq(b []byte) (int, bool) {
	rest, ok := strings.CutPrefix(string(b[:min(len(b), 80)]), "pingreq "+p.nonce+" ")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// QoSLabel returns the value of label qos.
func QoSLabel(q byte) string { return strconv.Itoa(int(q)) }
