package test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/test/lab"
)

// TestSysCluster has three EMQX nodes behind one address. Each publishes to every subscriber,
// whichever node the subscriber is connected to. `nodes: own` exports one of them. `nodes: all`
// exports each by its name: the sum is that of three nodes, never of nine. The count of messages
// without a subscriber grows all the time, and they are not dropped messages.
func TestSysCluster(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../collector/sys/testdata/documented/emqx5.tsv")
	if err != nil {
		t.Fatal(err)
	}
	const documented = "emqx@10.0.0.1"
	names := []string{documented, "emqx@10.0.0.2", "emqx@10.0.0.3"}
	broker := lab.StartBroker(t, lab.BrokerOptions{})
	a := startPlan(t, plan{
		targets: []string{
			fmt.Sprintf("{name: own, url: %q, sys: {enabled: true}}", broker.URL()),
			fmt.Sprintf("{name: all, url: %q, sys: {enabled: true, nodes: all}}", broker.URL()),
		},
		probes: []string{"{name: hold, kind: session}"},
	})
	subscribing := func(target string) string { return "mqtt_broker_sys_state{state=subscribing,target=" + target + "}" }
	a.until(atLeast(1, subscribing("own"), subscribing("all")))

	// All numbers of a node are those of the document plus an offset of the node. Two of them grow.
	offset := func(node int) float64 { return float64(1000 * node) }
	eachSecond(t, func(second int) {
		broker.Publish("$SYS/brokers", strings.Join(names, ","), false)
		for i, name := range names {
			for line := range strings.Lines(string(text)) {
				topic, payload, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
				of, inNode := strings.CutPrefix(topic, "$SYS/brokers/"+documented+"/")
				if !inNode {
					continue
				}
				if n, err := strconv.ParseFloat(payload, 64); err == nil {
					n += offset(i)
					if of == "metrics/messages/dropped" || of == "metrics/messages/dropped/no_subscribers" {
						n += float64(second)
					}
					payload = fmt.Sprintf("%.0f", n)
				}
				broker.Publish("$SYS/brokers/"+name+"/"+of, payload, false)
			}
		}
	})

	const connected, dropped, unsubscribed = "mqtt_broker_clients_connected", "mqtt_broker_messages_dropped_total", "mqtt_broker_messages_without_subscriber_total"
	const nobody = 1140 // messages without subscriber, as documented
	m := a.until(all(
		atLeast(1, "mqtt_broker_sys_state{state=fresh,target=own}", "mqtt_broker_sys_state{state=fresh,target=all}"),
		atLeast(3*nobody+offset(0)+offset(1)+offset(2)+6, unsubscribed+"{target=all}"),
		atLeast(nobody+2, unsubscribed+"{target=own}")))

	one := map[string]float64{}
	for i, name := range names {
		one[name] = 1057 + offset(i) // live connections, as documented
	}
	if diff := cmp.Diff(one, m.values("node", connected+"{target=all}")); diff != "" || len(m.series(connected+"{target=all}")) != 3 {
		t.Errorf("clients with nodes: all (-want +got):\n%s%s", diff, m.show(connected+"{target=all}"))
	}
	own := slices.Collect(maps.Keys(m.values("node", connected+"{target=own}")))
	if len(own) != 1 || !slices.Contains(names, own[0]) {
		t.Fatalf("with nodes: own, want one node:%s", m.show(connected+"{target=own}"))
	}
	for name, family := range m {
		if !strings.HasPrefix(name, "mqtt_broker_") {
			continue
		}
		for _, s := range family.GetMetric() {
			labels := labelsOf(s)
			if node, named := labels["node"]; labels["target"] == "own" && named && node != own[0] {
				t.Errorf("with nodes: own, there is another one:%s", m.show(name))
			}
		}
		// Each series of the own node also exists with `nodes: all`, and every other node has as
		// many.
		if mine, theirs := len(m.series(name+"{target=own,node="+own[0]+"}")), len(m.series(name+"{target=all}")); mine > 0 && theirs != 3*mine {
			t.Errorf("%d series of the own node, %d of all:%s", mine, theirs, m.show(name))
		}
	}
	for _, target := range []string{"own", "all"} {
		if n := m.sum("mqtt_broker_nodes{target=" + target + "}"); n != 3 {
			t.Errorf("target %s: %g nodes, want 3", target, n)
		}
	}

	// By then the messages without a subscriber have grown. Nothing else may have.
	later := a.until(all(
		atLeast(m.sum(unsubscribed+"{target=all}")+3, unsubscribed+"{target=all}"),
		atLeast(m.sum(unsubscribed+"{target=own}")+1, unsubscribed+"{target=own}")))
	for _, target := range []string{"{target=own}", "{target=all}"} {
		before, after := m.values("cause", dropped+target), later.values("cause", dropped+target)
		if diff := cmp.Diff(before, after); diff != "" || len(before) == 0 {
			t.Errorf("dropped messages with %s (-before +after):\n%s", target, diff)
		}
		for cause := range after {
			if strings.Contains(cause, "subscriber") {
				t.Errorf("messages without subscriber are called dropped:%s", later.show(dropped+target))
			}
		}
	}
}
