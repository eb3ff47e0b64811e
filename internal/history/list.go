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
	// often is set if runs are added so often that the newest one is kept as it is, too.
	often  bool
	newest *Run
}

// withoutText is how many bytes a run needs without texts.
const withoutText = 56

// add adds a run, and returns those that left, the oldest first.
func (l *list) add(names *names, r Run) (left []Run) {
	r.Start, r.Elapsed, r.Lag = r.Start.Truncate(time.Millisecond), r.Elapsed.Truncate(time.Microsecond), r.Lag.Truncate(time.Microsecond)
	e := encoder{names: names}
	last := l.last(names)
	for {
		e.buf = e.buf[:0]
		e.run(last, &r)
		if reserved := withoutText * max(0, l.keep-l.n-1); len(l.buf)+framed(len(e.buf))+reserved <= l.limit {
			break
		}
		if l.n >= l.keep && l.n > 0 {
			left = append(left, l.shift(names))
			if l.n == 0 {
				last = &Run{}
			}
		} else if !shorten(&r) {
			break // the limit is too small for so many runs
		}
	}
	l.grow(framed(len(e.buf)))
	l.buf = binary.AppendUvarint(l.buf, uint64(len(e.buf)))
	l.buf = append(l.buf, e.buf...)
	l.n++
	if l.often {
		l.newest = &r
	}
	return left
}

// last returns the newest run, or the zero run.
func (l *list) last(names *names) *Run {
	if l.newest != nil {
		return l.newest
	}
	d, last := decoder{names: names, buf: l.buf}, Run{}
	for range l.n {
		d.uint()
		last = d.run(&last)
	}
	return &last
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

// shift removes the oldest run. The next one becomes the first.
func (l *list) shift(names *names) Run {
	d := decoder{names: names, buf: l.buf}
	d.uint()
	first := d.run(&Run{})
	if l.n--; l.n == 0 {
		l.buf, l.newest = l.buf[:0], nil
		return first
	}
	d.uint()
	second := d.run(&first)
	e := encoder{names: names}
	e.run(&Run{}, &second)
	rest := d.buf
	head := binary.AppendUvarint(nil, uint64(len(e.buf)))
	size := len(head) + len(e.buf) + len(rest)
	if gone := len(l.buf) - len(rest); len(head)+len(e.buf) <= gone {
		copy(l.buf[len(head)+len(e.buf):], rest)
		l.buf = l.buf[:size]
	} else {
		l.buf = append(make([]byte, size-len(rest), size), rest...)
	}
	copy(l.buf, head)
	copy(l.buf[len(head):], e.buf)
	return first
}

// shorten takes something from the texts of a run. It returns false if there is nothing left to take.
func shorten(r *Run) bool {
	switch {
	case len(r.Facts) > 0:
		r.Facts = nil
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
func (l *list) all(names *names) []Run { return decode(names, l.buf, l.n) }

func decode(names *names, buf []byte, n int) []Run {
	runs := make([]Run, n)
	d, before := decoder{names: names, buf: buf}, &Run{}
	for i := range runs {
		d.uint()
		runs[i] = d.run(before)
		before = &runs[i]
	}
	return runs
}
