package session

import (
	"fmt"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/message"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// EchoOptions are the options of the echo of kind session.
type EchoOptions struct {
	Interval   time.Duration `koanf:"interval" validate:"min=100ms" desc:"publish a burst at this interval"`
	Burst      int           `koanf:"burst" validate:"min=1,max=1000" desc:"publish this many messages in a burst, but never have more than the broker's Receive Maximum in flight"`
	QoS        int           `koanf:"qos" validate:"min=0,max=2" desc:"publish the messages at this QoS"`
	AckTimeout time.Duration `koanf:"ack_timeout" validate:"min=100ms" desc:"expect all acknowledgements and deliveries of a burst within this time, which must be less than half of interval"`
}

// DefaultEcho returns the options of an echo with their defaults.
func DefaultEcho() *EchoOptions {
	o := new(EchoOptions)
	o.SetDefaults()
	return o
}

// SetDefaults sets the defaults.
func (o *EchoOptions) SetDefaults() {
	*o = EchoOptions{Interval: 10 * time.Second, Burst: 8, QoS: 1, AckTimeout: 4 * time.Second}
}

// echoStage is how strong the suspicion is that the session is a zombie.
type echoStage uint8

const (
	echoIdle   echoStage = iota // waiting for the next burst
	echoFirst                   // the first burst is sent
	echoPing                    // the first burst was not answered in time; a new PINGREQ is sent
	echoSecond                  // the PINGREQ was answered; a second burst is sent
)

// echo publishes bursts to the session's own topic on the same connection. If answers are missing
// at the deadline, it sends a new PINGREQ. If the PINGREQ is answered, it publishes a second burst.
// If that fails too, the session is a zombie. Answers that arrive late end the suspicion. An answer
// is an acknowledgement or a delivery.
type echo struct {
	l        *life
	o        EchoOptions
	topic    string
	payloads message.Payload

	stage      echoStage
	due        time.Time            // when the next burst or the deadline of the current one is
	lastCheck  bool                 // the deadline has passed, and we look once more for answers
	roundStart time.Time            // when the first burst of the round was sent
	pingSent   time.Time            // when the new PINGREQ was sent
	seq        int                  // sequence number of the next message
	secondSeq  int                  // first sequence number of the second burst
	newestSeq  int                  // highest sequence number that was delivered
	rounds     int                  // number of complete rounds
	unanswered map[int]*sentMessage // by sequence number
	byID       map[uint16]int       // sequence numbers by packet identifier

	acks  []time.Duration // of the current round, until the acknowledgements
	usual time.Duration   // of the round before a trial with immediate acknowledgements
	trial bool            // the current round is one
}

// suspicious reports whether a burst was not answered in time, and the missing answers have not
// arrived since. e may be nil.
func (e *echo) suspicious() bool { return e != nil && e.stage >= echoPing }

// sentMessage is a message of ours that is not yet acknowledged and delivered.
type sentMessage struct {
	sent             time.Time
	acked, delivered bool
}

func newEcho(l *life, o EchoOptions, topic string) *echo {
	return &echo{l: l, o: o, topic: topic, payloads: message.NewPayload(), due: time.Now(), newestSeq: -1, unanswered: map[int]*sentMessage{}, byID: map[uint16]int{}}
}

// subscribe subscribes to the topic of the echo. If the broker grants a lower QoS, the echo
// publishes at that QoS.
func (e *echo) subscribe() error {
	if most := int(e.l.s.Connack().MaximumQoS); e.o.QoS > most {
		return fmt.Errorf("%w: echo at QoS %d, because its Maximum QoS is %d", mqtt.ErrUnsupported, e.o.QoS, most)
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
		// The deliveries come on the same connection, so our own Receive Maximum counts too: FlashMQ drops
		// what exceeds it, which would look like a zombie.
		n = min(n, e.l.s.Window(), e.l.s.ReceiveMaximum())
	}
	samples := make([]synthetic.Sample, 0, 1)
	var err error
	for range n {
		var id uint16
		var sent time.Time
		id, sent, err = e.l.s.Publish(mqtt.Message{Topic: e.topic, QoS: byte(e.o.QoS), Payload: e.payloads.Make(e.seq, 0)})
		if err != nil {
			break
		}
		e.unanswered[e.seq] = &sentMessage{sent: sent, acked: e.o.QoS == 0}
		if e.o.QoS > 0 {
			e.byID[id] = e.seq
		}
		e.seq++
	}
	if n > 0 {
		samples = append(samples, e.l.m.messages.Published.Of(float64(n), message.QoSLabel(byte(e.o.QoS))))
	}
	e.l.emit(synthetic.Event{Name: "burst", Time: now, Samples: samples})
	e.due, e.lastCheck = now.Add(e.o.AckTimeout), false
	return err
}

// onDue sends the next burst, or handles a deadline with missing answers.
func (e *echo) onDue(now time.Time) error {
	if e.stage == echoIdle {
		e.stage, e.roundStart = echoFirst, now
		return e.burst(now)
	}
	if now.Sub(e.due) > mqtt.LateTolerance || e.l.s.Late(now.Add(-e.o.AckTimeout)) { // our own side was late, so the deadline starts again
		e.due, e.lastCheck = now.Add(e.o.AckTimeout), false
		return nil
	}
	if !e.lastCheck { // answers that arrived while we were busy count
		e.lastCheck, e.due = true, now.Add(5*time.Millisecond)
		return nil
	}
	switch e.stage {
	case echoFirst:
		// Until the PINGRESP the echo has no deadline. The session itself has one for the PINGRESP.
		e.stage, e.pingSent, e.due = echoPing, now, time.Time{}
		e.l.emit(synthetic.Event{Name: "suspect", Time: now,
			Detail: fmt.Sprintf("%d of %d publishes have no %s after %s: sending a PINGREQ to check the connection", len(e.unanswered), e.o.Burst, e.missing(), e.o.AckTimeout)})
		return e.l.s.Ping()
	case echoSecond:
		if e.l.afterZombie && e.rounds == 0 {
			e.recordCure(now, "false")
		}
		return zombieError{e.missing()}
	}
	return nil
}

// missing returns what is missing: "ack" if any acknowledgement is, otherwise "delivery".
func (e *echo) missing() string {
	if e.o.QoS > 0 && e.l.s.Window() <= 0 {
		return "ack" // so many are missing that we may send nothing more
	}
	for _, p := range e.unanswered {
		if !p.acked {
			return "ack"
		}
	}
	return "delivery"
}

// pong handles a PINGRESP. If it answers the new PINGREQ, the second burst is sent.
func (e *echo) pong(ev *mqtt.Event) error {
	if e.stage != echoPing || ev.At.Add(-ev.RTT).Before(e.pingSent) {
		return nil
	}
	e.stage, e.secondSeq = echoSecond, e.seq
	return e.burst(time.Now())
}

// handle handles an acknowledgement or a delivery.
func (e *echo) handle(ev *mqtt.Event) error {
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
		if len(e.acks) < e.o.Burst {
			e.acks = append(e.acks, ev.RTT)
		}
	case mqtt.Delivery:
		if ev.Msg.Topic != e.topic {
			return nil
		}
		if seq, ours = e.payloads.Seq(ev.Msg.Payload); !ours || seq >= e.seq {
			e.l.emit(synthetic.Event{Name: "foreign message", Time: ev.At, Samples: []synthetic.Sample{m.Foreign.Of(1)}})
			return nil
		}
	}
	p := e.unanswered[seq]
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
		if seq < e.newestSeq {
			samples = append(samples, m.Reordered.Of(1, label))
		}
		e.newestSeq = max(e.newestSeq, seq)
	}
	if p != nil && p.acked && p.delivered {
		delete(e.unanswered, seq)
	}
	e.l.emit(synthetic.Event{Name: "echo", Time: ev.At, Samples: samples})
	e.endRound(ev.At)
	return nil
}

// endRound ends the round if all answers have arrived, and with it the suspicion.
func (e *echo) endRound(now time.Time) {
	firstOpen, secondOpen := 0, 0
	for seq := range e.unanswered {
		if e.stage == echoSecond && seq >= e.secondSeq {
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
		if firstOpen > 0 && (secondOpen > 0 || e.seq == e.secondSeq) {
			return
		}
	}
	complete := synthetic.Event{Name: "round", Time: now, Outcome: synthetic.Success, Detail: fmt.Sprintf("the echo was complete after %s", synthetic.FormatDuration(now.Sub(e.roundStart)))}
	if e.suspicious() {
		complete.Name = "acquitted"
		complete.Detail = fmt.Sprintf("not a zombie: the answers were late, and complete after %s", synthetic.FormatDuration(now.Sub(e.roundStart)))
	}
	// The second burst is complete, so the path works. What is still missing of the first is lost.
	if e.stage == echoSecond && firstOpen > 0 {
		complete.Samples = e.drop(e.secondSeq)
		complete.Detail = fmt.Sprintf("not a zombie: the second burst is complete, but %d messages of the first burst are lost", firstOpen)
	}
	if e.rounds++; e.l.afterZombie {
		e.recordCure(now, "true")
	}
	complete.Signs = append(complete.Signs, synthetic.Sign{Kind: synthetic.SignDelivers})
	if e.stage == echoFirst && !e.l.c.Profile.TCP.QuickAck {
		e.explain(&complete)
	}
	e.acks = e.acks[:0]
	if e.stage, e.due = echoIdle, e.roundStart.Add(e.o.Interval); e.due.Before(now) {
		e.due = now
	}
	e.l.proveAlive(now)
	e.l.emit(complete)
}

// explain finds out whether the acknowledgements of a complete round waited for ours. If they may have,
// the next round is a trial, in which our kernel acknowledges at once.
func (e *echo) explain(complete *synthetic.Event) {
	if len(e.acks) == 0 {
		return
	}
	s, took := e.l.s, slices.Sorted(slices.Values(e.acks))[len(e.acks)/2]
	n := &e.l.nagle
	if e.trial {
		n.Judge(e.usual, took)
		took, e.trial = e.usual, false
		s.SetQuickAck(false)
	} else if n.Suspect(s, took) {
		e.usual, e.trial = took, true
		s.SetQuickAck(true)
	}
	complete.Samples = append(complete.Samples, n.Sample(e.l.m.messages.DelayedAck, s, took))
	if sign, ok := n.Sign(s, took); ok {
		complete.Signs = append(complete.Signs, sign)
	}
}

// recordCure records whether the reconnect after a zombie helped.
func (e *echo) recordCure(now time.Time, cured string) {
	e.l.afterZombie = false
	e.l.emit(synthetic.Event{Name: "zombie reconnect", Time: now, Samples: []synthetic.Sample{e.l.m.zombieReconnects.Of(1, cured)}})
}

// drop removes the unanswered messages below a sequence number, and counts the undelivered ones as
// lost.
func (e *echo) drop(below int) []synthetic.Sample {
	lost := 0
	for seq, p := range e.unanswered {
		if seq < below {
			if !p.delivered {
				lost++
			}
			delete(e.unanswered, seq)
		}
	}
	if lost == 0 {
		return nil
	}
	return []synthetic.Sample{e.l.m.messages.Lost.Of(float64(lost), message.QoSLabel(byte(e.o.QoS)))}
}

// lost counts the messages that were not delivered when the session ended.
func (e *echo) lost() []synthetic.Sample { return e.drop(e.seq) }
