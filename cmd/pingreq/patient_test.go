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
		if want := fmt.Sprintf("pingreq: %d messages were dropped here, because nobody read the output\nlast\n", told); !strings.HasSuffix(got.String(), want) {
			t.Errorf("the end is %q, want %q", got.String()[got.Len()-200:], want)
		}
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
		if _, err := fmt.Fprintln(w, "another"); err == nil {
			t.Error("no error after the reader has gone")
		}
	})
}
