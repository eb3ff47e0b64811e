package history

import (
	"encoding/binary"
	"time"
)

// list is a queue of runs in a bounded number of bytes. When there is no room, the oldest runs leave,
// except the last few, which are kept in any case. So that there is room for these, a run with long texts is
// shortened.
type list struct {
	buf   []byte // of each run the length of what follows, and what encoder writes
	n     int
	limit int // bytes
	keep  int // runs that are kept in any case
}

// withoutText is how many bytes a run needs without texts.
const withoutText = 52

// coding is what is needed to write and to read the runs of a probe.
type coding struct {
	names *names
	texts *texts
	since time.Time
}

// add adds a run, and returns those that left, the oldest first.
func (l *list) add(c coding, r Run) (left []Run) {
	e := encoder{names: c.names, texts: c.texts, since: c.since}
	for {
		e.buf = e.buf[:0]
		e.run(&r)
		if reserved := withoutText * max(0, l.keep-l.n-1); len(l.buf)+framed(len(e.buf))+reserved <= l.limit {
			break
		}
		if l.n >= l.keep && l.n > 0 {
			left = append(left, l.shift(c))
		} else if !shorten(&r) {
			break // it has no texts, and those before it have more than it leaves
		}
		c.release(e.buf)
	}
	l.grow(framed(len(e.buf)))
	l.buf = binary.AppendUvarint(l.buf, uint64(len(e.buf)))
	l.buf = append(l.buf, e.buf...)
	l.n++
	return left
}

// release gives back the texts of a run that is not kept.
func (c coding) release(buf []byte) {
	d := decoder{names: c.names, texts: c.texts, since: c.since, buf: buf, release: true}
	d.run()
}

// framed returns how many bytes a run needs with its length.
func framed(n int) int { return len(binary.AppendUvarint(nil, uint64(n))) + n }

// grow makes room for n bytes more. It does not take much more than the limit.
func (l *list) grow(n int) {
	need := len(l.buf) + n
	if need <= cap(l.buf) {
		return
	}
	room := max(need, min(2*cap(l.buf), l.limit))
	l.buf = append(make([]byte, 0, room), l.buf...)
}

// shift removes the oldest run.
func (l *list) shift(c coding) Run {
	d := decoder{names: c.names, texts: c.texts, since: c.since, buf: l.buf, release: true}
	d.uint()
	first := d.run()
	l.n--
	l.buf = l.buf[:copy(l.buf, d.buf)]
	return first
}

// shorten takes something from the texts of a run. It returns false if there is nothing left to take.
func shorten(r *Run) bool {
	switch {
	case len(r.Facts) > 0:
		r.Facts = r.Facts[:len(r.Facts)/2]
	case len(r.Detail) > 16:
		r.Detail = cut(r.Detail, len(r.Detail)/2)
	case r.Detail != "":
		r.Detail = ""
	default:
		return false
	}
	return true
}

// all returns the runs, the oldest first.
func (l *list) all(c coding) []Run {
	runs := make([]Run, l.n)
	d := decoder{names: c.names, texts: c.texts, since: c.since, buf: l.buf}
	for i := range runs {
		d.uint()
		runs[i] = d.run()
	}
	return runs
}
