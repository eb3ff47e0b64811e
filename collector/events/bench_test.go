package events

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// BenchmarkParse parses the transcripts of each dialect.
func BenchmarkParse(b *testing.B) {
	for _, path := range files(b, "") {
		b.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(b *testing.B) {
			_, all := transcripts(b, path)
			var messages []*mqtt.Message
			var bytes int
			for _, tr := range all {
				for m := range tr.messages {
					messages = append(messages, m)
					bytes += len(m.Payload)
				}
			}
			p := dialectOf(b, path).NewParser(own)
			b.ReportAllocs()
			b.SetBytes(int64(bytes / len(messages)))
			for i := 0; b.Loop(); i++ {
				p.Parse(messages[i%len(messages)], epoch)
			}
		})
	}
}

// BenchmarkMessage counts the events of a client that connects and disconnects.
func BenchmarkMessage(b *testing.B) {
	plant := mustAdd(b, New(), "plant", "mosquitto", Options{Own: own})
	lines := []*mqtt.Message{
		{Topic: "$SYS/broker/log/N", Payload: []byte("1795268590: New connection from 127.0.0.1:59986 on port 1883.")},
		{Topic: "$SYS/broker/log/N", Payload: []byte("1795268590: New client connected from 127.0.0.1:59986 as dev (p2, c1, k30, u'alice').")},
		{Topic: "$SYS/broker/log/N", Payload: []byte("1795268590: Client dev closed its connection.")},
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		plant.Handle(lines[i%len(lines)], epoch)
	}
}
