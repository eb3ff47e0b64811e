package synthetic

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// Known is what an agent has learnt of its targets. All probes of an agent share one, so that a
// conclusion of one probe never contradicts what another one has seen. Targets are named by their
// URLs.
type Known struct {
	mu      sync.Mutex
	targets map[string]*known
}

type known struct {
	accepted time.Time // when the target last answered with a CONNACK
	v5       time.Time // when the target last proved that it speaks MQTT 5
	v5Asked  time.Time // when the latest check whether it does was made
	v5Lacks  bool      // the result of that check: it does not
	asking   chan struct{}
	asked    time.Time           // when the latest question what the port speaks was asked
	speaks   disconnect.Protocol // the answer
	connects []Connect           // the latest, the oldest first
}

// Connect is a connect of one of our clients that the target accepted.
type Connect struct {
	Who Borrower
	// From is when CONNECT was sent, To when CONNACK came.
	From, To time.Time
}

const (
	// AskPortAgain is how long an answer to the question what a port speaks is valid. The question is
	// asked only while the target does not answer as its URL says.
	AskPortAgain = 10 * time.Minute
	// checkV5Again is how long the result of a check for MQTT 5 is valid. It prevents that a broker in
	// trouble gets every connect twice.
	checkV5Again = time.Minute
	// connectsKept is how many connects to a target are remembered.
	connectsKept = 64
)

// NewKnown returns a Known that knows nothing yet.
func NewKnown() *Known { return &Known{targets: map[string]*known{}} }

// of returns what is known of a target. The caller holds the lock.
func (k *Known) of(url string) *known {
	t := k.targets[url]
	if t == nil {
		t = &known{}
		k.targets[url] = t
	}
	return t
}

// Keep forgets all targets but those with these URLs.
func (k *Known) Keep(urls map[string]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for url := range k.targets {
		if !urls[url] {
			delete(k.targets, url)
		}
	}
}

// Answered records that a target sent a CONNACK, and whether it was one of MQTT 5.
func (k *Known) Answered(url string, v5 bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, now := k.of(url), time.Now()
	t.accepted, t.speaks, t.asked = now, "", time.Time{}
	if v5 {
		t.v5, t.v5Lacks = now, false
	}
}

// Connected records a connect.
func (k *Known) Connected(url string, c Connect) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.of(url)
	if len(t.connects) == connectsKept {
		copy(t.connects, t.connects[1:])
		t.connects = t.connects[:connectsKept-1]
	}
	t.connects = append(t.connects, c)
}

// Connects returns the latest connects to a target, the oldest first.
func (k *Known) Connects(url string) []Connect {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.targets[url]; t != nil {
		return slices.Clone(t.connects)
	}
	return nil
}

// LacksV5 reports whether a target does not speak MQTT 5. If that is not known, or was found out a
// while ago, check finds it out; ok reports whether it could. A target that has ever sent a CONNACK of
// MQTT 5 does speak it. Only one check runs at a time.
func (k *Known) LacksV5(url string, check func() (lacks, ok bool)) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.of(url)
	switch {
	case !t.v5.IsZero():
		return false
	case !t.v5Asked.IsZero() && time.Since(t.v5Asked) < checkV5Again:
		return t.v5Lacks
	}
	t.v5Asked = time.Now()
	k.mu.Unlock()
	lacks, ok := func() (bool, bool) {
		defer k.mu.Lock() // also if it panics
		return check()
	}()
	if !ok {
		t.v5Asked = time.Time{}
	}
	t.v5Lacks = lacks && ok && t.v5.IsZero()
	return t.v5Lacks
}

// JustFound returns what a port was found to speak within the last seconds.
func (k *Known) JustFound(url string) disconnect.Protocol {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t := k.targets[url]; t != nil && time.Since(t.asked) < justFound {
		return t.speaks
	}
	return ""
}

// justFound is how long what a port speaks is believed without patience: other clients of a target fail
// faster meanwhile, and a port that was repaired is soon given its time again.
const justFound = 10 * time.Second

// Speaks returns what a port speaks that does not answer as its URL says. If that was not asked a
// while ago, ask asks it, or Speaks waits for who asks it now. A target that has sent a CONNACK lately
// is not asked. A question that ctx ends without an answer counts as not asked.
func (k *Known) Speaks(ctx context.Context, url string, ask func() disconnect.Protocol) disconnect.Protocol {
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		t := k.of(url)
		switch {
		case !t.accepted.IsZero() && time.Since(t.accepted) < AskPortAgain:
			return ""
		case !t.asked.IsZero() && time.Since(t.asked) < AskPortAgain:
			return t.speaks
		case ctx.Err() != nil:
			return ""
		case t.asking == nil:
			asking := make(chan struct{})
			t.asking = asking
			k.mu.Unlock()
			func() {
				var speaks disconnect.Protocol
				defer func() { // also if it panics
					k.mu.Lock()
					if t.asking = nil; speaks != "" || ctx.Err() == nil {
						t.asked, t.speaks = time.Now(), speaks
					}
					close(asking)
				}()
				speaks = ask()
			}()
			if ctx.Err() != nil {
				return ""
			}
			return t.speaks
		}
		asking := t.asking
		k.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			k.mu.Lock()
			return ""
		}
		k.mu.Lock()
	}
}
