package events

import (
	"hash/maphash"
	"time"
)

// recentSlots bounds what a parser remembers. Two facts that fall on one slot push each other out, which at worst
// counts a closing twice.
const recentSlots = 512

// recent remembers facts for a short time, each as a hash whose key is made for this parser and kept nowhere else.
type recent struct {
	seed  maphash.Seed
	slots []slot // made when first needed
}

type slot struct {
	fact uint64
	at   int64 // nanoseconds since 1970
}

func newRecent() *recent { return &recent{seed: maphash.MakeSeed()} }

// fact gives the hash of a fact.
func (r *recent) fact(what string, of ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(what)
	for _, s := range of {
		h.WriteByte(0) // in no MQTT string [MQTT-1.5.4-2]
		h.WriteString(s)
	}
	return h.Sum64() | 1 // 0 is an empty slot
}

// note remembers a fact, and tells whether it was noted before, less than a while ago.
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

// take forgets a fact, and tells whether it was noted less than a while ago.
func (r *recent) take(fact uint64, at time.Time, while time.Duration) bool {
	known := r.has(fact, at, while)
	if r.slots != nil && r.slots[fact>>1%recentSlots].fact == fact {
		r.slots[fact>>1%recentSlots] = slot{}
	}
	return known
}
