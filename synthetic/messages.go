package synthetic

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// messageMetrics are the families of the kinds that send messages to themselves.
type messageMetrics struct {
	ackDuration, deliveryDuration                           *Metric
	published, delivered, lost, late, duplicated, reordered *Metric
}

func newMessageMetrics() *messageMetrics {
	qos := []string{"qos"}
	zero := [][]string{{"0"}, {"1"}, {"2"}}
	count := func(name, help string) *Metric {
		return &Metric{Name: "mqtt_probe_messages_" + name + "_total", Type: Counter, Labels: qos, Zero: zero, Help: help}
	}
	return &messageMetrics{
		ackDuration: &Metric{Name: "mqtt_probe_publish_ack_duration_seconds", Type: Histogram, Unit: "seconds", Labels: qos, Buckets: rttBuckets(), Native: true,
			Help: "Time from writing a PUBLISH to its PUBACK (QoS 1) or PUBCOMP (QoS 2)."},
		deliveryDuration: &Metric{Name: "mqtt_probe_delivery_duration_seconds", Type: Histogram, Unit: "seconds", Labels: qos, Buckets: rttBuckets(), Native: true,
			Help: "Time from writing a PUBLISH to its arrival at the subscriber."},
		published:  count("published", "Messages published, by the QoS of publishing."),
		delivered:  count("delivered", "Messages that arrived, each counted once, also when it was late."),
		lost:       count("lost", "Messages that had not arrived when the run, or the connection, ended."),
		late:       count("late", "Messages that arrived after the delivery timeout."),
		duplicated: count("duplicated", "Further arrivals of messages that had arrived already; at QoS 1 the standard allows them."),
		reordered:  count("reordered", "Messages that arrived after one that was published later."),
	}
}

func (m *messageMetrics) all() []*Metric {
	return []*Metric{m.ackDuration, m.deliveryDuration, m.published, m.delivered, m.lost, m.late, m.duplicated, m.reordered}
}

// payload makes and recognises the payloads of one run: a nonce that nobody else has, and a sequence number, so that
// neither a retained nor a foreign message passes for one of ours.
type payload struct{ nonce string }

func newPayload() payload { return payload{rand.Text()} }

// make gives a payload of at least size bytes.
func (p payload) make(seq, size int) []byte {
	s := fmt.Sprintf("pingreq %s %d ", p.nonce, seq)
	return []byte(s + strings.Repeat(".", max(0, size-len(s))))
}

// seq gives the sequence number of a payload of this run.
func (p payload) seq(b []byte) (int, bool) {
	rest, ok := strings.CutPrefix(string(b[:min(len(b), 80)]), "pingreq "+p.nonce+" ")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

// qosLabel is the value of label qos.
func qosLabel(q byte) string { return strconv.Itoa(int(q)) }
