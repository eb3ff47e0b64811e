package client

import (
	"context"
	"errors"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// judgeV5 finds out why a broker closed the connection after an MQTT 5 CONNECT without sending
// anything. RabbitMQ 3.10 does so because it speaks only 3.1.1, but a broker that is full does so too,
// and NanoMQ over TLS does so once in 20 connects. If the version was the reason, judgeV5 says so in
// the ending.
func (c *Client) judgeV5(ctx context.Context, o mqtt.Options, end *mqtt.End) {
	closed := end.Evidence == disconnect.FromFIN || end.Evidence == disconnect.FromCloseNotify || end.Evidence == disconnect.FromRST
	if end.Phase != disconnect.PhaseMQTT || !closed || end.When.Speaks != "" {
		return
	}
	if !c.Env.Known.LacksV5(c.Target.URL, func() (lacks, ok bool) { return c.checkV5(ctx, o) }) {
		return
	}
	end.Reason, end.Initiator = disconnect.NotSupported, disconnect.ByServer
	end.Detail = "closed the connection after an MQTT 5 CONNECT without a CONNACK, but answers a 3.1.1 CONNECT"
}

// checkV5 connects with 3.1.1 and, if the broker answers that with a CONNACK, with MQTT 5 again. Only
// if that is closed a second time, the broker lacks MQTT 5.
func (c *Client) checkV5(ctx context.Context, o mqtt.Options) (lacks, ok bool) {
	Clean(&o)
	for _, v := range []mqtt.Version{mqtt.V311, mqtt.V5} {
		if c.Wait(ctx) != nil {
			return false, false
		}
		o.Version = v
		s, err := mqtt.Dial(ctx, o)
		answered := err == nil
		end, ended := errors.AsType[*mqtt.End](err)
		if ended {
			answered = end.Evidence == disconnect.FromConnack
		}
		if s != nil {
			s.Disconnect(0)
		}
		switch {
		case !answered && v == mqtt.V311:
			return false, true // it answers nothing, so the version is not the reason
		case answered && v == mqtt.V5:
			c.Env.Known.Answered(c.Target.URL, true)
			return false, true
		case v == mqtt.V5 && (!ended || end.Reason == disconnect.ClientDisconnect):
			return false, false // our own side spoiled it
		}
	}
	return true, true
}
