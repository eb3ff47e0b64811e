package events

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

var update = flag.Bool("update", false, "rewrite the expected events")

// epoch is when the first message of a transcript arrives.
var epoch = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// own reports whether a client identifier of the transcripts is ours.
func own(clientID string) bool { return strings.HasPrefix(clientID, "pingreq-") }

// transcript is a part of a file of testdata: what a broker published, and the event of each
// message.
//
//	# title
//	<topic> TAB <payload>
//	= <kind> [<reason> <initiator>] [own] [node=<node>], or = unparsed, or no such line
//	  if there is nothing to count
//	@ <time that passes before the next message>
type transcript struct {
	title string
	lines []string
}

func (tr *transcript) messages(yield func(message *mqtt.Message, at time.Time) bool) {
	at := epoch
	for _, line := range tr.lines {
		if wait, ok := strings.CutPrefix(line, "@ "); ok {
			d, err := time.ParseDuration(wait)
			if err != nil {
				panic(err)
			}
			at = at.Add(d)
		} else if topic, payload, ok := strings.Cut(line, "\t"); ok {
			if !yield(&mqtt.Message{Topic: topic, Payload: []byte(payload)}, at) {
				return
			}
		}
	}
}

// replay writes the transcript with the events that the parser returns.
func (tr *transcript) replay(p *Parser) []string {
	var out []string
	next := 0
	for m, at := range tr.messages {
		for ; !strings.Contains(tr.lines[next], "\t"); next++ {
			if !strings.HasPrefix(tr.lines[next], "= ") {
				out = append(out, tr.lines[next])
			}
		}
		out = append(out, tr.lines[next])
		next++
		switch e, ok, err := p.Parse(m, at); {
		case err != nil:
			out = append(out, "= unparsed")
		case ok:
			out = append(out, "= "+words(e))
		}
	}
	return out
}

func words(e Event) string {
	s := e.Kind.String()
	if e.Kind != Connect {
		s += fmt.Sprintf(" %s %s", e.Reason, e.Initiator)
	}
	if e.Own {
		s += " own"
	}
	if e.Node != "" {
		s += " node=" + e.Node
	}
	return s
}

// transcripts reads a file of testdata. Its name begins with the name of the dialect.
func transcripts(t testing.TB, path string) (heading string, all []*transcript) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimRight(string(text), "\n"), "\n\n") {
		lines := strings.Split(block, "\n")
		if title, ok := strings.CutPrefix(lines[0], "# "); ok {
			all = append(all, &transcript{title, lines[1:]})
		} else {
			heading = block
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no transcript", path)
	}
	return heading, all
}

// files lists the transcripts of a dialect, or of all dialects if it is empty.
func files(t testing.TB, dialect string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", dialect+"*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts of %q: %v", dialect, err)
	}
	return paths
}

func dialectOf(t testing.TB, path string) *Dialect {
	t.Helper()
	name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".txt"), "-")
	d, ok := Named(name)
	if !ok {
		t.Fatalf("%s: no dialect %q", path, name)
	}
	return d
}

// TestTranscripts replays what brokers published, and compares the events.
func TestTranscripts(t *testing.T) {
	for _, path := range files(t, "") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			d := dialectOf(t, path)
			heading, all := transcripts(t, path)
			var anew bytes.Buffer
			fmt.Fprintln(&anew, heading)
			for _, tr := range all {
				t.Run(tr.title, func(t *testing.T) {
					got := tr.replay(d.NewParser(own))
					fmt.Fprintf(&anew, "\n# %s\n%s\n", tr.title, strings.Join(got, "\n"))
					if *update {
						return
					}
					if diff := cmp.Diff(tr.lines, got); diff != "" {
						t.Errorf("%s (-want +got), go test -update rewrites it:\n%s", path, diff)
					}
				})
			}
			if *update {
				if err := os.WriteFile(path, anew.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
