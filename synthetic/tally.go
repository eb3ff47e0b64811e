package synthetic

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// tally keeps account of the messages of one run: two goroutines write into it, the publisher's and the receiver's.
type tally struct {
	topic   string
	timeout time.Duration // after which a delivery is late
	pay     payload

	mu      sync.Mutex
	sent    []*tallied // by sequence number
	acks    map[byte][]time.Duration
	newest  map[byte]int // highest sequence number delivered, by QoS
	missing int
	done    chan struct{} // closed and replaced when missing becomes 0
	last    time.Time     // when the latest of them came that had not come before
}

// tallied is one message.
type tallied struct {
	qos       byte
	sent      time.Time
	cancelled bool // was not sent after all
	delivered int
	took      time.Duration
	reordered bool
}

func newTally(timeout time.Duration, topic string) *tally {
	return &tally{topic: topic, timeout: timeout, pay: newPayload(), acks: map[byte][]time.Duration{}, newest: map[byte]int{}, done: make(chan struct{})}
}

// next makes the next message. It counts as sent from now on, since it may arrive before Publish returns.
func (t *tally) next(qos byte, size int) (int, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := len(t.sent)
	t.sent = append(t.sent, &tallied{qos: qos, sent: time.Now()})
	t.missing++
	return seq, t.pay.make(seq, size)
}

// sentAt sets the stamp of the raw write.
func (t *tally) sentAt(seq int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].sent = at
}

// publish sends n messages of one QoS, as many at once as the window allows, and waits until the deadline for their
// acknowledgements.
func (t *tally) publish(s *mqtt.Session, qos byte, n, size int, deadline time.Time) error {
	acks := map[uint16]bool{}
	for sent := 0; ; {
		for sent < n {
			seq, body := t.next(qos, size)
			id, at, err := s.Publish(mqtt.Message{Topic: t.topic, QoS: qos, Payload: body})
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
		e, err := s.Next(deadline)
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted:
			return errStopped
		case e.Kind == mqtt.Due:
			return s.Fail(disconnect.DeadlineAck)
		case e.Kind == mqtt.Ack && acks[e.ID]:
			delete(acks, e.ID)
			if e.Code >= 0x80 {
				return refusedBy(s, disconnect.Puback, e.Code, e.Reason)
			}
			t.acked(qos, e.RTT)
		}
	}
}

// cancel takes a message back that was not sent.
func (t *tally) cancel(seq int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].cancelled = true
	t.got()
}

// got counts one message less as missing.
func (t *tally) got() {
	if t.missing--; t.missing == 0 {
		close(t.done)
		t.done = make(chan struct{})
	}
}

// acked notes an acknowledgement.
func (t *tally) acked(qos byte, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks[qos] = append(t.acks[qos], rtt)
}

// receive drives the subscriber until it is interrupted; the error is its end.
func (t *tally) receive(s *mqtt.Session) error {
	for {
		e, err := s.Next(time.Time{})
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted:
			return nil
		case e.Kind == mqtt.Delivery && e.Msg.Topic == t.topic:
			t.delivery(e.Msg.Payload, e.At)
		}
	}
}

// delivery notes an arrival.
func (t *tally) delivery(payload []byte, at time.Time) {
	seq, ok := t.pay.seq(payload)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || seq >= len(t.sent) {
		return
	}
	m := t.sent[seq]
	if m.delivered++; m.delivered > 1 {
		return
	}
	m.took, t.last = at.Sub(m.sent), at
	if newest, any := t.newest[m.qos]; any && seq < newest {
		m.reordered = true
	} else {
		t.newest[m.qos] = seq
	}
	t.got()
}

// await waits until nothing is missing, until the given time, or until over is closed, since nobody receives any more.
func (t *tally) await(until time.Time, over <-chan struct{}) {
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

// count is what became of the messages of one QoS.
type count struct {
	published, delivered, lost, late, duplicated, reordered int
	took, acks                                              []time.Duration
}

// count adds up.
func (t *tally) count(qos byte) count {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := count{acks: t.acks[qos]}
	for _, x := range t.sent {
		if x.qos != qos || x.cancelled {
			continue
		}
		c.published++
		if x.delivered == 0 {
			c.lost++
			continue
		}
		c.delivered++
		c.duplicated += x.delivered - 1
		c.took = append(c.took, x.took)
		if x.took > t.timeout {
			c.late++
		}
		if x.reordered {
			c.reordered++
		}
	}
	return c
}

// incomplete tells whether a message that was published has not arrived yet.
func (t *tally) incomplete() bool {
	return t.count(0).lost+t.count(1).lost+t.count(2).lost > 0
}

// report turns the account into samples and an outcome.
func (t *tally) report(m *messageMetrics, r *Report) {
	r.Outcome = Success
	var total count
	for q := range byte(3) {
		label := qosLabel(q)
		c := t.count(q)
		if c.published == 0 {
			continue
		}
		for _, took := range c.took {
			r.Samples = append(r.Samples, m.deliveryDuration.Of(took.Seconds(), label))
		}
		for _, rtt := range c.acks {
			r.Samples = append(r.Samples, m.ackDuration.Of(rtt.Seconds(), label))
		}
		for _, s := range []struct {
			metric *Metric
			n      int
		}{{m.published, c.published}, {m.delivered, c.delivered}, {m.lost, c.lost}, {m.late, c.late}, {m.duplicated, c.duplicated}, {m.reordered, c.reordered}} {
			if s.n > 0 {
				r.Samples = append(r.Samples, s.metric.Of(float64(s.n), label))
			}
		}
		r.fact("qos "+label, "%s", c.describe())
		total.published += c.published
		total.lost += c.lost
		total.late += c.late
		total.reordered += c.reordered
		if q != 1 { // at least once: a duplicate is no fault
			total.duplicated += c.duplicated
		}
	}
	r.Detail = fmt.Sprintf("%d messages arrived, once and in order", total.published)
	switch {
	case total.lost > 0:
		r.found(disconnect.MessageLost, "%d of %d messages did not arrive", total.lost, total.published)
	case total.late > 0:
		r.found(disconnect.DeliveryTimeout, "%d of %d messages arrived after more than %s", total.late, total.published, t.timeout)
	case total.duplicated > 0:
		r.found(disconnect.MessageDuplicated, "%d messages arrived twice, at QoS 0 or 2", total.duplicated)
	case total.reordered > 0:
		r.found(disconnect.MessageReordered, "%d of %d messages arrived after a later one", total.reordered, total.published)
	}
}

// describe is a line for people.
func (c *count) describe() string {
	s := fmt.Sprintf("%d of %d delivered", c.delivered, c.published)
	if len(c.took) > 0 {
		s += fmt.Sprintf(", median %s", median(c.took))
	}
	if len(c.acks) > 0 {
		s += fmt.Sprintf("; acknowledged in %s", median(c.acks))
	}
	return s
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Round(time.Microsecond)
}
