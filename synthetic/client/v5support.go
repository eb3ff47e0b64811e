package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// v5Support finds out what it means when a broker closes an MQTT 5 CONNECT without a word. RabbitMQ 3.10, which speaks
// 3.1.1 alone, does so; but so does a broker that is full. A connect with 3.1.1 decides: a CONNACK of any kind says that
// the version was the reason.
type v5Support struct {
	mu    sync.Mutex
	asked time.Time
	lacks bool // the latest answer
}

// askAgain is how long an answer holds, so that a broker in trouble does not get every connect twice.
const askAgain = time.Minute

// judge replaces the ending if the version was the reason.
func (v *v5Support) judge(ctx context.Context, c *Client, o mqtt.Options, end *mqtt.End) {
	closed := end.Evidence == disconnect.FromFIN || end.Evidence == disconnect.FromCloseNotify || end.Evidence == disconnect.FromRST
	if end.Phase != disconnect.PhaseMQTT || !closed {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked.IsZero() || time.Since(v.asked) >= askAgain {
		if c.Wait(ctx) != nil {
			return
		}
		o.Version, o.CleanStart = mqtt.V311, true
		s, err := mqtt.Dial(ctx, o)
		v.lacks = err == nil
		if refused, ok := errors.AsType[*mqtt.End](err); ok {
			v.lacks = refused.Evidence == disconnect.FromConnack
		}
		if s != nil {
			s.Disconnect(0)
		}
		v.asked = time.Now()
	}
	if v.lacks {
		end.Reason, end.Initiator = disconnect.NotSupported, disconnect.ByServer
		end.Detail = "closed an MQTT 5 CONNECT without a CONNACK, but answers one of 3.1.1"
	}
}
