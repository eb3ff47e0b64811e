package disconnect

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// fromResolver handles a failed name lookup. The resolver is neither the client nor the broker, so
// the initiator is the network.
func fromResolver(o *Observation) (Ending, bool) {
	if a, ok := errors.AsType[*net.AddrError](o.Err); ok {
		return ending(DNSError, ByNetwork, FromResolver, "DNS: "+clean(a.Err, maxText)), true
	}
	d, ok := errors.AsType[*net.DNSError](o.Err)
	switch {
	case !ok, errors.Is(o.Err, context.Canceled):
		return Ending{}, false
	case strings.Contains(d.Err, syscall.EMFILE.Error()), strings.Contains(d.Err, syscall.ENFILE.Error()):
		// The resolver keeps only the text of the error of its own socket.
		return ending(Other, ByClient, FromLocal, "DNS: "+NoDescriptors), true
	case d.IsNotFound:
		return ending(DNSError, ByNetwork, FromResolver, "DNS: no such host"), true
	case d.IsTimeout:
		return ending(DNSError, ByNetwork, FromResolver, resolverSilent), true
	// Package net reports SERVFAIL and REFUSED with this text.
	case strings.Contains(d.Err, "server misbehaving"):
		return ending(DNSError, ByNetwork, FromResolver, "DNS: the resolver failed (SERVFAIL or REFUSED)"), true
	case strings.Contains(d.Err, "connection refused"):
		return ending(DNSError, ByNetwork, FromResolver, "DNS: nothing listens at the resolver's address"), true
	}
	return ending(DNSError, ByNetwork, FromResolver, "DNS: the lookup failed"), true
}

const resolverSilent = "DNS: the resolver did not answer in time"
