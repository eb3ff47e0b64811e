package disconnect

// fromPacket reads a packet of the server that refuses something or ends the connection. It beats all other evidence.
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

// fromIntent reads an end that we wanted: whatever came after we chose to leave is no news of the server.
func fromIntent(o *Observation) (Ending, bool) {
	switch {
	case !o.Intended:
		return Ending{}, false
	case o.PacketSent:
		return ownDisconnect(o), true
	}
	return ending(ClientDisconnect, ByClient, FromLocal, "closed on purpose"), true
}

// fromOwnDisconnect reads a DISCONNECT that we sent. What the socket says after it is only its echo, and where a
// deadline made us send it, the deadline is the cause.
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
		if o.Code >= 0x80 && !o.Intended { // a complaint about what the server did
			e.Reason, e.Initiator = codeReason(5, Disconnect, o.Code), ByServer
		}
	}
	e.Code = int(o.Code)
	return e
}
