package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/pingreq/pingreq/internal/diagnosis"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// fleet is a set of targets with what their probes found, for the pages to show.
type fleet struct {
	agent     status.Agent
	targets   []synthetic.Target
	diagnoses *diagnosis.Board
	history   *history.Board
}

func newFleet() *fleet {
	return &fleet{
		agent:     status.Agent{ID: "fra-1", Version: "1.2.3", Start: time.Now(), Config: status.Config{File: "/etc/pingreq/pingreq.yaml", Loaded: time.Now(), Successful: true}},
		diagnoses: diagnosis.NewBoard(diagnosis.Sources{}), history: history.NewBoard(0)}
}

func (f *fleet) view() *status.View {
	return status.NewView(status.Sources{Version: f.agent.Version, Agent: func(time.Time) status.Agent { return f.agent },
		Targets: func() []synthetic.Target { return f.targets }, Diagnoses: f.diagnoses, History: f.history})
}

func (f *fleet) options() Options {
	o := testOptions()
	o.View = f.view()
	return o
}

// add adds a target, and returns functions that report a run and an event of one of its probes.
func (f *fleet) add(name string, labels map[string]string, kinds ...string) (report func(kind string, r synthetic.Report), event func(kind string, e synthetic.Event)) {
	t := synthetic.Target{Name: name, URL: "mqtts://" + name + ".example:8883", Labels: labels}
	f.targets = append(f.targets, t)
	ids := map[string]synthetic.Identity{}
	for _, name := range kinds {
		k, ok := probe.Catalog().Kind(name)
		if !ok {
			panic("no kind " + name)
		}
		e := &synthetic.Entry{ID: synthetic.Identity{Target: t.Name, Kind: name, Probe: name, Profile: "default"}, Kind: k, Target: t,
			Profile: synthetic.DefaultProfile(), Options: k.Options(), Schedule: k.Schedule}
		ids[name] = e.ID
		f.diagnoses.Add(e)
		f.history.Add(e)
	}
	report = func(kind string, r synthetic.Report) {
		r.Start = time.Now().Add(-r.Elapsed)
		f.diagnoses.Report(ids[kind], r)
		f.history.Report(ids[kind], r)
	}
	event = func(kind string, e synthetic.Event) {
		e.Time = time.Now()
		f.diagnoses.Event(ids[kind], e)
		f.history.Event(ids[kind], e)
	}
	return report, event
}

// connected is a run that succeeded.
func connected(took time.Duration) synthetic.Report {
	r := synthetic.Report{Outcome: synthetic.Success, Elapsed: took + time.Millisecond, Connected: true, Detail: fmt.Sprintf("connected after %s", took),
		Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseTCP, Duration: took / 5}, {Phase: disconnect.PhaseTLS, Duration: took / 2}, {Phase: disconnect.PhaseMQTT, Duration: took - took/5 - took/2}},
		TLS:    certificate(90 * 24 * time.Hour)}
	r.AddFact("remote", "192.0.2.7:8883")
	r.AddDuration("keepalive", 30*time.Second, "30s")
	return r
}

// certificate is what a handshake says of a certificate that ends soon.
func certificate(left time.Duration) *mqtt.TLSFacts {
	end := time.Now().Add(left)
	return &mqtt.TLSFacts{Version: "TLS 1.3", EarliestExpiry: end, SentExpiry: end, Lifetime: 365 * 24 * time.Hour}
}

// refused is a run that failed.
func refused(detail string) synthetic.Report {
	return synthetic.Report{Outcome: synthetic.Failure, Elapsed: 700 * time.Microsecond, Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseTCP, Duration: 600 * time.Microsecond}},
		Ending: &disconnect.Ending{Reason: disconnect.ConnectionRefused, Initiator: disconnect.ByServer, Evidence: disconnect.FromErrno, Phase: disconnect.PhaseTCP, Code: -1, Detail: detail}}
}

// ended is the end of a session.
func ended() synthetic.Report {
	return synthetic.Report{Outcome: synthetic.Failure, Elapsed: 20 * time.Second, Detail: "FIN 3 s after our PINGREQ",
		Ending: &disconnect.Ending{Reason: disconnect.PeerClosed, Initiator: disconnect.ByUnknown, Evidence: disconnect.FromFIN, Phase: disconnect.PhaseEstablished, Code: -1}}
}

func accepted() synthetic.Event {
	return synthetic.Event{Name: "connected", Outcome: synthetic.Success, Notable: true, Detail: "connected to 192.0.2.7:8883", Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseMQTT, Duration: time.Millisecond}}}
}

// exampleFleet has targets in every state, an hour after the start.
func exampleFleet() *fleet {
	f := newFleet()
	prod := func(site string) map[string]string { return map[string]string{"site": site, "env": "prod"} }
	_, _ = f.add("new", prod("fra"), "idle")
	good, held := f.add("plant", prod("fra"), "connect", "session")
	gone, _ := f.add("gone", prod("sfo"), "connect", "roundtrip")
	flaps, flapping := f.add("flaps", map[string]string{"env": "dev"}, "session")
	ends, _ := f.add("ends", nil, "connect")
	dark, _ := f.add("dark", prod("sfo"), "connect")
	zombie, swallows := f.add("zombie", prod("fra"), "session")
	held("session", accepted())
	swallows("session", accepted())
	for i := range 240 {
		good("connect", connected(time.Duration(3000+i*7%400)*time.Microsecond))
		soon := connected(2 * time.Millisecond)
		soon.TLS = certificate(20 * time.Hour)
		ends("connect", soon)
		if i < 200 {
			gone("connect", connected(5*time.Millisecond))
			gone("roundtrip", connected(5*time.Millisecond))
			dark("connect", connected(4*time.Millisecond))
		} else {
			gone("connect", refused("connect: connection refused"))
			gone("roundtrip", refused("connect: connection refused"))
			dark("connect", synthetic.Report{Outcome: synthetic.Inconclusive, Detail: "open /etc/pingreq/dark.password: no such file or directory", Unready: true})
		}
		if i%12 == 0 && i < 144 {
			flaps("session", ended())
			flapping("session", accepted())
		}
		if i%4 == 0 {
			held("session", synthetic.Event{Name: "pong", Outcome: synthetic.Success})
			flapping("session", synthetic.Event{Name: "pong", Outcome: synthetic.Success})
			swallows("session", synthetic.Event{Name: "round", Outcome: synthetic.Success})
		}
		time.Sleep(15 * time.Second)
	}
	swallows("session", synthetic.Event{Name: "zombie", Outcome: synthetic.Failure, Finding: disconnect.Zombie, Notable: true, Detail: "pings are answered, and 8 PUBLISH have no PUBACK"})
	time.Sleep(time.Second)
	zombie("session", synthetic.Report{Outcome: synthetic.Failure, Finding: disconnect.Zombie, Elapsed: 40 * time.Minute, Detail: "a zombie for 8 s"})
	swallows("session", accepted())
	time.Sleep(8 * time.Second)
	return f
}

// bigFleet has many targets with the default suite, of which a few are down.
func bigFleet(t testing.TB, targets int) *fleet {
	t.Helper()
	f := newFleet()
	kinds := []string{"connect", "session", "roundtrip", "halfopen", "takeover", "resume", "idle"}
	for i := range targets {
		report, event := f.add(fmt.Sprintf("broker-%03d", i), map[string]string{"site": []string{"fra", "sfo", "sin"}[i%3], "env": "prod"}, kinds...)
		event("session", accepted())
		for j := range 60 {
			for _, k := range kinds {
				if k == "session" {
					continue
				}
				r := connected(time.Duration(2000+i+j) * time.Microsecond)
				if i%100 == 7 && j > 50 {
					r = refused("connect: connection refused")
				}
				report(k, r)
			}
		}
	}
	return f
}
