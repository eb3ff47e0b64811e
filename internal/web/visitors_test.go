package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/pingreq/pingreq/test/lab"
)

// at is a connection in memory whose peer has an address.
type at struct {
	net.Conn
	address net.Addr
}

func (a at) RemoteAddr() net.Addr { return a.address }

// site serves pages in memory, for virtual time.
type site struct {
	t    *testing.T
	l    *lab.PipeListener
	mu   sync.Mutex
	from []net.Addr // of the next connections
	log  *lockedBuffer
}

func (s *site) Accept() (net.Conn, error) {
	c, err := s.l.Accept()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.from[0]
	s.from = s.from[1:]
	return at{c, from}, nil
}

func (s *site) Close() error   { return s.l.Close() }
func (s *site) Addr() net.Addr { return s.l.Addr() }

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// large is a gatherer of many series. Its text has about 120 bytes for each.
type large []*dto.MetricFamily

func newLarge(series int) large {
	f := &dto.MetricFamily{Name: new("large"), Help: new("Large."), Type: dto.MetricType_GAUGE.Enum()}
	for i := range series {
		value := fmt.Sprintf("a value that takes space, so that the answer is large: number %d", i)
		f.Metric = append(f.Metric, &dto.Metric{Label: []*dto.LabelPair{{Name: new("a_name_that_takes_space"), Value: &value}}, Gauge: &dto.Gauge{Value: new(float64)}})
	}
	return large{f}
}

// Gather implements [prometheus.Gatherer].
func (l large) Gather() ([]*dto.MetricFamily, error) { return l, nil }

// siteConns is how many connections a site allows.
const siteConns = 12

// newSite serves pages with many series until the test ends.
func newSite(t *testing.T, series int) *site {
	s := &site{t: t, l: lab.NewPipeListener(), log: new(lockedBuffer)}
	o := testOptions()
	o.Registry, o.Logger = newLarge(series), slog.New(slog.NewTextHandler(s.log, nil))
	many := newFleet()
	for i := range series / 50 {
		many.add(fmt.Sprint("plant-", i), nil, "connect", "session")
	}
	o.View = many.view()
	o.Reload = func(context.Context) error { return nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveListener(ctx, New(o), s, newVisitors(siteConns, o.Logger), o.Logger) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial opens a connection from an address.
func (s *site) dial(from string) net.Conn {
	s.t.Helper()
	s.mu.Lock()
	s.from = append(s.from, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)))
	s.mu.Unlock()
	c, err := s.l.DialContext(s.t.Context(), "", "")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	synctest.Wait()
	return c
}

// send opens a connection and sends a text.
func (s *site) send(from, text string) net.Conn {
	s.t.Helper()
	c := s.dial(from)
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
	return c
}

// request is a request of a client that does not accept compression.
func request(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" }

// scrape scrapes over a new connection. It returns the status, or the error.
func (s *site) scrape(from string) (status int, size int64, err error) {
	s.t.Helper()
	c := s.send(from, request("/metrics"))
	defer c.Close()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	size, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, size, err
}

// open reports whether the server has not closed a connection.
func open(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Microsecond)) // virtual
	for {
		if _, err := c.Read(make([]byte, 64<<10)); err != nil {
			return !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed)
		}
	}
}

// TestSlowClients has clients that are slow in all ways. Each loses its connection.
func TestSlowClients(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *site) net.Conn
		want time.Duration
		get  string
	}{
		"no request":    {func(s *site) net.Conn { return s.dial("192.0.2.1:1") }, readHeaderTimeout, ""},
		"half a header": {func(s *site) net.Conn { return s.send("192.0.2.1:1", "GET /metrics HTTP/1.1\r\nHost:") }, readHeaderTimeout, ""},
		"half a body": {func(s *site) net.Conn {
			return s.send("192.0.2.1:1", "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
		}, readTimeout, "400 Bad Request"},
		"a slow body": {func(s *site) net.Conn {
			return trickle(s, "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n")
		}, readTimeout, "400 Bad Request"},
		"chunked body": {func(s *site) net.Conn {
			return trickle(s, "POST /-/reload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n")
		}, readTimeout, "400 Bad Request"},
		"an idle client": {func(s *site) net.Conn { return s.send("192.0.2.1:1", request("/-/healthy")) }, idleTimeout, "200 OK"},
		"a large body": {func(s *site) net.Conn {
			return s.send("192.0.2.1:1", "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"+strings.Repeat("x", 2*maxBody))
		}, time.Second, "400 Bad Request"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, start := newSite(t, 1), time.Now()
				conn := c.do(s)
				_ = conn.SetReadDeadline(start.Add(time.Hour)) // virtual
				got, err := io.ReadAll(conn)
				took := time.Since(start).Round(time.Second)
				status, _, _ := strings.Cut(strings.TrimPrefix(string(got), "HTTP/1.1 "), "\r\n")
				if took != c.want || status != c.get && c.get != "" {
					t.Errorf("closed after %s, want %s; got %q, error %v", took, c.want, got, err)
				}
			})
		})
	}
}

// trickle sends a text, and from then on a byte in each second until that fails.
func trickle(s *site, text string) net.Conn {
	c := s.send("192.0.2.1:1", text)
	var sending sync.WaitGroup
	s.t.Cleanup(sending.Wait) // the server closes the connection
	sending.Go(func() {
		for {
			time.Sleep(time.Second) // virtual
			if _, err := io.WriteString(c, "x"); err != nil {
				return
			}
		}
	})
	return c
}

// TestSlowReaders has readers of a large answer. Those that stop or are very slow lose their
// connection, and the log has one line about all of them.
func TestSlowReaders(t *testing.T) {
	for name, c := range map[string]struct {
		bytes int64 // that it reads in each second
		want  time.Duration
		whole bool
	}{
		"stuck":          {0, progressTimeout, false},
		"too slow":       {chunk / 2 / 5, progressTimeout, false},
		"slow":           {2 * chunk / 5, answerTimeout, false},
		"slow, but fine": {64 << 10, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, start := newSite(t, 10000), time.Now()
				const readers = 10
				var all sync.WaitGroup
				for i := range readers {
					conn := s.send(fmt.Sprintf("192.0.2.%d:1", i), request("/metrics"))
					all.Go(func() {
						var n int64
						for {
							time.Sleep(time.Second) // virtual
							m, err := io.CopyN(io.Discard, conn, c.bytes)
							n += m
							if err != nil || c.bytes == 0 && time.Since(start) > time.Minute || c.whole && n > 1<<20 {
								break
							}
						}
						if c.whole {
							conn.Close()
						}
					})
				}
				if !c.whole {
					time.Sleep(c.want + 2*time.Second) // virtual
					synctest.Wait()
					if n := strings.Count(s.log.String(), "were not read to their end"); n != 1 {
						t.Errorf("%d lines about %d readers:\n%s", n, readers, s.log)
					}
				}
				all.Wait()
				if c.whole && strings.Contains(s.log.String(), "too slow") {
					t.Errorf("log: %s", s.log)
				}
				if !c.whole && !strings.Contains(s.log.String(), "the reader was too slow") {
					t.Errorf("log: %s", s.log)
				}
				if lines := strings.Count(s.log.String(), "\n"); lines > 2 {
					t.Errorf("the log has %d lines:\n%s", lines, s.log)
				}
			})
		})
	}
}

// TestCrowds lets many clients that misbehave in some way come from one address or from many. The
// others are answered at once, also from the same address, and the number of connections is limited.
func TestCrowds(t *testing.T) {
	const series = 500 // more than the buffers of a connection hold
	const most = siteConns
	for what, text := range map[string]string{
		"silent": "", "half a header": "GET /metrics HTTP/1.1\r\nHost", "stuck scrapes": request("/metrics"), "stuck pages": request("/"),
		"idle": request("/-/healthy"), "half a body": "POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
	} {
		for name, from := range map[string]func(i int) string{
			"one address":     func(int) string { return "192.0.2.1:1" },
			"one /64":         func(i int) string { return fmt.Sprintf("[2001:db8::%x]:1", i+1) },
			"three addresses": func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i%3) },
			"many":            func(i int) string { return fmt.Sprintf("198.51.%d.%d:1", i/250, i%250) },
		} {
			t.Run(what+" from "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t, series)
					idle := s.send("203.0.113.7:1", request("/-/healthy")) // of a Prometheus that keeps its connection
					var crowd []net.Conn
					for i := range 3 * most {
						crowd = append(crowd, s.send(from(i), text))
						if i%most != 0 {
							continue
						}
						for _, address := range []string{"203.0.113.7:2", from(i)} {
							if status, size, err := s.scrape(address); status != 200 || size < 100*series || err != nil {
								t.Errorf("a scrape from %s among %d others: status %d, %d bytes, error %v", address, len(crowd), status, size, err)
							}
						}
					}
					synctest.Wait()
					kept := 0
					for _, c := range crowd {
						if open(c) {
							kept++
						}
					}
					if kept > most {
						t.Errorf("%d connections are open, want at most %d", kept, most)
					}
					if name != "many" && !open(idle) {
						t.Error("the idle connection of another address was closed")
					}
					if lines := strings.Count(s.log.String(), "\n"); lines > 2 || !strings.Contains(s.log.String(), "Too many connections") {
						t.Errorf("the log has %d lines:\n%s", lines, s.log)
					}
				})
			})
		}
	}
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1", true},
		{"[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", true},
		{"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
		{"[fe80::1%eth0]:1", "[fe80::2%eth0]:1", true},
		{"[::1]:1", "[::2]:1", false},
	} {
		a, b := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.a)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.b))
		if same := origin(a) == origin(b); same != c.same {
			t.Errorf("%s is %s, %s is %s", c.a, origin(a), c.b, origin(b))
		}
	}
	if got := origin(&net.UnixAddr{Net: "unix"}); got != "unix" {
		t.Errorf("a unix socket is %q", got)
	}
}
