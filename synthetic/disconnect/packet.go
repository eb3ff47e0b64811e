package disconnect

// fromPacket handles a packet from the server that refuses something or ends the connection. It is
// stronger than all other evidence.
func fromPacket(o *Observation) (Ending, bool) {
	if o.PacketSent {
		return Ending{}, false
	}
	var evidence Evidence
	switch o.Packet {
	case Connack:
		if o.Code == 0 {
			return Ending{}, false
		}
		evidence = FromConnack
	case Disconnect:
		evidence = FromDisconnectPacket
	case Suback, Unsuback, Puback, Pubrec, Pubrel, Pubcomp:
		if o.Code < 0x80 {
			return Ending{}, false
		}
		evidence = FromPuback
		if o.Packet == Suback || o.Packet == Unsuback {
			evidence = FromSuback
		}
	default:
		return Ending{}, false
	}
	e := ending(codeReason(o.Version, o.Packet, o.Code), ByServer, evidence,
		withText(describe(o.Version, o.Packet, o.Code), o.ReasonString))
	e.Code = int(o.Code)
	return e, true
}

// fromIntent handles an end on purpose. What happens after our decision to leave says nothing about
// the server.
func fromIntent(o *Observation) (Ending, bool) {
	switch {
	case !o.Intended:
		return Ending{}, false
	case o.PacketSent:
		return ownDisconnect(o), true
	}
	return ending(ClientDisconnect, ByClient, FromLocal, "closed on purpose"), true
}

// fromOwnDisconnect handles a DISCONNECT that we sent. What happens on the socket after it is only
// a consequence. If a deadline made us send it, the deadline is the cause.
func fromOwnDisconnect(o *Observation) (Ending, bool) {
	if !o.PacketSent {
		return Ending{}, false
	}
	if o.Deadline != DeadlineNone {
		return fromDeadline(o)
	}
	return ownDisconnect(o), true
}

func ownDisconnect(o *Observation) Ending {
	e := ending(ClientDisconnect, ByClient, FromDisconnectPacket, "our "+describe(o.Version, Disconnect, o.Code))
	switch o.Code {
	case 0x00, 0x04, 0x80, 0x83, 0x98:
	default:
		if o.Code >= 0x80 && !o.Intended { // it complains about the server
			e.Reason, e.Initiator = codeReason(5, Disconnect, o.Code), ByServer
		}
	}
	e.Code = int(o.Code)
	return e
}
