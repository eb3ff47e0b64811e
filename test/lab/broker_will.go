package lab

// leaveWill handles the Will of a client whose connection has ended without a DISCONNECT that
// removes the Will. The Will is due at once, or when its Will Delay Interval or the session ends
// [MQTT5-3.1.3-9].
func (b *Broker) leaveWill(c *brokerClient) {
	w, id := c.will, c.conn.ClientID
	c.will = nil
	if w == nil {
		return
	}
	if w.Delay == 0 {
		b.willDue(id, w)
		return
	}
	s := c.session
	s.will = w
	b.later(w.Delay, func() {
		if s.will == w {
			s.will = nil
			b.willDue(id, w)
		}
	})
}

// willDue publishes a Will, unless the broker swallows it or is late with it.
func (b *Broker) willDue(clientID string, w *Will) {
	if b.o.NoWill != nil && b.o.NoWill(clientID) {
		b.record(WillSwallowed, clientID)
		return
	}
	publish := func() {
		b.record(WillPublished, clientID)
		b.route(nil, message{topic: w.Topic, qos: min(w.QoS, 1), retain: w.Retain, payload: []byte(w.Payload)})
	}
	if b.o.WillDelay > 0 {
		b.later(b.o.WillDelay, publish)
		return
	}
	publish()
}
