package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

func tableResults() []result {
	of := func(probe string, r synthetic.Report) result {
		return result{synthetic.Identity{Target: "plant-of-the-north.example", Kind: probe, Probe: probe, Profile: "default"}, r}
	}
	refused := &disconnect.Ending{Reason: disconnect.NotAuthorized, Initiator: disconnect.ByServer, Evidence: disconnect.FromConnack, Phase: disconnect.PhaseMQTT, Code: 0x87}
	return []result{
		of("connect", synthetic.Report{Outcome: synthetic.Success, Connected: true, Elapsed: 1234567 * time.Nanosecond, Detail: "connected after 1.23ms",
			Phases: []mqtt.PhaseTime{{Phase: disconnect.PhaseTCP, Duration: 234567 * time.Nanosecond}, {Phase: disconnect.PhaseMQTT, Duration: time.Millisecond}},
			Facts:  []synthetic.Fact{{Name: "remote", Value: "127.0.0.1:1883"}, {Name: "end", Value: "client_disconnect (client, disconnect_packet): our DISCONNECT 0x00 Normal disconnection"}}}),
		of("takeover", synthetic.Report{Outcome: synthetic.Failure, Ending: refused, Elapsed: 7919 * time.Millisecond, Detail: "the first client: CONNACK 0x87 Not authorized"}),
	}
}

// TestTable prints the table for terminals of several widths.
func TestTable(t *testing.T) {
	for _, tt := range []struct {
		width, first int
		want         string
	}{
		{80, 1, `PROBE     OUTCOME                 TIME    DETAIL
connect   success                 1.23ms  connected after 1.23ms
    phases: tcp 235µs, mqtt 1ms, total 1.23ms
    remote: 127.0.0.1:1883
    end: client_disconnect (client, disconnect_packet): our DISCONNECT 0x00
      Normal disconnection
takeover  failure not_authorized  7.92s   the first client: CONNACK 0x87 Not
                                          authorized
    initiator: server, evidence: connack
`},
		{80, 0, `TARGET                      PROBE     OUTCOME                 TIME
plant-of-the-north.example  connect   success                 1.23ms
    connected after 1.23ms
    phases: tcp 235µs, mqtt 1ms, total 1.23ms
    remote: 127.0.0.1:1883
    end: client_disconnect (client, disconnect_packet): our DISCONNECT 0x00
      Normal disconnection
plant-of-the-north.example  takeover  failure not_authorized  7.92s
    the first client: CONNACK 0x87 Not authorized
    initiator: server, evidence: connack
`},
	} {
		var out bytes.Buffer
		table := &probeTable{w: &out, width: tt.width, first: tt.first}
		table.rows(tableResults())
		if diff := cmp.Diff(tt.want, out.String()); diff != "" {
			t.Errorf("width %d (-want +got):\n%s", tt.width, diff)
		}
	}
}

// TestTableBreaksNoWord prints the table ever narrower. No line is longer than the terminal, where a word
// would break, unless it is the columns themselves or a single word.
func TestTableBreaksNoWord(t *testing.T) {
	for width := 200; width >= 45; width-- {
		var out bytes.Buffer
		(&probeTable{w: &out, width: width, first: 1}).rows(tableResults())
		for line := range strings.SplitSeq(out.String(), "\n") {
			if utf8.RuneCountInString(line) > width && len(strings.Fields(line)) > 1 {
				t.Fatalf("width %d: %q", width, line)
			}
		}
	}
}

func TestTotals(t *testing.T) {
	all := append(tableResults(), result{Report: synthetic.Report{Outcome: synthetic.Inconclusive}}, result{Report: synthetic.Report{Outcome: synthetic.Unsupported}})
	for want, results := range map[string][]result{
		"1 probe: 1 succeeded, in 12.3 s":                                                           all[:1],
		"2 probes: 1 succeeded, 1 failed, in 12.3 s":                                                all[:2],
		"4 probes: 1 succeeded, 1 failed, 1 inconclusive, 1 not supported by the broker, in 12.3 s": all,
	} {
		if got := totals(results, 12345*time.Millisecond); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
