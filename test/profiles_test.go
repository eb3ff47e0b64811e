package test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestProfiles uses everything that a profile can change about the path to a broker. It checks what
// arrived at the broker, at the proxies and at a middlebox.
func TestProfiles(t *testing.T) {
	t.Parallel()
	lab.RequireNetAdmin(t) // for names of our own
	ca := lab.NewCA(t)
	broker := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca})
	port := broker.URL[strings.LastIndex(broker.URL, ":"):]
	socks, http := startProxy(t, socksProxy), startProxy(t, httpProxy)
	choking := startProxy(t, chokingOn(1400, strings.TrimPrefix(broker.TLS, "mqtts://")))

	// A name with two addresses; nothing listens at the second one.
	hosts := "127.0.0.1 localhost\n127.0.0.1 good.test\n127.0.0.1 half.test\n127.0.0.2 half.test\n127.0.0.1 both.test\n"
	family := "ipv4"
	if broker.URL6 != "" {
		hosts, family = hosts+"::1 both.test\n", "ipv6"
	}
	p := plan{
		targets: []string{
			fmt.Sprintf("{name: good, url: %q, connect_rate: 100}", "mqtt://good.test"+port),
			fmt.Sprintf("{name: half, url: %q, connect_rate: 100}", "mqtt://half.test"+port),
			fmt.Sprintf("{name: both, url: %q, connect_rate: 100}", "mqtt://both.test"+port),
			fmt.Sprintf("{name: tls, url: %q, connect_rate: 100, %s}", broker.TLS, trust(ca)),
			fmt.Sprintf("{name: choking, url: %q, connect_rate: 100, %s}", "mqtts://"+choking.addr, trust(ca)),
		},
		profiles: []string{
			fmt.Sprintf(`{name: socks, client_id: "socks-{probe}", proxy: "socks5h://me:${PASSWORD}@%s"}`, socks.addr),
			fmt.Sprintf(`{name: http, client_id: "http-{probe}", proxy: "http://me:${PASSWORD}@%s"}`, http.addr),
			fmt.Sprintf(`{name: nobody, client_id: nobody, proxy: "http://%s"}`, http.addr),
			`{name: source, client_id: "source-{probe}", source_address: 127.0.0.9}`,
			`{name: ipv4, client_id: ipv4, ip_family: ipv4}`,
			fmt.Sprintf(`{name: ipv6, client_id: ipv6, ip_family: %s}`, family),
			`{name: resumes, tls: {resumption: true}}`,
			`{name: classic, tls: {curves: [X25519, P256]}}`,
			`{name: quick, tcp: {quickack: true}}`,
		},
		probes: []string{
			"{name: way, kind: connect, interval: 2s, timeout: 2s, targets: [good], profiles: [socks, http, nobody, source]}",
			"{name: hold, kind: session, targets: [good], profiles: [socks, http, source]}",
			"{name: family, kind: connect, interval: 2s, timeout: 2s, targets: [both], profiles: [ipv4, ipv6]}",
			"{name: first, kind: connect, interval: 2s, timeout: 2s, targets: [half]}",
			"{name: each, kind: connect, interval: 2s, timeout: 2s, targets: [half, good], connect: {addresses: each}}",
			"{name: tls, kind: connect, interval: 2s, timeout: 2s, targets: [tls], profiles: [default, resumes, quick]}",
			// A busy machine may spoil a verdict, which holds for an hour.
			"{name: tls2, kind: connect, interval: 2s, timeout: 2s, targets: [tls]}",
			"{name: tls3, kind: connect, interval: 2s, timeout: 2s, targets: [tls]}",
			"{name: choke, kind: connect, interval: 2s, timeout: 2s, targets: [choking], profiles: [default, classic]}",
		},
	}
	a := serve(t, inNames(t, hosts, lab.Command{Name: "pingreq serve", Path: program, Env: []string{"PASSWORD=pa ss"},
		Args: []string{"serve", "--web.listen-address=127.0.0.1:0", "--config.file=" + p.file(t)}}))
	const success = "mqtt_probe_success"
	good := []string{success + "{profile=socks}", success + "{profile=http}", success + "{profile=source}"}
	m := a.until(all(atLeast(2, good...),
		atLeast(1, success+"{profile=ipv4}", success+"{profile=ipv6}", success+"{probe=first}", success+"{probe=each,target=good}", success+"{profile=classic}"),
		atLeast(1, "mqtt_probe_failures_total{probe=each,target=half}", "mqtt_probe_failures_total{profile=nobody}", "mqtt_probe_failures_total{target=choking,profile=default}"),
		atLeast(1, "mqtt_probe_tls_resumed{profile=resumes}", "mqtt_probe_connect_delayed_ack{target=tls,profile=default}"),
		atLeast(1, "mqtt_probe_runs_total{profile=quick,outcome=success}")))

	if failed := slices.DeleteFunc(m.nonzero("mqtt_probe_failures_total", "probe", "target", "profile", "reason"), func(f string) bool {
		return f == "way good nobody authentication_failed" || f == "each half default connection_refused" || f == "choke choking default tls_error"
	}); len(failed) > 0 {
		t.Errorf("failures of healthy probes:\n\t%s", strings.Join(failed, "\n\t"))
	}
	for _, profile := range []string{"socks", "http"} {
		phases := m.nonzero("mqtt_probe_connect_phase_duration_seconds{profile="+profile+"}", "phase")
		if diff := cmp.Diff([]string{"mqtt", "proxy", "tcp"}, phases); diff != "" {
			t.Errorf("phases with profile %s (-want +got):\n%s", profile, diff)
		}
	}
	for name, proxy := range map[string]*proxy{"SOCKS": socks, "HTTP": http} { // the proxy resolves the name
		if diff := cmp.Diff([]string{"good.test" + port}, proxy.asked()); diff != "" {
			t.Errorf("what the %s proxy was asked for (-want +got):\n%s", name, diff)
		}
	}
	log := broker.Log()
	for id, address := range map[string]string{"source-": "127.0.0.9", "ipv4": "127.0.0.1", "ipv6": map[string]string{"ipv4": "127.0.0.1", "ipv6": "::1"}[family]} {
		for line := range strings.SplitSeq(log, "\n") {
			if strings.Contains(line, " as "+id) && !strings.Contains(line, "New client connected from "+address+":") {
				t.Errorf("%s should come from %s: %s", id, address, line)
			}
		}
		if !strings.Contains(log, " as "+id) {
			t.Errorf("%s never came", id)
		}
	}
	if s := m.series("mqtt_probe_tls_resumed{profile=default}"); len(s) > 0 {
		t.Errorf("of a profile without resumption:%s", m.show("mqtt_probe_tls_resumed"))
	}
	if s := m.series("mqtt_probe_connect_delayed_ack{profile=quick}"); len(s) > 0 {
		t.Errorf("of a profile that acknowledges at once:%s", m.show("mqtt_probe_connect_delayed_ack"))
	}
}

// TestClientIDPool runs an agent at a broker that knows five devices. Reloads change which probe
// has which id. Two clients never have the same one.
func TestClientIDPool(t *testing.T) {
	t.Parallel()
	b := lab.StartBroker(t, lab.BrokerOptions{Grace: 1.5})
	ids := "[dev-1, dev-2, dev-3, dev-4, dev-5]"
	p := plan{
		targets:  []string{fmt.Sprintf("{name: broker, url: %q, connect_rate: 100}", b.URL())},
		profiles: []string{"{name: default, keepalive: 60s, client_ids: " + ids + "}", `{name: v311, protocol: "3.1.1", client_ids: ` + ids + "}"},
		probes: []string{"{name: hold, kind: session, session: {sessions: 2}}", "{name: old, kind: connect, interval: 2s, timeout: 2s, profiles: [v311]}",
			"{name: roundtrip, kind: roundtrip, interval: 2s, timeout: 2s, roundtrip: {qos: [1], delivery_timeout: 1s}}"},
	}
	file := p.file(t)
	a := startAgent(t, "--config.file="+file)
	const runs = "mqtt_probe_runs_total{outcome=success,probe="
	a.until(all(atLeast(2, "mqtt_probe_sessions{state=connected}"), atLeast(3, runs+"old}", runs+"roundtrip}")))

	t.Log("another probe instead of one")
	p.probes[2] = "{name: more, kind: session, profiles: [v311], session: {sessions: 2}}"
	replace(t, file, p.yaml())
	a.mustReload()
	m := a.until(atLeast(4, "mqtt_probe_sessions{state=connected}"))
	if n := m.sum("mqtt_probe_session_connects_total{probe=hold}"); n != 2 {
		t.Errorf("%g connects of kept sessions", n)
	}

	t.Log("a pool that is too small")
	good := p.yaml()
	replace(t, file, strings.ReplaceAll(good, ids, "[dev-1, dev-2, dev-3, dev-4]"))
	want := "4 are too few: target broker needs 5 at once (hold/default 2, old/v311 1, more/v311 2): add 1"
	if status, text := a.reload(); status == http.StatusOK || !strings.Contains(text, want) {
		t.Errorf("%d: %s", status, text)
	}

	t.Log("another pool")
	before := len(b.Events(""))
	replace(t, file, strings.ReplaceAll(good, ids, "[dev-5, other-1, other-2, other-3, other-4]"))
	a.mustReload() // up to a second after the last one; until then the probes use the old pool
	after := len(b.Events(""))
	pool := []string{"dev-5", "other-1", "other-2", "other-3", "other-4"}
	a.until(func(metrics) string {
		var ids []string
		for i, e := range b.Events("")[before:] {
			if e.Kind == lab.ClientConnected && (before+i >= after || slices.Contains(pool, e.ClientID)) {
				ids = append(ids, e.ClientID)
			}
		}
		slices.Sort(ids)
		return cmp.Diff(pool, slices.Compact(ids))
	})
	a.blameless(a.until(atLeast(4, "mqtt_probe_sessions{state=connected}")), "")
	for _, e := range b.Events("") {
		if e.Kind == lab.ClientTakenOver {
			t.Errorf("two clients had the id %s at once", e.ClientID)
		}
	}
}

// TestFilesSwapped replaces certificate, key and password of a running agent one after the other,
// with pauses in which they do not match.
func TestFilesSwapped(t *testing.T) {
	t.Parallel()
	ca := lab.NewCA(t)
	before, after := ca.Client(t, lab.CommonName("before")), ca.Client(t, lab.CommonName("after"))
	b := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, Users: map[string]string{"me": "secret"}})
	password := writeFile(t, "password", "secret")
	p := plan{
		targets: []string{fmt.Sprintf("{name: mutual, url: %q, username: me, password_file: %q, connect_rate: 100, tls: {ca_file: %q, cert_file: %q, key_file: %q}}",
			b.MutualTLS, password, ca.File, before.CertFile, before.KeyFile)},
		probes: []string{"{name: connect, kind: connect, interval: 3s, timeout: 3s}", "{name: hold, kind: session}"},
	}
	a := startPlan(t, p)
	const inconclusive = "mqtt_probe_runs_total{probe=connect,outcome=inconclusive}"
	m := a.until(all(atLeast(1, "mqtt_probe_success{probe=connect}"), atLeast(1, "mqtt_probe_success{probe=hold}")))
	started := m.sum(inconclusive)
	copyFile(t, before.CertFile, after.CertFile)
	m = a.until(atLeast(started+1, inconclusive))
	copyFile(t, before.KeyFile, after.KeyFile)
	m = a.until(atLeast(m.sum("mqtt_probe_runs_total{outcome=success,probe=connect}")+1, "mqtt_probe_runs_total{outcome=success,probe=connect}"))
	if err := os.Truncate(password, 0); err != nil {
		t.Fatal(err)
	}
	m = a.until(atLeast(m.sum(inconclusive)+1, inconclusive))
	if err := os.WriteFile(password, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = a.until(atLeast(m.sum("mqtt_probe_runs_total{outcome=success,probe=connect}")+1, "mqtt_probe_runs_total{outcome=success,probe=connect}"))
	if failed := m.nonzero("mqtt_probe_failures_total", "probe", "reason"); len(failed) > 0 {
		t.Errorf("the broker is blamed: %s", failed)
	}
	if n := m.sum("mqtt_probe_session_connects_total"); n != 1 {
		t.Errorf("the held session connected %g times", n)
	}
	for _, said := range []string{"does not belong to the certificate", "is empty: it should hold the password"} {
		if !strings.Contains(a.Log(), said) {
			t.Errorf("the log does not say: %s", said)
		}
	}
}

// copyFile writes a file over another.
func copyFile(t *testing.T, to, from string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inNames runs a command with an /etc/hosts of its own.
func inNames(t *testing.T, hosts string, c lab.Command) lab.Command {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Args = append([]string{"--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, file, c.Path}, c.Args...)
	c.Path = lab.Require(t, "unshare")
	return c
}

// proxy relays connections to the destinations that its clients ask for.
type proxy struct {
	addr string
	mu   sync.Mutex
	to   []string
}

// asked returns the destinations, each once.
func (p *proxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(p.to)))
}

// greeter negotiates with a client. It returns the destination, "" to close, and the bytes to send
// to it first.
type greeter func(c net.Conn, r *bufio.Reader) (to string, first []byte)

// startProxy starts a proxy. Destinations whose name ends in .test are on this machine.
func startProxy(t *testing.T, greet greeter) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var all sync.WaitGroup
	done := make(chan struct{})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				over := make(chan struct{})
				defer close(over)
				all.Go(func() { // whatever it waits for
					select {
					case <-done:
						c.Close()
					case <-over:
					}
				})
				p.serve(c, greet)
			})
		}
	})
	t.Cleanup(func() {
		close(done)
		l.Close()
		all.Wait()
	})
	return p
}

func (p *proxy) serve(c net.Conn, greet greeter) {
	r := bufio.NewReader(c)
	to, first := greet(c, r)
	if to == "" {
		return
	}
	p.mu.Lock()
	p.to = append(p.to, to)
	p.mu.Unlock()
	host, port, _ := net.SplitHostPort(to)
	if strings.HasSuffix(host, ".test") {
		host = "127.0.0.1"
	}
	up, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return
	}
	defer up.Close()
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = up.Write(first)
		_, _ = io.Copy(up, r)
		up.Close()
	})
	_, _ = io.Copy(c, up)
	c.Close()
	there.Wait()
}

// socksProxy speaks SOCKS5 [RFC 1928] with user name and password [RFC 1929].
func socksProxy(c net.Conn, r *bufio.Reader) (string, []byte) {
	read := func(n byte) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(r, b)
		return b
	}
	if methods := read(read(2)[1]); !slices.Contains(methods, 2) {
		_, _ = c.Write([]byte{5, 0xff})
		return "", nil
	}
	_, _ = c.Write([]byte{5, 2})
	user := read(read(2)[1])
	if password := read(read(1)[0]); string(user) != "me" || string(password) != "pa ss" {
		_, _ = c.Write([]byte{1, 1})
		return "", nil
	}
	_, _ = c.Write([]byte{1, 0})
	if read(4)[3] != 3 { // a name, as socks5h asks for
		_, _ = c.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
		return "", nil
	}
	name := string(read(read(1)[0]))
	port := read(2)
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return fmt.Sprintf("%s:%d", name, int(port[0])<<8|int(port[1])), nil
}

// httpProxy speaks HTTP CONNECT [RFC 9110 9.3.6] with basic authentication.
func httpProxy(c net.Conn, r *bufio.Reader) (string, []byte) {
	req, err := http.ReadRequest(r)
	if err != nil || req.Method != http.MethodConnect {
		return "", nil
	}
	if req.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("me:pa ss")) {
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return "", nil
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	return req.Host, nil
}

// chokingOn resets connections whose ClientHello does not fit into a segment, as some middleboxes
// do. With the key share X25519MLKEM768 it does not fit.
func chokingOn(size int, to string) greeter {
	return func(c net.Conn, r *bufio.Reader) (string, []byte) {
		head, err := r.Peek(5) // of the TLS record
		if err != nil {
			return "", nil
		}
		if int(head[3])<<8|int(head[4]) > size {
			_ = c.(*net.TCPConn).SetLinger(0)
			return "", nil
		}
		return to, nil
	}
}
