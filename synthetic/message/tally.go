package message

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Tally counts what happens to the messages of one run. Two goroutines use it: the one of the
// publisher and the one of the receiver.
type Tally struct {
	// Topic is the topic of all messages.
	Topic string
	// Window is how many messages above QoS 0 may be on their way to the receiver: its Receive Maximum.
	// Some brokers drop what exceeds it. 0 means no limit.
	Window   int
	timeout  time.Duration // a later delivery counts as late
	payloads Payload

	mu        sync.Mutex
	sent      []*sentMessage // by sequence number
	acks      map[byte][]time.Duration
	newestSeq map[byte]int // highest sequence number delivered, by QoS
	missing   int
	underway  int           // those missing above QoS 0
	foreign   int           // messages that are not ours
	done      chan struct{} // closed and replaced when missing becomes 0
	// Last is when the latest message arrived. A repeated arrival of the same message does not
	// change it.
	Last time.Time
}

// sentMessage is one message.
type sentMessage struct {
	qos       byte
	sent      time.Time
	cancelled bool // it was not sent
	delivered int
	took      time.Duration
	reordered bool
}

// NewTally returns a Tally for messages on a topic. A message that takes longer than timeout counts
// as late.
func NewTally(timeout time.Duration, topic string) *Tally {
	return &Tally{Topic: topic, timeout: timeout, payloads: NewPayload(), acks: map[byte][]time.Duration{}, newestSeq: map[byte]int{}, done: make(chan struct{})}
}

// next makes the next message. It counts as sent from now on, because it may arrive before Publish
// returns.
func (t *Tally) next(qos byte, size int) (int, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := len(t.sent)
	t.sent = append(t.sent, &sentMessage{qos: qos, sent: time.Now()})
	t.missing++
	if qos > 0 {
		t.underway++
	}
	return seq, t.payloads.Make(seq, size)
}

// sentAt sets the time at which a message was written to the socket.
func (t *Tally) sentAt(seq int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].sent = at
}

// Publish sends n messages of one QoS, as many at once as the window allows. It waits for their
// acknowledgements until the deadline.
func (t *Tally) Publish(s *mqtt.Session, qos byte, n, size int, deadline time.Time) error {
	acks := map[uint16]bool{}
	for sent := 0; ; {
		full := false
		for sent < n {
			if full = qos > 0 && t.windowFull(); full {
				break
			}
			seq, body := t.next(qos, size)
			id, at, err := s.Publish(mqtt.Message{Topic: t.Topic, QoS: qos, Payload: body})
			if errors.Is(err, mqtt.ErrWindow) {
				t.cancel(seq)
				break
			}
			if err != nil {
				t.cancel(seq)
				return err
			}
			t.sentAt(seq, at)
			if sent++; qos > 0 {
				acks[id] = true
			}
		}
		if len(acks) == 0 && sent == n {
			return nil
		}
		until := deadline
		if full { // another goroutine receives, so look again soon
			if soon := time.Now().Add(windowAgain); soon.Before(until) {
				until = soon
			}
		}
		e, err := s.Next(until)
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted:
			return synthetic.ErrStopped
		case e.Kind == mqtt.Due && until.Before(deadline):
		case e.Kind == mqtt.Due && len(acks) == 0: // what is on its way does not arrive
			return nil
		case e.Kind == mqtt.Due:
			return s.Fail(disconnect.DeadlineAck)
		case e.Kind == mqtt.Ack && acks[e.ID]:
			delete(acks, e.ID)
			if e.Code >= 0x80 {
				return client.RefusedBy(s, disconnect.Puback, e.Code, e.Reason)
			}
			t.acked(qos, e.RTT)
		}
	}
}

// windowAgain is how soon Publish looks again whether messages have arrived.
const windowAgain = 2 * time.Millisecond

// windowFull reports whether as many messages are on their way as the receiver allows.
func (t *Tally) windowFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Window > 0 && t.underway >= t.Window
}

// cancel removes a message that was not sent.
func (t *Tally) cancel(seq int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].cancelled = true
	t.settleOne(t.sent[seq].qos)
}

// settleOne reduces the number of missing messages by one.
func (t *Tally) settleOne(qos byte) {
	if qos > 0 {
		t.underway--
	}
	if t.missing--; t.missing == 0 {
		close(t.done)
		t.done = make(chan struct{})
	}
}

// acked records an acknowledgement.
func (t *Tally) acked(qos byte, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks[qos] = append(t.acks[qos], rtt)
}

// Receive drives the subscriber until it is interrupted. The error is the end of the session.
func (t *Tally) Receive(s *mqtt.Session) error {
	for {
		e, err := s.Next(time.Time{})
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted:
			return nil
		case e.Kind == mqtt.Delivery && e.Msg.Topic == t.Topic:
			t.delivery(e.Msg.Payload, e.At)
		}
	}
}

// delivery records an arrival.
func (t *Tally) delivery(payload []byte, at time.Time) {
	seq, ok := t.payloads.Seq(payload)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || seq >= len(t.sent) {
		t.foreign++
		return
	}
	m := t.sent[seq]
	if m.delivered++; m.delivered > 1 {
		return
	}
	m.took, t.Last = at.Sub(m.sent), at
	if newestSeq, any := t.newestSeq[m.qos]; any && seq < newestSeq {
		m.reordered = true
	} else {
		t.newestSeq[m.qos] = seq
	}
	t.settleOne(m.qos)
}

// Await waits until no message is missing, until the given time, or until over is closed because
// nobody receives any more.
func (t *Tally) Await(until time.Time, over <-chan struct{}) {
	t.mu.Lock()
	done, missing := t.done, t.missing
	t.mu.Unlock()
	if missing == 0 {
		return
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-over:
	}
}

// Count says what happened to the messages of one QoS.
type Count struct {
	// Late and Reordered messages are also Delivered. Duplicated counts further arrivals of
	// messages that had already arrived. Lost messages had not arrived when they were counted.
	Published, Delivered, Lost, Late, Duplicated, Reordered int
	// took are the delivery times, acks the times until the acknowledgements.
	took, acks []time.Duration
}

// Count returns what has happened so far to the messages of one QoS.
func (t *Tally) Count(qos byte) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := Count{acks: t.acks[qos]}
	for _, x := range t.sent {
		if x.qos != qos || x.cancelled {
			continue
		}
		c.Published++
		if x.delivered == 0 {
			c.Lost++
			continue
		}
		c.Delivered++
		c.Duplicated += x.delivered - 1
		c.took = append(c.took, x.took)
		if x.took > t.timeout {
			c.Late++
		}
		if x.reordered {
			c.Reordered++
		}
	}
	return c
}

// Incomplete reports whether a published message has not arrived yet.
func (t *Tally) Incomplete() bool {
	return t.Count(0).Lost+t.Count(1).Lost+t.Count(2).Lost > 0
}

// NothingArrived reports whether not one message has arrived.
func (t *Tally) NothingArrived() bool {
	return t.Count(0).Delivered+t.Count(1).Delivered+t.Count(2).Delivered == 0
}

// ReportForeign adds the messages that are not ours to a report.
func (t *Tally) ReportForeign(m *synthetic.Metric, r *synthetic.Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreign > 0 {
		r.Samples = append(r.Samples, m.Of(float64(t.foreign)))
		r.AddNumbers("foreign messages", []synthetic.Number{{Name: "count", Value: float64(t.foreign)}}, "%d on %s, ignored: others can write there, or they are of an earlier run", t.foreign, t.Topic)
	}
}

// Report sets the outcome of r, and adds the samples and the facts.
func (t *Tally) Report(m *Metrics, r *synthetic.Report) {
	r.Outcome = synthetic.Success
	var total Count
	for q := range byte(3) {
		label := QoSLabel(q)
		c := t.Count(q)
		if c.Published == 0 {
			continue
		}
		for _, took := range c.took {
			r.Samples = append(r.Samples, m.DeliveryDuration.Of(took.Seconds(), label))
		}
		for _, rtt := range c.acks {
			r.Samples = append(r.Samples, m.AckDuration.Of(rtt.Seconds(), label))
		}
		for _, s := range []struct {
			metric *synthetic.Metric
			n      int
		}{{m.Published, c.Published}, {m.Delivered, c.Delivered}, {m.Lost, c.Lost}, {m.Late, c.Late}, {m.Duplicated, c.Duplicated}, {m.Reordered, c.Reordered}} {
			if s.n > 0 {
				r.Samples = append(r.Samples, s.metric.Of(float64(s.n), label))
			}
		}
		r.AddNumbers("qos "+label, c.Numbers(), "%s", c.describe())
		total.Published += c.Published
		total.Lost += c.Lost
		total.Late += c.Late
		total.Reordered += c.Reordered
		if q != 1 { // at least once: a duplicate is allowed
			total.Duplicated += c.Duplicated
		}
	}
	t.ReportForeign(m.Foreign, r)
	r.Detail = fmt.Sprintf("all %d messages arrived, once and in order", total.Published)
	switch {
	case total.Lost > 0:
		r.Fail(disconnect.MessageLost, "%d of %d messages did not arrive", total.Lost, total.Published)
	case total.Late > 0:
		r.Fail(disconnect.DeliveryTimeout, "%d of %d messages arrived after more than %s", total.Late, total.Published, t.timeout)
	case total.Duplicated > 0:
		r.Fail(disconnect.MessageDuplicated, "%d messages arrived twice, at QoS 0 or 2", total.Duplicated)
	case total.Reordered > 0:
		r.Fail(disconnect.MessageReordered, "%d of %d messages arrived after a later one", total.Reordered, total.Published)
	}
}

// Numbers returns the counts, and how long deliveries and acknowledgements took.
func (c *Count) Numbers() []synthetic.Number {
	ns := []synthetic.Number{{Name: "published", Value: float64(c.Published)}, {Name: "delivered", Value: float64(c.Delivered)}, {Name: "lost", Value: float64(c.Lost)},
		{Name: "late", Value: float64(c.Late)}, {Name: "duplicated", Value: float64(c.Duplicated)}, {Name: "reordered", Value: float64(c.Reordered)}}
	if len(c.took) > 0 {
		ns = append(ns, synthetic.Number{Name: "delivery_median_seconds", Value: median(c.took).Seconds()})
	}
	if len(c.acks) > 0 {
		ns = append(ns, synthetic.Number{Name: "ack_median_seconds", Value: median(c.acks).Seconds()})
	}
	return ns
}

// describe returns one line for humans to read.
func (c *Count) describe() string {
	s := fmt.Sprintf("%d of %d delivered", c.Delivered, c.Published)
	if len(c.took) > 0 {
		s += fmt.Sprintf(", median %s", synthetic.FormatDuration(median(c.took)))
	}
	if len(c.acks) > 0 {
		s += fmt.Sprintf("; acknowledged in %s", synthetic.FormatDuration(median(c.acks)))
	}
	return s
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Round(time.Microsecond)
}
