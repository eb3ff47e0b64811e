package mqtt

import "strings"

// minSecret is the length of the shortest secret that is replaced in what a broker says. Shorter ones
// occur by chance in many words.
const minSecret = 4

// hiding returns a replacer for the secrets that the options send, or nil if there are none. A broker
// that repeats them in a Reason String must not bring them into logs and pages.
func hiding(o *Options) *strings.Replacer {
	var secrets []string
	hide := func(s string) {
		if len(s) >= minSecret {
			secrets = append(secrets, s, "[hidden]")
		}
	}
	hide(string(o.Password))
	for _, values := range o.WSHeader {
		for _, v := range values {
			hide(v)
			if _, token, ok := strings.Cut(v, " "); ok { // "Bearer …"
				hide(token)
			}
		}
	}
	if len(secrets) == 0 {
		return nil
	}
	return strings.NewReplacer(secrets...)
}

// hidden replaces secrets in the texts of a packet.
func hidden(r *strings.Replacer, p packet) packet {
	if r == nil {
		return p
	}
	switch p := p.(type) {
	case Connack:
		p.ReasonString, p.ServerReference = r.Replace(p.ReasonString), r.Replace(p.ServerReference)
		return p
	case ackPacket:
		p.reason = r.Replace(p.reason)
		return p
	case subackPacket:
		p.reason = r.Replace(p.reason)
		return p
	case unsubackPacket:
		p.reason = r.Replace(p.reason)
		return p
	case disconnectPacket:
		p.reason, p.serverReference = r.Replace(p.reason), r.Replace(p.serverReference)
		return p
	}
	return p
}
