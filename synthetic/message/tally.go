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

// tally keeps account of the messages of one run: two goroutines write into it, the publisher's and the receiver's.
type Tally struct {
	Topic   string
	timeout time.Duration // after which a delivery is late
	pay     Payload

	mu      sync.Mutex
	sent    []*tallied // by sequence number
	acks    map[byte][]time.Duration
	newest  map[byte]int // highest sequence number delivered, by QoS
	missing int
	done    chan struct{} // closed and replaced when missing becomes 0
	Last    time.Time     // when the latest of them came that had not come before
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

func NewTally(timeout time.Duration, topic string) *Tally {
	return &Tally{Topic: topic, timeout: timeout, pay: NewPayload(), acks: map[byte][]time.Duration{}, newest: map[byte]int{}, done: make(chan struct{})}
}

// next makes the next message. It counts as sent from now on, since it may arrive before Publish returns.
func (t *Tally) next(qos byte, size int) (int, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := len(t.sent)
	t.sent = append(t.sent, &tallied{qos: qos, sent: time.Now()})
	t.missing++
	return seq, t.pay.Make(seq, size)
}

// sentAt sets the stamp of the raw write.
func (t *Tally) sentAt(seq int, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].sent = at
}

// publish sends n messages of one QoS, as many at once as the window allows, and waits until the deadline for their
// acknowledgements.
func (t *Tally) Publish(s *mqtt.Session, qos byte, n, size int, deadline time.Time) error {
	acks := map[uint16]bool{}
	for sent := 0; ; {
		for sent < n {
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
		e, err := s.Next(deadline)
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted:
			return synthetic.ErrStopped
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

// cancel takes a message back that was not sent.
func (t *Tally) cancel(seq int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent[seq].cancelled = true
	t.got()
}

// got counts one message less as missing.
func (t *Tally) got() {
	if t.missing--; t.missing == 0 {
		close(t.done)
		t.done = make(chan struct{})
	}
}

// acked notes an acknowledgement.
func (t *Tally) acked(qos byte, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks[qos] = append(t.acks[qos], rtt)
}

// receive drives the subscriber until it is interrupted; the error is its end.
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

// delivery notes an arrival.
func (t *Tally) delivery(payload []byte, at time.Time) {
	seq, ok := t.pay.Seq(payload)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !ok || seq >= len(t.sent) {
		return
	}
	m := t.sent[seq]
	if m.delivered++; m.delivered > 1 {
		return
	}
	m.took, t.Last = at.Sub(m.sent), at
	if newest, any := t.newest[m.qos]; any && seq < newest {
		m.reordered = true
	} else {
		t.newest[m.qos] = seq
	}
	t.got()
}

// await waits until nothing is missing, until the given time, or until over is closed, since nobody receives any more.
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

// count is what became of the messages of one QoS.
type Count struct {
	Published, Delivered, Lost, Late, Duplicated, Reordered int
	took, acks                                              []time.Duration
}

// count adds up.
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

// incomplete tells whether a message that was published has not arrived yet.
func (t *Tally) Incomplete() bool {
	return t.Count(0).Lost+t.Count(1).Lost+t.Count(2).Lost > 0
}

// report turns the account into samples and an outcome.
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
		r.AddFact("qos "+label, "%s", c.describe())
		total.Published += c.Published
		total.Lost += c.Lost
		total.Late += c.Late
		total.Reordered += c.Reordered
		if q != 1 { // at least once: a duplicate is no fault
			total.Duplicated += c.Duplicated
		}
	}
	r.Detail = fmt.Sprintf("%d messages arrived, once and in order", total.Published)
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

// describe is a line for people.
func (c *Count) describe() string {
	s := fmt.Sprintf("%d of %d delivered", c.Delivered, c.Published)
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
