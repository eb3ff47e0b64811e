package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatientWriter writes more than anybody reads, and then reads it.
func TestPatientWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, out := io.Pipe()
		w := newPatientWriter(out)
		line := strings.Repeat("x", 999) + "\n"
		const n = 5000
		for range n { // nobody reads, and this does not block
			if m, err := io.WriteString(w, line); m != len(line) || err != nil {
				t.Fatal(m, err)
			}
		}
		told := 0
		w.OnDrop(func(n int) { told += n })
		var got bytes.Buffer
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(&got, r) })
		synctest.Wait()
		if _, err := io.WriteString(w, "last\n"); err != nil {
			t.Error(err)
		}
		w.Close(time.Second)
		out.Close()
		reading.Wait()
		whole := strings.Count(got.String(), line)
		if whole < maxWaiting/len(line)-1 || whole+told != n {
			t.Errorf("%d lines arrived and %d were counted as dropped, of %d", whole, told, n)
		}
		if want := fmt.Sprintf("pingreq: %d messages were dropped here, because they could not be written, or nobody read them\nlast\n", told); !strings.HasSuffix(got.String(), want) {
			t.Errorf("the end is %q, want %q", got.String()[got.Len()-200:], want)
		}
	})
}

// TestPatientWriterFlush waits for what was written, but not for ever.
func TestPatientWriterFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, out := io.Pipe()
		w := newPatientWriter(out)
		start := time.Now()
		w.Flush(time.Second) // nothing waits
		fmt.Fprintln(w, "a line")
		w.Flush(time.Second) // nobody reads
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited for %s", took)
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			time.Sleep(300 * time.Millisecond)
			_, _ = io.Copy(io.Discard, r)
		})
		w.Flush(time.Second)
		if took := time.Since(start); took != 1300*time.Millisecond {
			t.Errorf("waited for %s for a slow reader", took-time.Second)
		}
		w.Close(time.Second)
		out.Close()
		reading.Wait()
	})
}

// TestPatientWriterGivesUp closes while nobody reads.
func TestPatientWriterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, out := io.Pipe()
		w := newPatientWriter(out)
		fmt.Fprintln(w, "a line")
		start := time.Now()
		w.Close(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %s", took)
		}
		r.CloseWithError(errors.New("gone"))
		<-w.done
		fmt.Fprintln(w, "another") // this does not block either
	})
}

// sometimes is an output that fails for a while, such as a full disk.
type sometimes struct {
	bytes.Buffer
	full bool
}

func (s *sometimes) Write(p []byte) (int, error) {
	if s.full {
		return 0, errors.New("no space left on device")
	}
	return s.Buffer.Write(p)
}

// TestPatientWriterContinues writes again when the disk has room again.
func TestPatientWriterContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sometimes{full: true}
		w := newPatientWriter(out)
		told := 0
		w.OnDrop(func(n int) { told += n })
		fmt.Fprintln(w, "lost")
		synctest.Wait()
		out.full = false
		fmt.Fprintln(w, "kept")
		w.Close(time.Second)
		if got := out.String(); told != 1 || !strings.Contains(got, "1 messages were dropped here") || !strings.HasSuffix(got, "kept\n") {
			t.Errorf("%d dropped; the output is %q", told, got)
		}
	})
}
