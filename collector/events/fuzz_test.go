package events

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// fuzz feeds two messages at a time, because some dialects remember earlier messages.
func fuzz(f *testing.F, dialect string) {
	d, ok := Named(dialect)
	if !ok {
		f.Fatalf("no dialect %q", dialect)
	}
	for _, path := range files(f, dialect) {
		_, all := transcripts(f, path)
		for _, tr := range all {
			var before mqtt.Message
			for m := range tr.messages {
				f.Add(before.Topic, before.Payload, m.Topic, m.Payload, int64(time.Second))
				before = *m
			}
		}
	}
	f.Fuzz(func(t *testing.T, topic1 string, payload1 []byte, topic2 string, payload2 []byte, pause int64) {
		p := d.NewParser(own)
		at := epoch
		for _, m := range []*mqtt.Message{{Topic: topic1, Payload: payload1}, {Topic: topic2, Payload: payload2}} {
			e, ok, err := p.Parse(m, at)
			switch {
			case err != nil && (ok || !errors.Is(err, ErrUnparsed)):
				t.Errorf("%q %q: %v, %v", m.Topic, m.Payload, ok, err)
			case err == nil && !ok && e != Event{}:
				t.Errorf("%q %q: %v is no event", m.Topic, m.Payload, e)
			case ok && !slices.Contains(d.Outcomes, e.outcome()):
				t.Errorf("%q %q: %v is not among the outcomes", m.Topic, m.Payload, e.outcome())
			}
			at = at.Add(time.Duration(max(pause, 0)))
		}
	})
}

func FuzzAedes(f *testing.F)     { fuzz(f, "aedes") }
func FuzzAWS(f *testing.F)       { fuzz(f, "aws") }
func FuzzEMQX(f *testing.F)      { fuzz(f, "emqx") }
func FuzzMosquitto(f *testing.F) { fuzz(f, "mosquitto") }
func FuzzNanoMQ(f *testing.F)    { fuzz(f, "nanomq") }
