package events

import (
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// TestForgedOwn has devices whose identifiers and user names look like a client of ours in the text
// that a broker publishes. None of their events may count as ours, and each of ours must.
func TestForgedOwn(t *testing.T) {
	const ours, addr, log = "pingreq-0123456789abcde", "192.0.2.1:5001", mosquittoPrefix + "N"
	own := func(id string) bool { return id == ours }
	type line struct {
		topic, text string
		own         bool
	}
	for name, c := range map[string]struct {
		dialect string
		lines   []line
	}{
		"ours, 2.1.1": {"mosquitto", []line{
			{log, "1: New client connected from " + addr + " as " + ours + " (p2, c1, k60, u'monitor').", true},
			{log, "2: Client " + ours + " [" + addr + "] disconnected: connection closed by client.", true},
		}},
		"ours, 2.0": {"mosquitto", []line{
			{log, "1: New client connected from " + addr + " as " + ours + " (p5, c1, k60).", true},
			{log, "2: Client " + ours + " closed its connection.", true},
		}},
		"ours, 1.4":          {"mosquitto", []line{{log, "1: New client connected from 192.0.2.1 as " + ours + " (c1, k60, u'monitor').", true}}},
		"ours, since before": {"mosquitto", []line{{log, "2: Client " + ours + " [" + addr + "] disconnected: exceeded timeout.", true}}},
		"a user name with the parameters": {"mosquitto", []line{
			{log, "1: New client connected from 198.51.100.7:99 as device (p2, c1, k60, u'x (p2, c1, k60, u'" + ours + "').", false},
			{log, "1: New client connected from 198.51.100.7:99 as " + ours + " (p2, c1, k60, u'x') (p2, c1, k60, u'y').", false},
			{log, "1: New client connected from 198.51.100.7:99 as " + ours + " (p2, c1, k60 (p2, c1, k60, u'y').", false},
			{log, "1: New client connected from 198.51.100.7:99 as " + ours + " (p2, c1, k60, u' (p2, c1, k60).", false},
			{log, "1: New client connected from 198.51.100.7:99 as " + ours + " (p2, c1, k60). (p2, c1, k60, u'y').", false},
		}},
		"an identifier with other words": {"mosquitto", []line{
			{log, "2: Client " + ours + " closed its connection. closed its connection.", false},
			{log, "2: Client " + ours + " disconnected: exceeded timeout. closed its connection.", false},
			{log, "2: Client x as " + ours + " closed its connection.", false},
		}},
		"an identifier with an address": {"mosquitto", []line{
			{log, "1: New client connected from " + addr + " as " + ours + " (p5, c1, k60).", true},
			{log, "1: New client connected from 198.51.100.7:99 as " + ours + " [198.51.100.7:98] (p5, c1, k60).", false},
			{log, "2: Client " + ours + " [198.51.100.7:98] closed its connection.", false},
			{log, "2: Client " + ours + " [198.51.100.7:98] disconnected: exceeded timeout.", false},
		}},
		"the same shape": {"mosquitto", []line{{log, "2: Client pingreq-fedcba987654321 closed its connection.", false}}},
		"nanomq without a topic of its own": {"nanomq", []line{
			{"$SYS/brokers/disconnected", `{"username":"u", "ts":1, "reason_code":"8b", "client_id":"` + ours + `"}`, true},
			{"$SYS/brokers/disconnected", `{"username":"u", "ts":1, "reason_code":"8b", "client_id":"x", "reason_code":"8b", "client_id":"` + ours + `"}`, false},
			{"$SYS/brokers/disconnected", `{"username":"u", "reason_code":"8b", "client_id":"` + ours + `", "ts":1, "reason_code":"8b", "client_id":"x"}`, false},
		}},
		"nanomq": {"nanomq", []line{
			{"$SYS/brokers/client_status/x", `{"status":"offline", "username":"u", "reason_code":"8b", "client_id":"` + ours + `", "reason_code":"8b", "client_id":"x"}`, false},
			{"$SYS/brokers/client_status/" + ours, `{"status":"offline", "username":"u", "reason_code":"8b", "client_id":"` + ours + `"}`, true},
		}},
		"emqx": {"emqx", []line{
			{"$SYS/brokers/emqx@a/clients/" + ours + "/disconnected", `{"reason":"normal","clientid":"x","disconnected_at":1}`, true},
			{"$SYS/brokers/emqx@a/clients/x/" + ours + "/disconnected", `{"reason":"normal","clientid":"` + ours + `","disconnected_at":1}`, false},
			{"$SYS/brokers/emqx@a/clients/" + ours + "/connected/disconnected", `{"reason":"normal","clientid":"` + ours + `","disconnected_at":2}`, false},
		}},
		"aedes": {"aedes", []line{{"$SYS/a/disconnect/clients", ours, true}, {"$SYS/a/disconnect/clients", ours + " ", false}}},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := Named(c.dialect)
			if !ok {
				t.Fatal(c.dialect)
			}
			p := d.NewParser(own)
			for i, l := range c.lines {
				e, ok, err := p.Parse(&mqtt.Message{Topic: l.topic, Payload: []byte(l.text)}, epoch.Add(time.Duration(i)*time.Minute))
				if !ok || err != nil || e.Own != l.own {
					t.Errorf("%s: event %v, counts %v, error %v; ours %v, want %v", l.text, e.Kind, ok, err, e.Own, l.own)
				}
			}
		})
	}
}
