package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// maxWaiting is how many bytes of messages wait for a reader that is slow, such as a pipe that nobody
// reads or a terminal that was stopped with Ctrl-S. Further messages are dropped and counted, so that
// nobody can stop the agent by not reading its log.
const maxWaiting = 1 << 20

// patientWriter writes messages to an output in the background. Write never blocks.
type patientWriter struct {
	out io.Writer

	mu      sync.Mutex
	waiting [][]byte
	size    int             // bytes of waiting
	dropped int             // messages since the last one that was taken
	onDrop  func(n int)     // is told about dropped messages; may be nil
	emptied []chan struct{} // closed when nothing waits any more
	closed  bool            // no more messages come
	more    *sync.Cond      // something was added, or closed was set
	done    chan struct{}   // closed when everything is written after Close
}

// newPatientWriter returns a writer to out. Close ends it.
func newPatientWriter(out io.Writer) *patientWriter {
	w := &patientWriter{out: out, done: make(chan struct{})}
	w.more = sync.NewCond(&w.mu)
	go w.run()
	return w
}

// Write implements [io.Writer] for whole messages. It never fails.
func (w *patientWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.size+len(p) > maxWaiting || w.closed {
		w.drop()
		return len(p), nil
	}
	if w.dropped > 0 {
		w.add(fmt.Appendf(nil, "pingreq: %d messages were dropped here, because they could not be written, or nobody read them\n", w.dropped))
		w.dropped = 0
	}
	w.add(append([]byte(nil), p...))
	return len(p), nil
}

// drop counts a message that is not written.
func (w *patientWriter) drop() {
	w.dropped++
	if w.onDrop != nil {
		w.onDrop(1)
	}
}

func (w *patientWriter) add(p []byte) {
	w.waiting, w.size = append(w.waiting, p), w.size+len(p)
	w.more.Signal()
}

// OnDrop sets a function that is told how many messages were dropped, including those before.
func (w *patientWriter) OnDrop(f func(n int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onDrop = f
	if w.dropped > 0 {
		f(w.dropped)
	}
}

// run writes messages until Close.
func (w *patientWriter) run() {
	defer close(w.done)
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.waiting) == 0 && !w.closed {
			w.more.Wait()
		}
		if len(w.waiting) == 0 {
			return
		}
		p := w.waiting[0]
		w.mu.Unlock()
		_, err := w.out.Write(p)
		w.mu.Lock()
		w.waiting, w.size = w.waiting[1:], w.size-len(p)
		if len(w.waiting) == 0 {
			for _, c := range w.emptied {
				close(c)
			}
			w.emptied = nil
		}
		if err != nil { // such as a full disk, which may have room later
			w.drop()
		}
	}
}

// Flush waits until everything is written, or until the time has passed.
func (w *patientWriter) Flush(patience time.Duration) {
	w.mu.Lock()
	empty := make(chan struct{})
	if len(w.waiting) == 0 {
		close(empty)
	} else {
		w.emptied = append(w.emptied, empty)
	}
	w.mu.Unlock()
	wait(empty, patience)
}

// Close waits until everything is written, or until the time has passed. Then it gives up.
func (w *patientWriter) Close(patience time.Duration) {
	w.mu.Lock()
	w.closed = true
	w.more.Signal()
	w.mu.Unlock()
	wait(w.done, patience)
}

// wait waits until a channel is closed, or until the time has passed.
func wait(done <-chan struct{}, patience time.Duration) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
