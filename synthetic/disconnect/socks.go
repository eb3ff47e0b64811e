package disconnect

import "strings"

// socksReplies are the texts that golang.org/x/net/proxy uses for the replies and refusals of a
// SOCKS5 server [RFC 1928 section 6, RFC 1929]. That package has no typed errors.
var socksReplies = []struct {
	text      string
	reason    Reason
	initiator Initiator
}{
	{"general SOCKS server failure", ConnectionRefused, ByServer},
	{"connection not allowed by ruleset", NotAuthorized, ByServer},
	{"network unreachable", NetworkUnreachable, ByNetwork},
	{"host unreachable", NetworkUnreachable, ByNetwork},
	{"connection refused", ConnectionRefused, ByServer},
	{"TTL expired", NetworkTimeout, ByNetwork},
	{"command not supported", NotSupported, ByServer},
	{"address type not supported", NotSupported, ByServer},
	{"no acceptable authentication methods", AuthenticationFailed, ByServer},
	{"username/password authentication failed", AuthenticationFailed, ByServer},
}

// fromSOCKS handles the answer of a SOCKS5 proxy. An error number of our own socket to the proxy is
// not such an answer.
func fromSOCKS(o *Observation) (Ending, bool) {
	if o.Phase != PhaseProxy || o.Err == nil {
		return Ending{}, false
	}
	if _, ok := errno(o.Err); ok {
		return Ending{}, false
	}
	text := o.Err.Error()
	for _, r := range socksReplies {
		if strings.HasSuffix(text, r.text) {
			return ending(r.reason, r.initiator, FromErrno, "SOCKS: "+r.text), true
		}
	}
	return Ending{}, false
}
