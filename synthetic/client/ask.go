package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Subscribe subscribes, waits for the SUBACK and returns the granted QoS. If the broker refuses,
// the error is an [*mqtt.End] with evidence suback, although the connection stays open.
func Subscribe(s *mqtt.Session, until time.Time, f mqtt.Filter) (byte, error) {
	id, err := s.Subscribe(f)
	if err != nil {
		return 0, err
	}
	e, err := awaitSuback(s, id, 1, until)
	switch {
	case err != nil:
		return 0, err
	case e.Codes[0] >= 0x80:
		return 0, RefusedBy(s, disconnect.Suback, e.Codes[0], e.Reason)
	}
	return e.Codes[0], nil
}

// awaitSuback waits for the SUBACK to a SUBSCRIBE with n filters.
func awaitSuback(s *mqtt.Session, id uint16, n int, until time.Time) (*mqtt.Event, error) {
	e, err := s.Await(until, func(e *mqtt.Event) bool { return e.Kind == mqtt.Suback && e.ID == id })
	switch {
	case err != nil:
		return nil, err
	case e.Kind == mqtt.Interrupted:
		return nil, synthetic.ErrStopped
	case e.Kind == mqtt.Due, len(e.Codes) != n:
		return nil, s.Fail(disconnect.DeadlineAck)
	}
	return e, nil
}

// RefusedBy returns the ending for a request that a SUBACK or PUBACK refused. The connection itself
// stays open.
func RefusedBy(s *mqtt.Session, packet disconnect.PacketType, code byte, reason string) *mqtt.End {
	return &mqtt.End{Ending: disconnect.Classify(disconnect.Observation{Phase: disconnect.PhaseEstablished, Version: byte(s.Version()),
		Packet: packet, Code: code, ReasonString: reason}), Account: s.Account(), Time: time.Now()}
}

// AnnouncedOtherReason reports whether the broker sent a DISCONNECT with a reason other than the
// keepalive, such as a takeover, an operator's action or a shutdown.
func AnnouncedOtherReason(end *mqtt.End) bool {
	return end != nil && (end.Evidence == disconnect.FromDisconnectPacket && end.Reason != disconnect.KeepaliveTimeout && end.Reason != disconnect.IdleTimeout)
}

// AftermathTime is how long a run watches the other connections after a detection. If they end too,
// the detection may have the same cause.
const AftermathTime = 2 * time.Second

// MQTTPhase returns the time from CONNECT to CONNACK.
func MQTTPhase(s *mqtt.Session) time.Duration {
	phases := s.Account().Phases
	i := slices.IndexFunc(phases, func(p mqtt.PhaseTime) bool { return p.Phase == disconnect.PhaseMQTT })
	return phases[i].Duration.Round(time.Microsecond)
}

// CleanUpTime is the part of a run's timeout that is reserved for ending the connections in order.
const CleanUpTime = 500 * time.Millisecond

// ConnectReasons returns the reasons for which a connect can fail.
func ConnectReasons() []string {
	return synthetic.ReasonLabels(disconnect.ConnackTimeout, disconnect.HandshakeTimeout, disconnect.PeerClosed, disconnect.ConnectionReset,
		disconnect.ConnectionRefused, disconnect.NetworkTimeout, disconnect.NetworkUnreachable, disconnect.DNSError,
		disconnect.TLSError, disconnect.CertificateError, disconnect.WebsocketError, disconnect.AuthenticationFailed,
		disconnect.NotAuthorized, disconnect.Banned, disconnect.Redirected, disconnect.ServerShutdown, disconnect.ServerBusy,
		disconnect.RateOrQuota, disconnect.Flood, disconnect.ProtocolError, disconnect.NotSupported, disconnect.Other)
}

// SessionReasons returns the reasons why a short session can end after the broker accepted it.
func SessionReasons() []string {
	return synthetic.ReasonLabels(disconnect.AckTimeout, disconnect.PingrespTimeout, disconnect.KeepaliveTimeout,
		disconnect.SessionTakenOver, disconnect.AdminAction)
}

// Ping sends a PINGREQ, waits for its PINGRESP, and returns when the PINGREQ was sent.
func Ping(s *mqtt.Session) (time.Time, error) {
	if err := s.Ping(); err != nil {
		return time.Time{}, err
	}
	sent := s.Account().LastSent
	for {
		e, err := s.Await(time.Now().Add(s.PingTimeout()+time.Second), func(e *mqtt.Event) bool { return e.Kind == mqtt.Pong })
		switch {
		case err != nil:
			return sent, err
		case e.Kind == mqtt.Interrupted:
			return sent, synthetic.ErrStopped
		case e.Kind == mqtt.Due:
			return sent, s.Fail(disconnect.DeadlinePingresp)
		}
		if _, waiting := s.Unanswered(); !waiting {
			return sent, nil
		}
	}
}

// Answers reports whether the broker answers a PINGREQ before the given time. The error is the end of
// the session, also if the PINGRESP was overdue before that time.
func Answers(s *mqtt.Session, until time.Time) (bool, error) {
	if err := s.Ping(); err != nil {
		return false, err
	}
	for {
		e, err := s.Await(until, func(e *mqtt.Event) bool { return e.Kind == mqtt.Pong })
		switch {
		case err != nil:
			return false, err
		case e.Kind == mqtt.Interrupted:
			return false, synthetic.ErrStopped
		case e.Kind == mqtt.Due:
			return false, nil
		}
		if _, waiting := s.Unanswered(); !waiting {
			return true, nil
		}
	}
}

// PingTime returns how long the PINGRESP to a PINGREQ may take with a profile.
func PingTime(p synthetic.Profile) time.Duration {
	return max(p.Ping.Timeout, 10*time.Second) + time.Second
}

// Linger drives a session until the given time. The error is the end of the session, or says why
// ctx is done.
func Linger(ctx context.Context, s *mqtt.Session, until time.Time) error {
	defer context.AfterFunc(ctx, s.Interrupt)()
	for {
		e, err := s.Next(until)
		switch {
		case err != nil:
			return err
		case e.Kind == mqtt.Interrupted && ctx.Err() != nil:
			return ContextError(ctx)
		case e.Kind == mqtt.Due:
			return nil
		}
	}
}

// ContextError returns an error that says why ctx is done.
func ContextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errors.New("the timeout of the run passed before there was a verdict: raise the timeout")
	}
	return synthetic.ErrStopped
}

// AnswerTime is how long the acknowledgement of a SUBSCRIBE may take.
const AnswerTime = 10 * time.Second

// ConnectTime is how long one client of a run may take to connect.
const ConnectTime = 10 * time.Second
