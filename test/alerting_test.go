package test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// alertScale turns a minute of the rules into a second: `pingreq alerts --time-scale`.
const alertScale = 60

// development is the environment whose alerts page nobody, by a route of Alertmanager.
const development = "dev"

// emergency is a thing that goes wrong, the page that it must cause, and how it is repaired.
type emergency struct {
	name string
	// The group of the page, and the alert in it.
	group map[string]string
	alert string
	says  string // part of the summary or the description; the target is checked separately

	strike, repair func()
	// lasts is how long the repair waits after the page.
	lasts time.Duration
	// targets is how many targets the one page is about; 0 stands for 1.
	targets int
	// meanwhile is called repeatedly until the page is resolved; may be nil.
	meanwhile func()

	paged, repaired, resolved bool
	since                     time.Time // of the page; after the repair: of the repair
}

// TestAlerting runs agents, Prometheus and Alertmanager with the rules as they are shipped. It lets
// an hour of the rules pass in which nothing happens. Then everything happens at once. Each
// emergency must be paged once, with its reason, and resolved after its repair. A consequence of
// another emergency is not paged. At the end every query of every dashboard has data.
//
// No other test of the package runs at the same time: a minute of the rules is a second, so delays
// matter.
func TestAlerting(t *testing.T) {
	serving := func(id string, p plan) (a *agent, file string) {
		t.Helper()
		file = p.file(t)
		return serve(t, lab.Command{Name: "pingreq serve", Path: program, Args: []string{"serve", "--agent.id=" + id, "--config.file=" + file,
			fmt.Sprintf("--web.listen-address=127.0.0.1:%d", lab.Port(t))}}), file
	}
	var emergencies []*emergency
	var p plan
	p.profiles = []string{"{name: default, keepalive: 10s, ping: {after: 0.1, timeout: 2s}}", "{name: quick, keepalive: 1s}", "{name: resuming, tls: {resumption: true}}"}
	target := func(name, url, more string) {
		env := name
		if name == "frozen" {
			env = development
		}
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, labels: {env: %s}, connect_rate: 100, %s}", name, url, env, more))
	}
	// All brokers are on one host. So that each is a group of its own, each is an environment of its own.
	byTarget := func(name string) map[string]string { return map[string]string{"env": name} }

	killed, frozen := lab.StartMosquitto(t, lab.MosquittoOptions{}), lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1"}})
	target("killed", killed.URL, "")
	target("frozen", frozen.URL, "sys: {enabled: true}")
	const everySecond = "{name: connect, kind: connect, interval: 1s, timeout: 800ms}"
	p.probes = append(p.probes, "{name: connect, kind: connect, interval: 1s, timeout: 800ms, targets: [killed, frozen, zombie, expiring, crowd, late]}",
		"{name: hold, kind: session, targets: [killed, frozen], session: {backoff_max: 2s}}")
	slow := func(away int) []string {
		return []string{"{name: takeover, kind: takeover, targets: [killed], interval: 5m, takeover: {close_timeout: " + fmt.Sprint(away) + "s}}",
			"{name: resume, kind: resume, targets: [killed], interval: 5m, resume: {away: " + fmt.Sprint(away) + "s}}"}
	}
	slowAt := len(p.probes)
	p.probes = append(p.probes, slow(2)...)
	dead := &emergency{name: "broker killed", group: byTarget("killed"), alert: "MQTTBrokerUnreachable", says: "Diagnosis: port_closed", strike: killed.Kill, repair: killed.Restart, lasts: 5 * time.Second}
	emergencies = append(emergencies, dead,
		&emergency{name: "broker frozen", group: byTarget(development), alert: "MQTTBrokerUnreachable", says: "connack_timeout", strike: frozen.Suspend, repair: frozen.Resume})

	zombie := newMoody(t, lab.Responder{}.Serve, lab.Zombie())
	target("zombie", zombie.URL(), "")
	p.probes = append(p.probes, "{name: echo, kind: session, targets: [zombie], session: {backoff_min: 1s, echo: {interval: 2s, ack_timeout: 900ms}}}")
	emergencies = append(emergencies, &emergency{name: "zombie", group: byTarget("zombie"), alert: "MQTTZombieSessions", says: "ack", strike: zombie.sicken, repair: zombie.heal})

	open := newMoody(t, lab.Responder{Connack: []byte{0x20, 3, 0, 0x87, 0}}.Serve, lab.Responder{}.Serve)
	target("open", open.URL(), "")
	p.probes = append(p.probes, "{name: anonymous, kind: refuse, targets: [open], interval: 1s, timeout: 800ms, refuse: {anonymous: true, expect: not_authorized}}")
	emergencies = append(emergencies, &emergency{name: "forbidden access granted", group: byTarget("open"), alert: "MQTTForbiddenAccessGranted", says: "anonymous", strike: open.sicken, repair: open.heal})

	ca := lab.NewCA(t)
	certificate := ca.Server(t, lab.Names("127.0.0.1"), lab.NotAfter(time.Now().Add(20*24*time.Hour)), lab.Issued(time.Now().AddDate(0, 0, -70)))
	expiring := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, Certificate: certificate})
	target("expiring", expiring.TLS, trust(ca))
	p.probes = append(p.probes, "{name: resuming, kind: connect, targets: [expiring], profiles: [resuming], interval: 2s, timeout: 2s}")
	present := func(left time.Duration) func() {
		return func() {
			next := ca.Server(t, lab.Names("127.0.0.1"), lab.NotAfter(time.Now().Add(left)), lab.Issued(time.Now().AddDate(0, 0, -89)))
			for from, to := range map[string]string{next.CertFile: certificate.CertFile, next.KeyFile: certificate.KeyFile} {
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
			expiring.Signal(syscall.SIGHUP)
		}
	}
	emergencies = append(emergencies, &emergency{name: "certificate near its end", group: byTarget("expiring"), alert: "MQTTServerCertificateExpiresSoon", says: "expires in 1d",
		strike: present(2 * 24 * time.Hour), repair: present(90 * 24 * time.Hour)})

	crowd := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"alice": "secret"}, Config: []string{"sys_interval 1", "log_dest topic"}})
	target("crowd", crowd.URL, fmt.Sprintf("username: alice, password_file: %q, sys: {enabled: true}", writeFile(t, "password", "secret")))
	emergencies = append(emergencies, &emergency{name: "real clients leave", group: byTarget("crowd"), alert: "MQTTClientDisconnectSpike", says: "peer_closed", repair: func() {}, strike: func() {
		for i := range 60 {
			connect(t, crowd.URL, fmt.Sprint("device-", i), true, "alice", "secret").conn.Close()
		}
	}})

	var grace atomic.Int64
	grace.Store(3)
	late := lab.StartBroker(t, lab.BrokerOptions{GraceOf: func(_ string, k time.Duration) time.Duration { return k * time.Duration(grace.Load()) / 2 }})
	target("late", late.URL(), "")
	// Each reload changes a setting, so the probe runs at once and the test need not wait for an
	// interval.
	halfopen := func(n int) string {
		return fmt.Sprintf("{name: halfopen, kind: halfopen, targets: [late], profiles: [quick], interval: 5m, halfopen: {mode: silent, late: 3s, downstream_interval: %dms}}", 1000+n)
	}
	p.probes = append(p.probes, halfopen(0))
	last, runs := len(p.probes)-1, 0
	var a *agent
	var file string
	again := func() {
		if n := int(a.scrape().sum("mqtt_probe_runs_total{target=late,kind=halfopen}")); n > runs {
			runs = n
			p.probes[last] = halfopen(runs)
			replace(t, file, p.yaml())
			a.mustReload()
		}
	}
	emergencies = append(emergencies, &emergency{name: "half-open noticed late", group: byTarget("late"), alert: "MQTTHalfOpenDetectedLate", says: "notices dead devices late", strike: func() { grace.Store(9) }, meanwhile: again,
		repair: func() { grace.Store(3) }})

	// The slow probes run in the middle of the outage. Until their next run, hours of the rules later,
	// they fail, and must page nobody.
	ran := false
	dead.meanwhile = func() {
		if dead.paged && !ran {
			ran = true
			copy(p.probes[slowAt:], slow(3))
			replace(t, file, p.yaml())
			a.mustReload()
			a.until(atLeast(1, "mqtt_probe_runs_total{target=killed,kind=takeover,outcome=failure}", "mqtt_probe_runs_total{target=killed,kind=resume,outcome=failure}"))
		}
	}

	// Nothing happens to these targets. They give every panel something to show: brokers that
	// publish more about themselves than Mosquitto, a path with an idle limit, and a keepalive that
	// is longer than any idle time that survived.
	emqx, flashmq := lab.StartBroker(t, lab.BrokerOptions{}), lab.StartBroker(t, lab.BrokerOptions{})
	eachSecond(t, func(int) { publishDocumented(t, emqx, "emqx5"); publishDocumented(t, flashmq, "flashmq") })
	target("emqx", emqx.URL(), "sys: {enabled: true, values: 5}")
	target("flashmq", flashmq.URL(), "sys: {enabled: true}")
	target("balanced", lab.StartBalancer(t, lab.BalancerOptions{Server: hostOf(t, expiring.URL), ClientTimeout: 3 * time.Second, ServerTimeout: 3 * time.Second}).URL, "")
	p.probes = append(p.probes, "{name: idle, kind: idle, targets: [balanced, late], profiles: [quick], idle: {ladder: [1s, 2s, 5s]}}",
		"{name: hold-late, kind: session, targets: [late]}")

	// One broker behind many targets is one page.
	shared := lab.StartMosquitto(t, lab.MosquittoOptions{})
	var tenants plan
	for i := range 82 {
		tenants.targets = append(tenants.targets, fmt.Sprintf("{name: tenant-%d, url: %q, labels: {env: shared}, connect_rate: 100}", i, shared.URL))
	}
	tenants.probes = []string{"{name: connect, kind: connect, interval: 2s, timeout: 1500ms}"}
	fleet, _ := serving("fleet", tenants)
	emergencies = append(emergencies, &emergency{name: "broker of 82 targets killed", group: byTarget("shared"), alert: "MQTTBrokerUnreachable", says: "connection_refused", strike: shared.Kill, repair: shared.Restart,
		targets: 82, lasts: 10 * time.Second})

	// The host of both targets of an agent loses its power. Nobody can tell that from a dead network.
	dark := lab.NewNamespace(t)
	var only plan
	for _, name := range []string{"plain", "second"} {
		only.targets = append(only.targets, fmt.Sprintf("{name: %s, url: %q, labels: {env: dark}}", name, lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: dark}).URL))
	}
	only.probes = []string{everySecond}
	single, _ := serving("single", only)
	emergencies = append(emergencies, &emergency{name: "host dark, with one agent", group: byTarget("dark"), alert: "MQTTBrokerUnreachable", says: "It is the broker's host or the agent's network: all 2 targets of the agent are on this one host",
		targets: 2, lasts: 5 * time.Second, strike: dark.LinkDown, repair: dark.LinkUp})

	// One agent dies. Its broker stays up: the agent may be back before another one is repaired, and
	// would rightly report that. Another agent is cut off from everything that it watches.
	lonely := lab.StartMosquitto(t, lab.MosquittoOptions{})
	fallen, _ := serving("fallen", plan{targets: []string{fmt.Sprintf("{name: lonely, url: %q}", lonely.WS)}, probes: []string{everySecond}})
	far := []*lab.Namespace{lab.NewNamespace(t), lab.NewNamespace(t)} // a single host would say nothing about the agent
	var beyond plan
	for i, ns := range far {
		b := lab.StartMosquitto(t, lab.MosquittoOptions{Namespace: ns})
		beyond.targets = append(beyond.targets, fmt.Sprintf("{name: beyond-%d, url: %q}", i, b.URL))
	}
	beyond.probes = []string{everySecond}
	cutOff, _ := serving("cut", beyond)
	emergencies = append(emergencies,
		&emergency{name: "agent killed", group: map[string]string{"agent": "fallen"}, alert: "PingreqAgentDown", says: "lonely", strike: fallen.Kill, repair: fallen.Restart},
		&emergency{name: "agent cut off", group: map[string]string{"agent": "cut"}, alert: "PingreqAgentUplinkDead", says: "network_", strike: func() { far[0].LinkDown(); far[1].LinkDown() }, repair: func() { far[0].LinkUp(); far[1].LinkUp() }})

	healthy, healthyFile := serving("healthy", allIsWell(t))
	good, err := os.ReadFile(healthyFile)
	if err != nil {
		t.Fatal(err)
	}
	emergencies = append(emergencies, &emergency{name: "bad configuration", group: map[string]string{"agent": "healthy"}, alert: "PingreqConfigReloadFailed", says: "config check",
		strike: func() { replace(t, healthyFile, "targets: none\n") }, repair: func() { replace(t, healthyFile, string(good)) }})

	a, file = serving("main", p)
	s := newAlertStage(t, addressOf(a), addressOf(fallen), addressOf(cutOff), addressOf(healthy), addressOf(fleet), addressOf(single))
	s.roll = healthy.Restart
	start := time.Now()
	s.calm()
	for _, x := range emergencies {
		t.Log(x.name)
		x.strike()
	}
	worst := s.play(emergencies)
	s.judge(emergencies)
	s.dashboards(start, worst)
}

// allIsWell returns a plan for a healthy broker of each kind, with probes of every kind that reach
// a result within minutes.
func allIsWell(t *testing.T) plan {
	t.Helper()
	mosquitto, nats, rabbit, jabber := lab.StartMosquitto(t, lab.MosquittoOptions{Config: []string{"sys_interval 1", "log_dest topic"}}),
		lab.StartNATS(t, lab.NATSOptions{}), lab.StartRabbitMQ(t), lab.StartEjabberd(t)
	login := fmt.Sprintf("username: %q, password_file: %q,", jabber.Username, writeFile(t, "password", jabber.Password))
	p := plan{profiles: []string{`{name: default, protocol: "3.1.1", keepalive: 5s}`}}
	for name, b := range map[string][2]string{"mosquitto": {mosquitto.URL}, "nats": {nats.URL}, "rabbitmq": {rabbit.URL}, "ejabberd": {jabber.URL, login}} {
		p.targets = append(p.targets, fmt.Sprintf("{name: %s, url: %q, %s sys: {enabled: true}}", name, b[0], b[1]))
	}
	p.probes = []string{
		"{name: connect, kind: connect, interval: 2s, timeout: 2s}",
		"{name: hold, kind: session, session: {sessions: 2}}",
		"{name: echo, kind: session, session: {echo: {interval: 4s, ack_timeout: 1900ms}}}",
		"{name: roundtrip, kind: roundtrip, interval: 5s, timeout: 5s, roundtrip: {qos: [0, 1], delivery_timeout: 4s}}",
		"{name: halfopen, kind: halfopen, interval: 5m}",
		"{name: takeover, kind: takeover, interval: 5m}",
		"{name: resume, kind: resume, interval: 5m, resume: {ordered: false}}",
	}
	return p
}

// publishDocumented publishes under $SYS what the broker's documentation lists, as a broker that is
// well: with event loops in time, and without the numbers that stand for clients' events.
func publishDocumented(t *testing.T, b *lab.Broker, dialect string) {
	text, err := os.ReadFile("../collector/sys/testdata/documented/" + dialect + ".tsv")
	if err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(string(text)) {
		topic, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		switch {
		case strings.Contains(topic, "/clients/") && (strings.HasSuffix(topic, "connected") || strings.HasSuffix(topic, "subscribed")):
			continue
		case strings.Contains(topic, "/drift/"):
			payload = "3"
		}
		b.Publish(topic, payload, false)
	}
}

func addressOf(a *agent) string { return strings.TrimPrefix(a.url, "http://") }

// moody is a scripted broker that can be switched between two scripts.
type moody struct {
	*lab.ScriptedBroker
	t    *testing.T
	sick atomic.Bool

	mu    sync.Mutex
	conns []*lab.Conn
}

func newMoody(t *testing.T, well, sick lab.Script) *moody {
	t.Helper()
	m := &moody{t: t}
	m.ScriptedBroker = lab.StartScriptedBroker(t, func(c *lab.Conn) error {
		m.mu.Lock()
		m.conns = append(m.conns, c)
		m.mu.Unlock()
		if m.sick.Load() {
			return sick(c)
		}
		return well(c)
	}, lab.ScriptedBrokerOptions{})
	return m
}

// sicken switches to the sick script and closes the open connections.
func (m *moody) sicken() { m.turn(true) }

// heal switches back to the healthy script.
func (m *moody) heal() { m.turn(false) }

func (m *moody) turn(sick bool) {
	m.sick.Store(sick)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		_ = c.Close() // most have ended
	}
	m.conns = nil
}
