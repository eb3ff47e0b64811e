package mqtt

import "time"

// pace slows a session down that reads what other clients and the broker publish, so that it leaves
// the processor to others.
type pace struct {
	own  share
	all  *Budget
	busy time.Time // since when the session has been working; zero while it waits
}

// rest waits until the session may read again. It is called before each read.
func (s *Session) rest() {
	p, now := s.pace, time.Now()
	wait := s.stream.wire.intake.debt()
	if !p.busy.IsZero() {
		used := now.Sub(p.busy)
		wait = max(wait, p.own.spend(used, now))
		if p.all != nil {
			wait = max(wait, p.all.busy.spend(used, now))
		}
	}
	p.busy = time.Time{}
	if wait = min(wait, shareWait); wait > 0 {
		time.Sleep(wait) // the broker has to wait before it can send more
	}
}

// count counts a packet, or a read of the socket.
func (s *Session) count() error {
	if s.pace != nil && s.pace.busy.IsZero() {
		s.pace.busy = time.Now()
	}
	return s.stream.wire.intake.take(1, 0)
}
