package events

import (
	"hash/maphash"
	"time"
)

// recentSlots is the number of facts that a parser remembers. Two facts that fall on one slot
// replace each other. The worst result is that a closing counts twice.
const recentSlots = 512

// recent remembers facts for a short time, each as a hash. The key of the hash is made for this
// parser and kept nowhere else.
type recent struct {
	seed  maphash.Seed
	slots []slot // allocated on first use
}

type slot struct {
	fact uint64
	at   int64 // nanoseconds since 1970
}

func newRecent() *recent { return &recent{seed: maphash.MakeSeed()} }

// fact returns the hash of a fact.
func (r *recent) fact(what string, of ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(what)
	for _, s := range of {
		h.WriteByte(0) // no MQTT string contains it [MQTT5-1.5.4-2]
		h.WriteString(s)
	}
	return h.Sum64() | 1 // 0 means an empty slot
}

// note remembers a fact and reports whether it was remembered before, less than while ago.
func (r *recent) note(fact uint64, at time.Time, while time.Duration) (again bool) {
	if r.slots == nil {
		r.slots = make([]slot, recentSlots)
	}
	again = r.has(fact, at, while)
	r.slots[fact>>1%recentSlots] = slot{fact, at.UnixNano()}
	return again
}

func (r *recent) has(fact uint64, at time.Time, while time.Duration) bool {
	if r.slots == nil {
		return false
	}
	s := r.slots[fact>>1%recentSlots]
	return s.fact == fact && at.UnixNano()-s.at < int64(while)
}

// take forgets a fact and reports whether it was remembered less than while ago.
func (r *recent) take(fact uint64, at time.Time, while time.Duration) bool {
	known := r.has(fact, at, while)
	if r.slots != nil && r.slots[fact>>1%recentSlots].fact == fact {
		r.slots[fact>>1%recentSlots] = slot{}
	}
	return known
}
