// Package message makes the messages that probes publish to themselves, and counts what happened to
// each of them: delivered, lost, late, duplicated or reordered.
package message

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/pingreq/pingreq/synthetic"
)

// Metrics are the metric families of the kinds that publish messages to themselves.
type Metrics struct {
	AckDuration, DeliveryDuration                           *synthetic.Metric
	Published, Delivered, Lost, Late, Duplicated, Reordered *synthetic.Metric
	Foreign, DelayedAck                                     *synthetic.Metric
}

// NewMetrics declares the families.
func NewMetrics() *Metrics {
	qos := []string{"qos"}
	known := [][]string{{"0"}, {"1"}, {"2"}}
	count := func(name, help string) *synthetic.Metric {
		return &synthetic.Metric{Name: "mqtt_probe_messages_" + name + "_total", Type: synthetic.Counter, Labels: qos, Known: known, Help: help}
	}
	return &Metrics{
		AckDuration: &synthetic.Metric{Name: "mqtt_probe_publish_ack_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: qos, Buckets: synthetic.RTTBuckets(),
			Help: "Time from writing a PUBLISH to its PUBACK (QoS 1) or PUBCOMP (QoS 2)."},
		DeliveryDuration: &synthetic.Metric{Name: "mqtt_probe_delivery_duration_seconds", Type: synthetic.Histogram, Unit: "seconds", Labels: qos, Buckets: synthetic.RTTBuckets(),
			Help: "Time from writing a PUBLISH to its arrival at the subscriber."},
		Published:  count("published", "Messages published, by the QoS at which they were published."),
		Delivered:  count("delivered", "Messages that arrived. Each counts once, also if it was late."),
		Lost:       count("lost", "Messages that had not arrived when the run or the connection ended."),
		Late:       count("late", "Messages that arrived after the delivery timeout."),
		Duplicated: count("duplicated", "Further arrivals of messages that had already arrived. At QoS 1 the standard allows them."),
		Foreign: &synthetic.Metric{Name: "mqtt_probe_messages_foreign_total", Type: synthetic.Counter,
			Help: "Messages on a probe's own topic that its run did not publish, which are ignored. Others can write to topics below agent.topic_prefix, or the broker still had messages of an earlier run."},
		DelayedAck: &synthetic.Metric{Name: "mqtt_probe_messages_delayed_ack", Type: synthetic.Gauge,
			Help: "1 if Nagle's algorithm at the broker delays acknowledgements or deliveries until our delayed TCP acknowledgements: they come about 40 ms late, and on time with TCP_QUICKACK. The latencies then include up to 40 ms that are not work of the broker. Otherwise 0. Absent if the probe cannot find out: without TCP_INFO, which only Linux has, and in profiles with tcp.quickack."},
		Reordered: count("reordered", "Messages that arrived after a message that was published later."),
	}
}

// All returns the families in the order of the documentation.
func (m *Metrics) All() []*synthetic.Metric {
	return []*synthetic.Metric{m.AckDuration, m.DeliveryDuration, m.Published, m.Delivered, m.Lost, m.Late, m.Duplicated, m.Reordered, m.Foreign, m.DelayedAck}
}

// Series returns how many series a probe has that publishes at so many levels of QoS. What is lost,
// late or comes twice has none until it happens.
func (m *Metrics) Series(qos ...int) []synthetic.Expected {
	n, acknowledged := len(qos), 0
	for _, q := range qos {
		if q > 0 {
			acknowledged++
		}
	}
	all := []synthetic.Expected{m.AckDuration.Always(acknowledged), m.DeliveryDuration.Always(n), m.Published.Always(n), m.Delivered.Always(n),
		m.Foreign.AtMost(0, 1), m.DelayedAck.Always(min(n, 1))}
	for _, fault := range []*synthetic.Metric{m.Lost, m.Late, m.Duplicated, m.Reordered} {
		all = append(all, fault.AtMost(0, n))
	}
	return all
}

// Payload makes and recognises the payloads of one run. Each has a sequence number and a code that
// only this run can make. So a retained message, one of another run, and one that somebody forged
// before it was sent never count as one of ours. Who reads our messages can only repeat them.
type Payload struct{ key [16]byte }

// NewPayload returns a Payload with a new random key.
func NewPayload() (p Payload) {
	_, _ = rand.Read(p.key[:]) // it never fails
	return p
}

// Make returns a payload of at least size bytes.
func (p Payload) Make(seq, size int) []byte {
	s := p.head(seq)
	return []byte(s + strings.Repeat(".", max(0, size-len(s))))
}

// head returns the beginning of a payload.
func (p Payload) head(seq int) string {
	code := hmac.New(sha256.New, p.key[:])
	_ = binary.Write(code, binary.BigEndian, int64(seq)) // a hash takes everything
	return fmt.Sprintf("pingreq %d %x ", seq, code.Sum(nil)[:12])
}

// Seq returns the sequence number of a payload, and whether the payload belongs to this run.
func (p Payload) Seq(b []byte) (int, bool) {
	text := string(b[:min(len(b), 80)])
	rest, ok := strings.CutPrefix(text, "pingreq ")
	digits, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && strings.HasPrefix(text, p.head(n))
}

// QoSLabel returns the value of label qos.
func QoSLabel(q byte) string { return strconv.Itoa(int(q)) }
