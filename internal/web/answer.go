package web

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// progressTimeout is how long a reader may take for chunk bytes of an answer.
	progressTimeout = 5 * time.Second
	chunk           = 16 << 10
	// answerTimeout is how long a reader may take for the whole answer.
	answerTimeout = time.Minute
	// maxBody is the largest body of a request in bytes. No page needs one.
	maxBody = 64 << 10
)

// answer writes one line of plain text.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the reader may have disconnected
}

// patient reads the body of each request before anything is done for it, and makes slow readers of
// the answer lose their connection.
func patient(h http.Handler, log *slog.Logger) http.Handler {
	told := new(sparse)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &pacedWriter{ResponseWriter: w, control: http.NewResponseController(w), by: visitorOf(r), end: time.Now().Add(answerTimeout)}
		if r.ContentLength != 0 {
			// Otherwise the first write of the answer would wait for the body.
			if _, err := io.Copy(io.Discard, http.MaxBytesReader(p, r.Body, maxBody)); err != nil {
				p.Header().Set("Connection", "close")
				answer(p, http.StatusBadRequest, "the body of the request is too large, or did not come in time: send none")
				return
			}
		}
		h.ServeHTTP(p, r)
		if p.err == nil {
			return
		}
		slow := errors.Is(p.err, os.ErrDeadlineExceeded)
		if slow && r.ProtoMajor == 1 {
			p.by.drop()
		}
		if held, ok := told.pass(); ok {
			why := "the reader disconnected"
			switch {
			case slow:
				why = "the reader was too slow"
			case errors.Is(p.err, net.ErrClosed):
				why = "there were too many connections"
			}
			log.Warn("Answers of the web pages were not read to their end.", "path", r.URL.Path, "reader", r.RemoteAddr, "reason", why, "held_back_before", held)
		}
	})
}

// pacedWriter gives the reader a deadline for every chunk of the answer.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	by      *visitor
	end     time.Time // for the whole answer
	err     error     // of the first write that failed
}

// Unwrap is used by [http.ResponseController].
func (p *pacedWriter) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// Write implements [http.ResponseWriter].
func (p *pacedWriter) Write(b []byte) (written int, err error) {
	p.by.reads()
	for {
		next := time.Now().Add(progressTimeout)
		if p.end.Before(next) {
			next = p.end
		}
		_ = p.control.SetWriteDeadline(next) // tests have no deadlines
		n, err := p.ResponseWriter.Write(b[:min(len(b), chunk)])
		written += n
		if err != nil && p.err == nil && !errors.Is(err, http.ErrBodyNotAllowed) { // HEAD
			p.err = err
		}
		if b = b[n:]; err != nil || len(b) == 0 {
			return written, err
		}
	}
}

// pages makes each answer once for all requests that come meanwhile. It makes only a few at the
// same time, because that needs memory. Sending them needs little.
type pages struct {
	flight  singleflight.Group
	turns   chan struct{}
	writers sync.Pool // of *gzip.Writer
}

// made is an answer. It is compressed, because it is held as long as someone reads it.
type made struct {
	status int
	header http.Header
	body   []byte
}

func newPages(atOnce int) *pages {
	return &pages{turns: make(chan struct{}, atOnce), writers: sync.Pool{New: func() any { return gzip.NewWriter(nil) }}}
}

// serve answers a request with what write writes. Requests with the same key share one answer.
func (p *pages) serve(w http.ResponseWriter, r *http.Request, key string, write func(http.ResponseWriter)) {
	v, _, _ := p.flight.Do(key, func() (any, error) {
		p.turns <- struct{}{}
		defer func() { <-p.turns }()
		return p.make(write), nil
	})
	v.(*made).send(w, r)
}

// make makes an answer.
func (p *pages) make(write func(http.ResponseWriter)) *made {
	var b bytes.Buffer
	z := p.writers.Get().(*gzip.Writer)
	z.Reset(&b)
	defer p.writers.Put(z)
	m := &maker{made: made{status: http.StatusOK, header: make(http.Header)}, body: z}
	write(m)
	_ = z.Close() // a buffer takes everything
	m.made.body = bytes.Clone(b.Bytes())
	return &m.made
}

// maker records an answer.
type maker struct {
	made
	body io.Writer
}

// Header implements [http.ResponseWriter].
func (m *maker) Header() http.Header { return m.header }

// WriteHeader implements [http.ResponseWriter].
func (m *maker) WriteHeader(status int) { m.status = status }

// Write implements [http.ResponseWriter].
func (m *maker) Write(b []byte) (int, error) { return m.body.Write(b) }

// send sends an answer, compressed if the reader accepts that.
func (m *made) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for key, values := range m.header { // other readers use the same values
		h[key] = slices.Clone(values)
	}
	h.Add("Vary", "Accept-Encoding")
	if acceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(m.body)))
		w.WriteHeader(m.status)
		_, _ = w.Write(m.body) // the reader may have disconnected
		return
	}
	w.WriteHeader(m.status)
	if z, err := gzip.NewReader(bytes.NewReader(m.body)); err == nil && r.Method != http.MethodHead {
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, z, make([]byte, chunk))
	}
}

// acceptsGzip reports whether a request names gzip in Accept-Encoding, and does not refuse it.
func acceptsGzip(h http.Header) bool {
	for _, list := range h.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(list, ",") {
			name, weight, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				q, ok := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
				value, err := strconv.ParseFloat(q, 64)
				return !ok || err == nil && value > 0
			}
		}
	}
	return false
}
