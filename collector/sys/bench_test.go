package sys

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
)

// BenchmarkHandle handles, one after the other, the messages of the whole tree that Mosquitto 2.1
// publishes if every value changes at every interval. "core%" is the part of one core that 200
// targets use if each publishes that tree once per second.
func BenchmarkHandle(b *testing.B) {
	const targets = 200
	for _, dialect := range []string{dialects.Auto, dialects.Mosquitto} {
		b.Run(dialect, func(b *testing.B) {
			all := messages(b, "documented/mosquitto.tsv")
			var fleet []*Broker
			f := newTestFleet(b, false)
			for i := range targets {
				x := subscribed(b, f, fmt.Sprintf("broker-%03d", i), Options{Dialect: dialect})
				for _, m := range all {
					x.Handle(m.topic, m.payload, true, time.Now())
				}
				fleet = append(fleet, x)
			}
			at := time.Now()
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				m := &all[i%len(all)]
				fleet[i/len(all)%targets].Handle(m.topic, m.payload, false, at)
				i++
				if i%(len(all)*targets) == 0 {
					at = at.Add(time.Second)
				}
			}
			perMessage := float64(b.Elapsed()) / float64(b.N)
			b.ReportMetric(perMessage*float64(len(all)*targets)/float64(time.Second)*100, "core%")
		})
	}
}

// BenchmarkEvents handles client events. Each client has a topic of its own, and none is kept.
func BenchmarkEvents(b *testing.B) {
	x := subscribed(b, newTestFleet(b, false), "plant", Options{Dialect: "emqx"})
	topics := make([]string, 1000)
	for i := range topics {
		topics[i] = "$SYS/brokers/emqx@10.0.0.1/clients/pump-" + strconv.Itoa(i) + "/disconnected"
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		x.Handle(topics[i%len(topics)], nil, false, time.Time{})
		i++
	}
}

// BenchmarkFlood handles topics after the room for topics is used up.
func BenchmarkFlood(b *testing.B) {
	for _, dialect := range []string{dialects.Auto, dialects.Mosquitto} {
		b.Run(dialect, func(b *testing.B) {
			x := subscribed(b, newTestFleet(b, false), "plant", Options{Dialect: dialect})
			topics := make([]string, 10_000)
			for i := range topics {
				topics[i] = "$SYS/broker/junk/" + strconv.Itoa(i)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				x.Handle(topics[i%len(topics)], []byte("1"), false, time.Time{})
				i++
			}
		})
	}
}

// BenchmarkGather gathers 200 targets that publish Mosquitto's tree.
func BenchmarkGather(b *testing.B) {
	f := newTestFleet(b, false)
	for i := range 200 {
		x := subscribed(b, f, fmt.Sprintf("broker-%03d", i), Options{})
		for _, m := range messages(b, "documented/mosquitto.tsv") {
			x.Handle(m.topic, m.payload, false, time.Now())
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
