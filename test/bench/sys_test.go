package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

const (
	// sysEnv names the environment variable with the job of the brokers. They run in a process of
	// their own, so that their CPU time is not counted.
	sysEnv     = "PINGREQ_BENCH_SYS"
	sysTargets = 200
	sysTick    = time.Second
	// sysWindow is how long the CPU time is measured. It is the scrape interval in our documentation.
	sysWindow = 15 * time.Second
)

// sysJob describes what the brokers publish, as JSON in their environment.
type sysJob struct {
	Values  []sysValue
	NoDelay bool // send each packet at once, not together with the packets that follow
}

// sysValue is a topic and its first payload.
type sysValue struct {
	Topic, Payload string
	Changes        bool // the value changes at each tick
}

// BenchmarkSys reads $SYS of 200 Mosquitto brokers that publish every second, and is scraped once
// in 15 s. It measures the share of one core that pingreq uses. It compares this with paho.Client,
// whose handler puts the payloads into a map, and with a bare loop that reads the same bytes and
// discards them.
func BenchmarkSys(b *testing.B) {
	// The topics that Debian's Mosquitto 2.0.11 published at each tick when we watched it with
	// sys_interval 1. One client published a message each second and one client subscribed to it.
	// Mosquitto publishes only values that have changed.
	light := []string{"uptime", "messages/received", "messages/sent", "bytes/", "publish/messages/received", "publish/messages/sent",
		"publish/bytes/", "load/messages/", "load/publish/received/", "load/publish/sent/", "load/bytes/", "load/sockets/1min", "load/connections/1min"}
	for _, load := range []struct {
		name    string
		noDelay bool
		changes func(topic string) bool
	}{
		{"light", false, func(topic string) bool {
			return slices.ContainsFunc(light, func(l string) bool { return strings.HasPrefix(topic, l) })
		}},
		{"all", false, func(topic string) bool { return topic != "version" }},
		{"all-nodelay", true, func(topic string) bool { return topic != "version" }},
	} {
		b.Run(load.name, func(b *testing.B) {
			job := sysJob{Values: mosquittoTree(b), NoDelay: load.noDelay}
			rate := 0
			for i, v := range job.Values {
				if job.Values[i].Changes = load.changes(strings.TrimPrefix(v.Topic, "$SYS/broker/")); job.Values[i].Changes {
					rate += sysTargets
				}
			}
			address := startSysBrokers(b, job)
			var ours, theirs, bare float64
			n := 0.
			for b.Loop() {
				bare += sysRun(b, rate, func(ctx context.Context) *sysReading { return readBare(b, ctx, address) })
				ours += sysRun(b, rate, func(ctx context.Context) *sysReading { return readPingreq(b, ctx, address) })
				theirs += sysRun(b, rate, func(ctx context.Context) *sysReading { return readPaho(b, ctx, address) })
				n++
			}
			ours, theirs, bare = ours/n, theirs/n, bare/n
			b.ReportMetric(0, "ns/op") // covers fixed windows of time, so it means nothing
			b.ReportMetric(ours, "core%")
			b.ReportMetric(theirs, "paho-core%")
			b.ReportMetric(bare, "bare-core%")
			b.ReportMetric(ours/bare, "ratio")
			cells := func(name string, x float64) []string { return []string{name, fmt.Sprintf("%.2f", x)} }
			table(b, []string{fmt.Sprintf("$SYS of %d targets, %d messages/s, %s", sysTargets, rate, load.name), "% of a core"},
				cells("pingreq", ours), cells("paho.Client", theirs), cells("bare socket loop", bare), cells("ratio to the loop", ours/bare),
				cells("ratio to paho.Client", ours/theirs), []string{"goal", "< 5"})
		})
	}
}

// mosquittoTree returns what Mosquitto 2 publishes under $SYS. It leaves out bridges and the log,
// which Mosquitto publishes only if they are configured.
func mosquittoTree(b *testing.B) (all []sysValue) {
	b.Helper()
	data, err := os.ReadFile("../../collector/sys/testdata/documented/mosquitto.tsv")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		topic, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		name := strings.TrimPrefix(topic, "$SYS/broker/")
		if !strings.HasPrefix(name, "log/") && !strings.HasPrefix(name, "connection/") && name != "timestamp" {
			all = append(all, sysValue{Topic: topic, Payload: payload})
		}
	}
	return all
}

// sysReading is a running reader of all brokers.
type sysReading struct {
	messages func() int64       // returns the number of messages so far; nil: it does not count them
	ready    func() bool        // reports whether each broker has published
	second   func(time.Time)    // called each second; may be nil
	scrape   func()             // called once in the window; may be nil
	check    func(b *testing.B) // called after the window; may be nil
	stop     func()             // called when the context is done
}

// sysRun starts a reader and waits until all brokers have published. Then it measures for the
// window and returns the share of one core that the reader used, in percent.
func sysRun(b *testing.B, rate int, start func(context.Context) *sysReading) float64 {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	r := start(ctx)
	defer r.stop()
	defer cancel()
	for deadline := time.Now().Add(time.Minute); !r.ready(); time.Sleep(sysTick) {
		if time.Now().After(deadline) {
			b.Fatal("some brokers have not published within a minute")
		}
	}
	runtime.GC()
	var before int64
	if r.messages != nil {
		before = r.messages()
	}
	begin, used := time.Now(), cpuTime(b)
	seconds := int(sysWindow / time.Second)
	for i := range seconds {
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * time.Second)))
		if r.second != nil {
			r.second(time.Now())
		}
		if r.scrape != nil && i == seconds/2 {
			r.scrape()
		}
	}
	used, took := cpuTime(b)-used, time.Since(begin)
	if r.messages != nil {
		got, want := float64(r.messages()-before)/took.Seconds(), float64(rate)
		if got < .9*want || got > 1.1*want {
			b.Fatalf("received %.0f messages/s, but the brokers publish %.0f: the machine is too busy to measure", got, want)
		}
	}
	if r.check != nil {
		r.check(b)
	}
	return 100 * used.Seconds() / took.Seconds()
}

// cpuTime returns the CPU time that this process has used, in user mode and in the kernel.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sysEar passes messages from a listener to a target, as the agent does, and counts them.
type sysEar struct {
	*sys.Broker
	heard *atomic.Int64
}

// Subscribed implements synthetic.Heard.
func (e sysEar) Subscribed([]string) { e.Broker.Subscribed() }

// Message implements synthetic.Heard.
func (e sysEar) Message(m *mqtt.Message, at time.Time) {
	e.heard.Add(1)
	e.Handle(m.Topic, m.Payload, m.Retain, at)
}

// Refused implements synthetic.Heard.
func (e sysEar) Refused(why *mqtt.End, _ time.Duration) { e.Broker.Refused(why.Error()) }

// Lost implements synthetic.Heard.
func (e sysEar) Lost(why error, _ time.Duration) { e.Disconnected(why.Error()) }

// readPingreq reads with pingreq's listeners, as the agent does.
func readPingreq(b *testing.B, ctx context.Context, address string) *sysReading {
	b.Helper()
	fleet, err := sys.NewFleet(prometheus.NewRegistry(), false)
	if err != nil {
		b.Fatal(err)
	}
	profile := synthetic.DefaultProfile()
	var targets []*sys.Broker
	var heard atomic.Int64
	var running sync.WaitGroup
	for i := range sysTargets {
		name := fmt.Sprintf("broker-%03d", i)
		target, err := fleet.Add(name, sys.Options{})
		if err != nil {
			b.Fatal(err)
		}
		targets = append(targets, target)
		env := synthetic.Env{Agent: "bench", Identity: synthetic.Identity{Target: name, Kind: "sys", Probe: "sys", Profile: profile.Name},
			Target: &synthetic.Target{Name: name, URL: "mqtt://" + address}, Timeout: 20 * time.Second}
		l, err := client.NewListener(env, &profile, "sys", target.Filters(), sysEar{target, &heard})
		if err != nil {
			b.Fatal(err)
		}
		running.Go(func() { l.Run(ctx) })
	}
	allFresh := func() bool {
		return !slices.ContainsFunc(targets, func(t *sys.Broker) bool { return t.Status(time.Now()).State != sys.Fresh })
	}
	metrics := promhttp.HandlerFor(fleet, promhttp.HandlerOpts{})
	scrape := func() *httptest.ResponseRecorder {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", "gzip")
		metrics.ServeHTTP(w, r)
		return w
	}
	return &sysReading{messages: heard.Load, ready: allFresh, stop: running.Wait,
		second: func(now time.Time) { // as the agent does for its log
			for _, t := range targets {
				t.Status(now)
			}
		},
		scrape: func() { scrape() },
		check: func(b *testing.B) {
			w := httptest.NewRecorder()
			metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			if n := strings.Count(w.Body.String(), "\nmqtt_broker_uptime_seconds{"); n != sysTargets || !allFresh() {
				b.Fatalf("%d targets have an uptime, but all %d must have one and be fresh: the measurement is not valid", n, sysTargets)
			}
		}}
}

// readPaho reads with paho.Client.
func readPaho(b *testing.B, ctx context.Context, address string) *sysReading {
	b.Helper()
	var heard atomic.Int64
	var clients []*paho.Client
	for i := range sysTargets {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		max := uint16(32)
		var mu sync.Mutex
		values := make(map[string][]byte)
		c := paho.NewClient(paho.ClientConfig{Conn: conn, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) {
				heard.Add(1)
				mu.Lock()
				defer mu.Unlock()
				values[p.Packet.Topic] = p.Packet.Payload
				return true, nil
			}}})
		if _, err := c.Connect(ctx, &paho.Connect{ClientID: fmt.Sprintf("paho-%d", i), CleanStart: true, KeepAlive: 30,
			Properties: &paho.ConnectProperties{ReceiveMaximum: &max}}); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "$SYS/#"}}}); err != nil {
			b.Fatal(err)
		}
		clients = append(clients, c)
	}
	start := time.Now()
	return &sysReading{messages: heard.Load, ready: func() bool { return time.Since(start) > 2*sysTick }, stop: func() {
		for _, c := range clients {
			_ = c.Disconnect(&paho.Disconnect{})
			<-c.Done()
		}
	}}
}

// readBare reads with a bare loop that discards everything.
func readBare(b *testing.B, _ context.Context, address string) *sysReading {
	b.Helper()
	var conns []net.Conn
	var running sync.WaitGroup
	var reached atomic.Int64 // connections that received something after the tick of the subscription
	start := time.Now()
	for range sysTargets {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
		if _, err := conn.Write([]byte("\x10\x11\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x04bare" + "\x82\x0c\x00\x01\x00\x00\x06$SYS/#\x00")); err != nil {
			b.Fatal(err)
		}
		running.Go(func() {
			buf := make([]byte, 4096)
			for late := false; ; {
				if _, err := conn.Read(buf); err != nil {
					return
				}
				if !late && time.Since(start) > 2*sysTick {
					late = true
					reached.Add(1)
				}
			}
		})
	}
	return &sysReading{ready: func() bool { return reached.Load() == sysTargets }, stop: func() {
		for _, c := range conns {
			c.Close()
		}
		running.Wait()
	}}
}

// startSysBrokers starts the process that acts as all brokers, and returns its address.
func startSysBrokers(b *testing.B, job sysJob) string {
	b.Helper()
	text, err := json.Marshal(job)
	if err != nil {
		b.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), sysEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close() // this ends the process
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// sysBrokers is the main function of that process. It acts as a separate MQTT 5 broker on each
// connection. It returns when standard input ends.
func sysBrokers() {
	var job sysJob
	if err := json.Unmarshal([]byte(os.Getenv(sysEnv)), &job); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	brokers := &sysPublisher{job: job}
	go brokers.publish()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				panic(err)
			}
			go brokers.serve(c)
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// sysPublisher is the state that all brokers share.
type sysPublisher struct {
	job sysJob

	mu    sync.Mutex
	conns []net.Conn // subscribed
}

// serve answers the packets of one client.
func (p *sysPublisher) serve(c net.Conn) {
	defer c.Close()
	_ = c.(*net.TCPConn).SetNoDelay(p.job.NoDelay)
	r := bufio.NewReader(c)
	for {
		packet, err := lab.ReadPacket(r)
		if err != nil {
			break
		}
		switch packet.Type() {
		case lab.CONNECT:
			_, _ = c.Write(lab.Frame(byte(lab.CONNACK)<<4, []byte{0, 0, 0}))
		case lab.SUBSCRIBE:
			_, _ = c.Write(lab.Frame(byte(lab.SUBACK)<<4, packet.Body[:2], []byte{0, 0}))
			_, _ = c.Write(bytes.Join(p.packets(0, 1), nil))
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
		case lab.PINGREQ:
			_, _ = c.Write(lab.Frame(byte(lab.PINGRESP) << 4))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(x net.Conn) bool { return x == c })
}

// publish publishes at each tick. Each broker publishes at a different moment of the tick. The
// packets are written one by one, as Mosquitto does.
func (p *sysPublisher) publish() {
	for tick, begin := 1, time.Now(); ; tick++ {
		packets := p.packets(tick, 0)
		p.mu.Lock()
		conns := slices.Clone(p.conns)
		p.mu.Unlock()
		for i, c := range conns {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * sysTick / sysTargets)))
			for _, packet := range packets {
				_, _ = c.Write(packet)
			}
		}
		begin = begin.Add(sysTick)
		time.Sleep(time.Until(begin))
	}
}

// packets returns the packets that a broker publishes at a tick or, with retain 1, when a client
// subscribes.
func (p *sysPublisher) packets(tick int, retain byte) (all [][]byte) {
	for _, v := range p.job.Values {
		if !v.Changes && retain == 0 {
			continue
		}
		payload := v.Payload
		number, unit, spaced := strings.Cut(payload, " ")
		if x, err := strconv.ParseFloat(number, 64); err == nil {
			_, decimals, _ := strings.Cut(number, ".")
			payload = strconv.FormatFloat(x+float64(tick), 'f', len(decimals), 64)
			if spaced {
				payload += " " + unit
			}
		}
		topic := append(binary.BigEndian.AppendUint16(nil, uint16(len(v.Topic))), v.Topic...)
		all = append(all, lab.Frame(byte(lab.PUBLISH)<<4|retain, topic, []byte{0}, []byte(payload)))
	}
	return all
}
