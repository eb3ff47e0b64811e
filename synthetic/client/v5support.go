package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// v5Support finds out why a broker closes the connection after an MQTT 5 CONNECT without sending
// anything. RabbitMQ 3.10 does so because it supports only 3.1.1, but a broker that is full does so
// too. One connect with 3.1.1 decides: if the broker answers with any CONNACK, the version was the
// reason.
type v5Support struct {
	mu          sync.Mutex
	checked     time.Time // when the latest check was made
	unsupported bool      // result of the latest check
}

// checkAgain is how long a result is valid. It prevents that a broker in trouble gets every connect
// twice.
const checkAgain = time.Minute

// judge replaces the ending if the MQTT version was the reason.
func (v *v5Support) judge(ctx context.Context, c *Client, o mqtt.Options, end *mqtt.End) {
	closed := end.Evidence == disconnect.FromFIN || end.Evidence == disconnect.FromCloseNotify || end.Evidence == disconnect.FromRST
	if end.Phase != disconnect.PhaseMQTT || !closed {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.checked.IsZero() || time.Since(v.checked) >= checkAgain {
		if c.Wait(ctx) != nil {
			return
		}
		o.Version, o.CleanStart = mqtt.V311, true
		s, err := mqtt.Dial(ctx, o)
		v.unsupported = err == nil
		if refused, ok := errors.AsType[*mqtt.End](err); ok {
			v.unsupported = refused.Evidence == disconnect.FromConnack
		}
		if s != nil {
			s.Disconnect(0)
		}
		v.checked = time.Now()
	}
	if v.unsupported {
		end.Reason, end.Initiator = disconnect.NotSupported, disconnect.ByServer
		end.Detail = "closed the connection after an MQTT 5 CONNECT without a CONNACK, but answers a 3.1.1 CONNECT"
	}
}
