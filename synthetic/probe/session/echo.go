package session

import (
	"fmt"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// EchoOptions are the options of the echo of kind session.
type EchoOptions struct {
	Interval   time.Duration `koanf:"interval" validate:"min=100ms" desc:"time between bursts"`
	Burst      int           `koanf:"burst" validate:"min=1,max=1000" desc:"messages in a burst, never more than the broker's Receive Maximum in flight"`
	QoS        int           `koanf:"qos" validate:"min=0,max=2" desc:"QoS of the messages"`
	AckTimeout time.Duration `koanf:"ack_timeout" validate:"min=100ms" desc:"time in which a burst must be acknowledged and delivered; less than half of interval"`
}

// DefaultEcho returns the options of an echo with their defaults.
func DefaultEcho() *EchoOptions {
	o := new(EchoOptions)
	o.SetDefaults()
	return o
}

// SetDefaults fills in the defaults.
func (o *EchoOptions) SetDefaults() {
	*o = EchoOptions{Interval: 10 * time.Second, Burst: 8, QoS: 1, AckTimeout: 4 * time.Second}
}

// echoStage is how far the suspicion of being a zombie has come.
type echoStage uint8

const (
	echoIdle   echoStage = iota // until the next burst
	echoFirst                   // a burst is out
	echoPing                    // it was not answered in time: a fresh PINGREQ is out
	echoSecond                  // that was answered: a second burst is out
)

// echo publishes bursts to the session's own topic on the same connection. Acknowledgements or deliveries missing at the
// deadline, then a fresh PINGREQ answered, then a second burst failing too: a zombie. What comes late acquits.
type echo struct {
	l     *life
	o     EchoOptions
	topic string
	pay   message.Payload

	stage   echoStage
	due     time.Time // of the next burst, or of the answers to the one that is out
	looked  bool      // the last look before a deadline counts was taken
	began   time.Time // the first burst of the round
	asked   time.Time // the fresh PINGREQ
	seq     int
	second  int // first sequence number of the second burst
	newest  int // highest sequence number that was delivered
	rounds  int // completed
	pending map[int]*echoed
	byID    map[uint16]int
}

// suspicious tells whether a burst was not answered in time, and nothing has acquitted the session since.
func (e *echo) suspicious() bool { return e != nil && e.stage >= echoPing }

// echoed is a message of ours that is not yet acknowledged and delivered.
type echoed struct {
	sent             time.Time
	acked, delivered bool
}

func newEcho(l *life, o EchoOptions, topic string) *echo {
	return &echo{l: l, o: o, topic: topic, pay: message.NewPayload(), due: time.Now(), newest: -1, pending: map[int]*echoed{}, byID: map[uint16]int{}}
}

// subscribe subscribes to the topic of the echo; a broker that grants less than asked gets no more than it granted.
func (e *echo) subscribe() error {
	if most := int(e.l.s.Connack().MaximumQoS); e.o.QoS > most {
		return fmt.Errorf("%w: echo at QoS %d, when its Maximum QoS is %d", mqtt.ErrUnsupported, e.o.QoS, most)
	}
	granted, err := client.Subscribe(e.l.s, time.Now().Add(e.l.c.Env.Timeout), mqtt.Filter{Topic: e.topic, QoS: byte(e.o.QoS)})
	if err == nil {
		e.o.QoS = min(e.o.QoS, int(granted))
	}
	return err
}

// burst publishes as much of a burst as the broker's window allows.
func (e *echo) burst(now time.Time) error {
	n := e.o.Burst
	if e.o.QoS > 0 {
		n = min(n, e.l.s.Window())
	}
	samples := make([]synthetic.Sample, 0, 1)
	var err error
	for range n {
		var id uint16
		var sent time.Time
		id, sent, err = e.l.s.Publish(mqtt.Message{Topic: e.topic, QoS: byte(e.o.QoS), Payload: e.pay.Make(e.seq, 0)})
		if err != nil {
			break
		}
		e.pending[e.seq] = &echoed{sent: sent, acked: e.o.QoS == 0}
		if e.o.QoS > 0 {
			e.byID[id] = e.seq
		}
		e.seq++
	}
	if n > 0 {
		samples = append(samples, e.l.m.messages.Published.Of(float64(n), message.QoSLabel(byte(e.o.QoS))))
	}
	e.l.emit(synthetic.Event{Name: "burst", Time: now, Samples: samples})
	e.due, e.looked = now.Add(e.o.AckTimeout), false
	return err
}

// onDue sends the next burst, or finds answers missing.
func (e *echo) onDue(now time.Time) error {
	if e.stage == echoIdle {
		e.stage, e.began = echoFirst, now
		return e.burst(now)
	}
	if now.Sub(e.due) > mqtt.LateTolerance { // we were held up: the broker gets its time anew
		e.due, e.looked = now.Add(e.o.AckTimeout), false
		return nil
	}
	if !e.looked { // what came while we were busy counts
		e.looked, e.due = true, now.Add(5*time.Millisecond)
		return nil
	}
	switch e.stage {
	case echoFirst:
		e.stage, e.asked, e.due = echoPing, now, time.Time{} // the session watches the deadline of the PINGRESP
		e.l.emit(synthetic.Event{Name: "suspect", Time: now, Notable: true,
			Detail: fmt.Sprintf("%d of %d publishes without %s after %s: asking with a PINGREQ", len(e.pending), e.o.Burst, e.missing(), e.o.AckTimeout)})
		return e.l.s.Ping()
	case echoSecond:
		if e.l.afterZombie && e.rounds == 0 {
			e.cured(now, "false")
		}
		return zombieError{e.missing()}
	}
	return nil
}

// missing says what is missing: "ack" if any acknowledgement is, otherwise "delivery".
func (e *echo) missing() string {
	if e.o.QoS > 0 && e.l.s.Window() <= 0 {
		return "ack" // so many are missing that nothing more may be sent
	}
	for _, p := range e.pending {
		if !p.acked {
			return "ack"
		}
	}
	return "delivery"
}

// pong takes a PINGRESP: the answer to the fresh PINGREQ makes way for the second burst.
func (e *echo) pong(ev *mqtt.Event) error {
	if e.stage != echoPing || ev.At.Add(-ev.RTT).Before(e.asked) {
		return nil
	}
	e.stage, e.second = echoSecond, e.seq
	return e.burst(time.Now())
}

// take takes an acknowledgement or a delivery.
func (e *echo) take(ev *mqtt.Event) error {
	m, label := e.l.m.messages, message.QoSLabel(byte(e.o.QoS))
	var samples []synthetic.Sample
	seq, ours := 0, false
	switch ev.Kind {
	case mqtt.Ack:
		seq, ours = e.byID[ev.ID], true
		if _, ok := e.byID[ev.ID]; !ok {
			return nil
		}
		delete(e.byID, ev.ID)
		if ev.Code >= 0x80 {
			return client.RefusedBy(e.l.s, disconnect.Puback, ev.Code, ev.Reason)
		}
		samples = append(samples, m.AckDuration.Of(ev.RTT.Seconds(), label))
	case mqtt.Delivery:
		if seq, ours = e.pay.Seq(ev.Msg.Payload); !ours || ev.Msg.Topic != e.topic || seq >= e.seq {
			return nil
		}
	}
	p := e.pending[seq]
	switch {
	case p == nil || ev.Kind == mqtt.Delivery && p.delivered:
		if ev.Kind == mqtt.Delivery {
			samples = append(samples, m.Duplicated.Of(1, label))
		}
	case ev.Kind == mqtt.Ack:
		p.acked = true
	default:
		took := ev.At.Sub(p.sent)
		p.delivered = true
		samples = append(samples, m.DeliveryDuration.Of(took.Seconds(), label), m.Delivered.Of(1, label))
		if took > e.o.AckTimeout {
			samples = append(samples, m.Late.Of(1, label))
		}
		if seq < e.newest {
			samples = append(samples, m.Reordered.Of(1, label))
		}
		e.newest = max(e.newest, seq)
	}
	if p != nil && p.acked && p.delivered {
		delete(e.pending, seq)
	}
	e.l.emit(synthetic.Event{Name: "echo", Time: ev.At, Samples: samples})
	e.settle(ev.At)
	return nil
}

// settle looks whether the round is complete, or the suspicion gone.
func (e *echo) settle(now time.Time) {
	firstOpen, secondOpen := 0, 0
	for seq := range e.pending {
		if e.stage == echoSecond && seq >= e.second {
			secondOpen++
		} else {
			firstOpen++
		}
	}
	switch e.stage {
	case echoIdle:
		return
	case echoFirst, echoPing:
		if firstOpen > 0 {
			return
		}
	case echoSecond:
		if firstOpen > 0 && (secondOpen > 0 || e.seq == e.second) {
			return
		}
	}
	done := synthetic.Event{Name: "round", Time: now, Outcome: synthetic.Success, Detail: fmt.Sprintf("echo came back in full after %s", now.Sub(e.began))}
	if e.suspicious() {
		done.Name, done.Notable = "acquitted", true
		done.Detail = fmt.Sprintf("no zombie: answers came late, after %s", now.Sub(e.began).Round(time.Millisecond))
	}
	if e.stage == echoSecond && firstOpen > 0 { // the second burst came back whole: the path lives, the rest is lost
		done.Samples = e.drop(e.second)
		done.Detail = fmt.Sprintf("no zombie: the second burst came back, but %d messages of the first are lost", firstOpen)
	}
	if e.rounds++; e.l.afterZombie {
		e.cured(now, "true")
	}
	if e.stage, e.due = echoIdle, e.began.Add(e.o.Interval); e.due.Before(now) {
		e.due = now
	}
	e.l.alive(now)
	e.l.emit(done)
}

// cured tells whether the reconnect after a zombie helped.
func (e *echo) cured(now time.Time, yes string) {
	e.l.afterZombie = false
	e.l.emit(synthetic.Event{Name: "zombie reconnect", Time: now, Samples: []synthetic.Sample{e.l.m.zombieReconnects.Of(1, yes)}})
}

// drop forgets the pending messages below a sequence number, counting those that were not delivered as lost.
func (e *echo) drop(below int) []synthetic.Sample {
	lost := 0
	for seq, p := range e.pending {
		if seq < below {
			if !p.delivered {
				lost++
			}
			delete(e.pending, seq)
		}
	}
	if lost == 0 {
		return nil
	}
	return []synthetic.Sample{e.l.m.messages.Lost.Of(float64(lost), message.QoSLabel(byte(e.o.QoS)))}
}

// lost counts what had not been delivered when the session ended.
func (e *echo) lost() []synthetic.Sample { return e.drop(e.seq) }
