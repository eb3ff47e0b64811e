package client

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// silentFor is how long a connect waits before it asks what the port speaks. A server of another
// protocol may wait for ever for the end of our first line.
const silentFor = 1500 * time.Millisecond

// silentAgain is the same for a port that has just been found to speak another protocol.
const silentAgain = 300 * time.Millisecond

// dial connects. If the port does not answer, or not as its URL says, dial finds out what the port
// speaks. If that is another protocol, it does not wait for an answer any longer.
func (c *Client) dial(ctx context.Context, o mqtt.Options) (*mqtt.Session, error) {
	short, cancel := shorten(ctx)
	defer cancel()
	var asking guard.Group
	asked := make(chan struct{})
	patience := silentFor
	if c.Env.Known.JustFound(c.Target.URL) != "" {
		patience = silentAgain
	}
	timer := time.AfterFunc(patience, func() {
		asking.Go(func() {
			if c.speaks(ctx, o, false) != "" {
				short.end()
			}
		})
		close(asked)
	})
	s, err := mqtt.Dial(short, o)
	if !timer.Stop() {
		<-asked
		asking.Wait()
	}
	if err == nil {
		c.Env.Known.Answered(c.Target.URL, o.Version == mqtt.V5)
		return s, nil
	}
	end, ok := errors.AsType[*mqtt.End](err)
	switch {
	case !ok:
	case end.Evidence == disconnect.FromConnack:
		c.Env.Known.Answered(c.Target.URL, end.Code >= 0x80) // the codes of 3.1.1 are below
	case ambiguous(end):
		if p := c.speaks(ctx, o, end.Phase != disconnect.PhaseTLS); p != "" && p != end.When.Speaks {
			end.When.Speaks = p
			end.Detail += "; the port speaks " + p.Name()
		}
	}
	return s, err
}

// ambiguous reports whether a connect ended without anything that shows for certain what the port
// speaks. Some web servers answer on their TLS ports in plain HTTP.
func ambiguous(end *mqtt.End) bool {
	if p := end.When.Speaks; p != "" && p != disconnect.SpeaksHTTP && p != disconnect.SpeaksTLS {
		return false
	}
	switch end.Evidence {
	case disconnect.FromFIN, disconnect.FromRST, disconnect.FromCloseNotify:
	case disconnect.FromDeadline:
		if end.Initiator == disconnect.ByNetwork || end.Initiator == disconnect.ByClient {
			return false
		}
	case disconnect.FromLocal, disconnect.FromHTTPStatus:
		if end.Reason != disconnect.ProtocolError && end.Reason != disconnect.TLSError && end.Reason != disconnect.WebsocketError {
			return false
		}
	default:
		return false
	}
	return end.Phase == disconnect.PhaseTLS || end.Phase == disconnect.PhaseWebsocket || end.Phase == disconnect.PhaseMQTT
}

// speaks asks what the port speaks, unless that is known. The question does not wait for the connect rate
// limit, because it is asked so rarely, and every probe of the target waits for the answer. secured
// reports that a connect has got
// beyond the TLS handshake, if the URL demands one.
func (c *Client) speaks(attempt context.Context, o mqtt.Options, secured bool) disconnect.Protocol {
	// The time of the attempt may be over, and the answer is for all probes of the target.
	may := c.Env.Open.Context()
	if c.Env.Brief {
		may = attempt
	}
	ctx, cancel := context.WithTimeout(may, 2*mqtt.AskTime) // who waits for another's question needs more than that takes
	defer cancel()
	return c.Env.Known.Speaks(ctx, c.Target.URL, func() disconnect.Protocol {
		return mqtt.AskPort(ctx, o, secured)
	})
}

// shortened is a context whose time can be over before its deadline.
type shortened struct {
	context.Context // done with its parent, or when the time is over
	parent          context.Context
	cancel          context.CancelFunc
	over            atomic.Bool
}

func shorten(parent context.Context) (*shortened, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	return &shortened{Context: ctx, parent: parent, cancel: cancel}, cancel
}

// end makes the time be over.
func (s *shortened) end() {
	s.over.Store(true)
	s.cancel()
}

// Err implements [context.Context].
func (s *shortened) Err() error {
	if s.over.Load() && s.parent.Err() == nil {
		return context.DeadlineExceeded
	}
	return s.Context.Err()
}
