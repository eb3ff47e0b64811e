package history

import (
	"encoding/binary"
	"math"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// A run is written in some 50 bytes instead of a kilobyte: words of small sets as numbers, durations in
// microseconds, and texts as what differs from a text that is kept once. The texts of a probe are much alike:
// they differ in a few digits.

// names are words from small sets, written as numbers. There may be any number of them, so the table is
// bounded, and a word that it has no place for is written out.
type names struct {
	mu    sync.RWMutex
	codes map[string]uint64
	words []string
}

// mostNames bounds the table.
const mostNames = 4096

func newNames() *names { return &names{codes: map[string]uint64{"": 0}, words: []string{""}} }

// code returns the number of a word. ok is false if the table is full.
func (n *names) code(word string) (c uint64, ok bool) {
	n.mu.RLock()
	c, ok = n.codes[word]
	n.mu.RUnlock()
	if ok {
		return c, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if c, ok = n.codes[word]; !ok && len(n.words) < mostNames {
		c, ok = uint64(len(n.words)), true
		n.codes[word], n.words = c, append(n.words, word)
	}
	return c, ok
}

func (n *names) word(c uint64) string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.words[c]
}

// Bits of the first byte of a run.
const (
	isEvent = 1 << iota
	isConnected
	hasBlame
	hasFacts
)

// flag returns a bit if it is set.
func flag(bit byte, set bool) byte {
	if set {
		return bit
	}
	return 0
}

// encoder writes runs.
type encoder struct {
	names *names
	texts *texts
	since time.Time // a time that all runs are after, or nearly so
	buf   []byte
}

func (e *encoder) uint(v uint64) { e.buf = binary.AppendUvarint(e.buf, v) }
func (e *encoder) int(v int64)   { e.buf = binary.AppendVarint(e.buf, v) }

// name writes a word of a small set: its number + 1, or 0 and the word.
func (e *encoder) name(word string) {
	if c, ok := e.names.code(word); ok {
		e.uint(c + 1)
		return
	}
	e.uint(0)
	e.bytes(word)
}

func (e *encoder) bytes(s string) {
	e.uint(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

// text writes a text: 0 if it is empty, 1 and the text itself, or the number of a base + 2 and what differs.
func (e *encoder) text(s string) {
	if s == "" {
		e.uint(0)
		return
	}
	i, head, tail := e.texts.use(s)
	e.uint(uint64(i + 2))
	if i >= 0 {
		e.uint(uint64(head))
		e.uint(uint64(tail))
	}
	e.bytes(s[head : len(s)-tail])
}

// run writes a run.
func (e *encoder) run(r *Run) {
	e.buf = append(e.buf, flag(isEvent, r.Event != "")|flag(isConnected, r.Connected)|flag(hasBlame, r.Reason != "")|flag(hasFacts, len(r.Facts) > 0))
	if r.Event != "" {
		e.name(r.Event)
	}
	e.name(string(r.Outcome))
	e.uint(uint64(r.Slot))
	e.int(r.Start.UnixMilli() - e.since.UnixMilli())
	e.int(r.Elapsed.Microseconds())
	e.int(r.Lag.Microseconds())
	if r.Reason != "" {
		e.name(r.Reason)
		e.name(string(r.Initiator))
		e.name(string(r.Evidence))
		e.name(string(r.Phase))
		e.int(int64(r.Code))
	}
	e.uint(uint64(len(r.Phases)))
	for _, p := range r.Phases {
		e.name(string(p.Phase))
		e.int(p.Duration.Microseconds())
	}
	e.text(r.Detail)
	if len(r.Facts) == 0 {
		return
	}
	e.uint(uint64(len(r.Facts)))
	for _, f := range r.Facts {
		e.name(f.Name)
		e.text(f.Value)
		e.uint(uint64(len(f.Numbers)))
		for _, n := range f.Numbers {
			e.name(n.Name)
			e.int(int64(math.Round(n.Value * millionth)))
		}
	}
}

// millionth is the resolution of numbers: they are counts, or durations to a microsecond.
const millionth = 1e6

// decoder reads what encoder wrote. It trusts it.
type decoder struct {
	names *names
	texts *texts
	since time.Time
	buf   []byte
	// release gives the texts back, because the run is forgotten.
	release bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.buf)
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.buf)
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) name() string {
	if c := d.uint(); c > 0 {
		return d.names.word(c - 1)
	}
	return d.bytes()
}

func (d *decoder) bytes() string {
	n := d.uint()
	s := string(d.buf[:n])
	d.buf = d.buf[n:]
	return s
}

func (d *decoder) text() string {
	i := int(d.uint()) - 2
	switch i {
	case -2:
		return ""
	case -1:
		return d.bytes()
	}
	head, tail := int(d.uint()), int(d.uint())
	base := d.texts.bases[i].text
	s := base[:head] + d.bytes() + base[len(base)-tail:]
	if d.release {
		d.texts.release(i)
	}
	return s
}

// run reads a run.
func (d *decoder) run() (r Run) {
	flags := d.buf[0]
	d.buf = d.buf[1:]
	if flags&isEvent != 0 {
		r.Event = d.name()
	}
	r.Outcome = synthetic.Outcome(d.name())
	r.Slot = int(d.uint())
	r.Start = time.UnixMilli(d.since.UnixMilli() + d.int())
	r.Elapsed, r.Lag = d.duration(), d.duration()
	r.Connected, r.Code = flags&isConnected != 0, -1
	if flags&hasBlame != 0 {
		r.Reason = d.name()
		r.Initiator, r.Evidence, r.Phase = disconnect.Initiator(d.name()), disconnect.Evidence(d.name()), disconnect.Phase(d.name())
		r.Code = int(d.int())
	}
	if n := d.uint(); n > 0 {
		r.Phases = make([]mqtt.PhaseTime, n)
		for i := range r.Phases {
			r.Phases[i] = mqtt.PhaseTime{Phase: disconnect.Phase(d.name()), Duration: d.duration()}
		}
	}
	r.Detail = d.text()
	if flags&hasFacts == 0 {
		return r
	}
	r.Facts = make([]synthetic.Fact, d.uint())
	for i := range r.Facts {
		f := &r.Facts[i]
		f.Name, f.Value = d.name(), d.text()
		if n := d.uint(); n > 0 {
			f.Numbers = make([]synthetic.Number, n)
			for j := range f.Numbers {
				f.Numbers[j] = synthetic.Number{Name: d.name(), Value: float64(d.int()) / millionth}
			}
		}
	}
	return r
}

func (d *decoder) duration() time.Duration { return time.Duration(d.int()) * time.Microsecond }
