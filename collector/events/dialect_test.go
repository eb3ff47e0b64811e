package events

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

func TestDialects(t *testing.T) {
	var names []string
	for _, d := range Dialects() {
		names = append(names, d.Name)
		if found, ok := Named(d.Name); !ok || found.Name != d.Name {
			t.Errorf("Named(%q) finds %v", d.Name, found)
		}
		if len(d.Filters) == 0 {
			t.Errorf("%s: no topic filters", d.Name)
		}
		for i, e := range d.Outcomes {
			if err := valid(e); err != nil {
				t.Errorf("%s: outcome %v: %v", d.Name, e, err)
			}
			if slices.Contains(d.Outcomes[:i], e) {
				t.Errorf("%s: outcome %v twice", d.Name, e)
			}
		}
		again, _ := Named(d.Name)
		if diff := cmp.Diff(d.Outcomes, again.Outcomes); diff != "" {
			t.Errorf("%s: outcomes differ from one call to the next:\n%s", d.Name, diff)
		}
	}
	if want := []string{"aedes", "aws", "emqx", "mosquitto", "nanomq"}; !slices.Equal(names, want) {
		t.Errorf("dialects %q, want %q", names, want)
	}
	if d, ok := Named("hivemq"); ok {
		t.Errorf("Named finds %v, which publishes no client events", d)
	}
}

// valid returns what is wrong with an outcome, or nil.
func valid(e Event) error {
	switch {
	case e != e.outcome():
		return errors.New("more than an outcome")
	case e.Kind == Connect && e.Reason == "" && e.Initiator == "":
		return nil
	case e.Kind != ConnectFailure && e.Kind != Disconnect:
		return errors.New("no such kind")
	case !e.Reason.Valid():
		return errors.New("no such reason")
	case !e.Initiator.Valid():
		return errors.New("no such initiator")
	}
	return nil
}

// TestFilters expects each transcript's events only on topics that the dialect subscribes to.
func TestFilters(t *testing.T) {
	dialects := Dialects()
	for _, path := range files(t, "") {
		d := dialectOf(t, path)
		_, all := transcripts(t, path)
		for _, tr := range all {
			for m, at := range tr.messages {
				for _, other := range dialects {
					_, ok, err := other.NewParser(nil).Parse(m, at)
					subscribed := slices.ContainsFunc(other.Filters, func(f string) bool { return matches(f, m.Topic) })
					if (ok || err != nil) && !subscribed {
						t.Errorf("%s: %s reads topic %q, which it does not subscribe to", path, other.Name, m.Topic)
					}
					if ok && other.Name != d.Name {
						t.Errorf("%s: %s reads topic %q as its own", path, other.Name, m.Topic)
					}
				}
			}
		}
	}
}

// matches reports whether a topic matches a filter [MQTT5-4.7].
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i := range f {
		if f[i] == "#" {
			return true
		}
		if i >= len(t) || f[i] != "+" && f[i] != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// TestRetained expects that a retained message is not counted.
func TestRetained(t *testing.T) {
	for _, path := range files(t, "") {
		_, all := transcripts(t, path)
		p := dialectOf(t, path).NewParser(nil)
		for _, tr := range all {
			for m, at := range tr.messages {
				m.Retain = true
				if e, ok, err := p.Parse(m, at); ok || err != nil {
					t.Fatalf("%s: %q is %v, %v", path, m.Topic, e, err)
				}
			}
		}
	}
}

// TestHostile sends messages that no broker sends to each topic of the transcripts.
func TestHostile(t *testing.T) {
	deep := bytes.Repeat([]byte(`{"reason":[`), 40_000)
	for _, payload := range [][]byte{
		bytes.Repeat([]byte("Client "), 150_000),                           // 1 MiB
		append([]byte(`{"reason":"`), bytes.Repeat([]byte("x"), 1<<20)...), // a string without end
		deep, // deeper than encoding/json goes
		append([]byte(`{"eventType":"connected","x":`), bytes.Repeat([]byte("["), 100_000)...),
		bytes.Repeat([]byte(" disconnected: "), 70_000),
	} {
		for _, path := range files(t, "") {
			d := dialectOf(t, path)
			_, all := transcripts(t, path)
			m := &mqtt.Message{Payload: payload}
			for was, at := range all[0].messages {
				m.Topic = was.Topic
				if e, ok, err := d.NewParser(nil).Parse(m, at); ok || !errors.Is(err, ErrUnparsed) {
					t.Errorf("%s: %d bytes %.20q are %v, %v; want ErrUnparsed", d.Name, len(payload), payload, e, err)
				}
			}
		}
	}
}

// TestRecentIsBounded remembers far more facts than there are slots.
func TestRecentIsBounded(t *testing.T) {
	r := newRecent()
	for i := range 100 * recentSlots {
		r.note(r.fact("f", string(rune(i))), epoch, time.Hour)
	}
	if n := len(r.slots); n != recentSlots {
		t.Errorf("%d slots, want %d", n, recentSlots)
	}
	fact := r.fact("f", "a", "b")
	if fact == r.fact("f", "ab") || fact == newRecent().fact("f", "a", "b") {
		t.Error("different facts, or those of two parsers, are the same")
	}
	if r.note(fact, epoch, time.Minute) {
		t.Error("a new fact is known")
	}
	if !r.note(fact, epoch.Add(time.Minute-1), time.Minute) {
		t.Error("a fact is not known again")
	}
	if r.take(fact, epoch.Add(2*time.Minute-1), time.Minute) {
		t.Error("a fact is known for longer than it should be")
	}
	r.note(fact, epoch, 0)
	if !r.take(fact, epoch, time.Minute) || r.take(fact, epoch, time.Minute) {
		t.Error("a fact is not taken, or taken twice")
	}
}
