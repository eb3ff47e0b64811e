package main

import (
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/collector"
	"github.com/pingreq/pingreq/collector/events"
	"github.com/pingreq/pingreq/collector/sys"
	"github.com/pingreq/pingreq/internal/config"
	"github.com/pingreq/pingreq/synthetic/probe"
)

// pages returns the pages about brokers by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/brokers/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	all := make(map[string]string)
	for _, f := range files {
		all[filepath.Base(f)] = read(t, f)
	}
	return all
}

func TestBrokerPagesAreUpToDate(t *testing.T) {
	for name, page := range pages(t) {
		want, err := fill([]byte(page), brokerRegion)
		if err != nil {
			t.Errorf("docs/brokers/%s:%v", name, err)
		} else if diff := cmp.Diff(string(want), page); diff != "" {
			t.Errorf("docs/brokers/%s is out of date, run go generate ./...:\n%s", name, diff)
		}
	}
}

// TestBrokerPagesTellAll expects each region of each dialect on exactly one page.
func TestBrokerPagesTellAll(t *testing.T) {
	var want, got []string
	add := func(what, dialect string) { want = append(want, what+" "+dialect) }
	for _, d := range sys.Dialects() {
		add("subscriptions", d.Name)
		if !d.Quiet {
			add("values", d.Name)
		}
	}
	for _, d := range events.Dialects() {
		if _, known := sysDialect(d.Name); !known {
			add("subscriptions", d.Name)
		}
		add("events", d.Name)
	}
	want = append(want, "index", "old names")
	for _, page := range pages(t) {
		for line := range strings.Lines(page) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), regionBegin); ok {
				got = append(got, strings.TrimSuffix(rest, regionTail))
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("regions of docs/brokers (-want +got):\n%s", diff)
	}
}

// TestBrokerRegionsAreRight checks the rows that the generator treats specially.
func TestBrokerRegionsAreRight(t *testing.T) {
	for region, rows := range map[string][]string{
		"values mosquitto": {
			"| `mqtt_broker_info{software=\"mosquitto\",version}` | `$SYS/broker/version` |",
			"| `mqtt_broker_bridge_up{bridge}` | `$SYS/broker/connection/<bridge>/state` |",
			"| `mqtt_broker_messages_dropped_total{cause=\"queue_full\"}` | `$SYS/broker/publish/messages/dropped` |",
			"| about one client; pingreq does not keep it | `$SYS/broker/connection/client/…/state` |",
			"`$SYS/broker/load/messages/received/+`, `$SYS/broker/load/messages/sent/+`, `$SYS/broker/load/publish/received/+` and 6 more |",
		},
		"values emqx": {
			"| `mqtt_broker_nodes` | `$SYS/brokers` |",
			"| `mqtt_broker_clients_connected{node}` | `$SYS/brokers/<node>/stats/connections/count`, if no other topic has a value for it |",
		},
		"events aedes": {"| `other` | `unknown` |  |"},
		"events mosquitto": {
			"| `tls_error` | `client` `server` `unknown` | `client` `server` `unknown` |",
			"| `idle_timeout` |  | `server` |",
		},
		"subscriptions aws": {"| client events | `$aws/events/presence/connected/+`, `$aws/events/presence/disconnected/+`, `$aws/events/presence/connect_failed/+` |"},
		"index":             {"| `aedes` | 5 | without reasons | `$SYS/<node>/heartbeat` and 9 more |", "| `aws` | none | 11 reasons for disconnects | the name of the host |"},
		"old names": {
			"| `broker_clients_total` | gauge | `mqtt_broker_clients_connected + mqtt_broker_clients_disconnected` |",
			"| `broker_load_bytes_sent_{1,5,15}min` | gauge | `60 * rate(mqtt_broker_bytes_sent_total[1m])` |",
			"| `broker_load_connections_{1,5,15}min` | gauge | nothing: Mosquitto has no counter for it |",
		},
	} {
		got, err := brokerRegion(region)
		if err != nil {
			t.Error(err)
		}
		for _, row := range rows {
			if !strings.Contains(got, row) {
				t.Errorf("region %q has no %q:\n%s", region, row, got)
			}
		}
	}
	if got, _ := brokerRegion("values emqx"); strings.Contains(got, "connections.count") {
		t.Errorf("EMQX's topics appear in both spellings:\n%s", got)
	}
	for _, unknown := range []string{"values", "values aws", "events flashmq", "nonsense", ""} {
		if _, err := brokerRegion(unknown); err == nil {
			t.Errorf("region %q is no error", unknown)
		}
	}
}

var (
	yamlBlock  = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	metricName = regexp.MustCompile(`\b(?:mqtt|pingreq)_(?:broker|probe)_[a-z_]*[a-z]\b(?:…|_…)?`)
)

// TestBrokerPagesConfigurations loads every configuration of the pages. The files that they name do
// not exist.
func TestBrokerPagesConfigurations(t *testing.T) {
	for name, page := range pages(t) {
		for i, block := range yamlBlock.FindAllStringSubmatch(page, -1) {
			_, _, err := config.Load(t.Context(), config.Source{Bytes: []byte(block[1]), Name: name, Catalog: probe.Catalog()})
			faults, ok := errors.AsType[config.Errors](err)
			if err != nil && !ok {
				t.Errorf("docs/brokers/%s, configuration %d: %v", name, i+1, err)
			}
			for _, f := range faults {
				if !strings.HasPrefix(f.Problem, "the file does not exist") {
					t.Errorf("docs/brokers/%s, configuration %d: %v", name, i+1, f)
				}
			}
		}
	}
}

// TestBrokerPagesNames expects that every named metric exists.
func TestBrokerPagesNames(t *testing.T) {
	var docs strings.Builder
	if err := collector.WriteDocs(&docs, probe.Catalog().Kinds); err != nil {
		t.Fatal(err)
	}
	for name, page := range pages(t) {
		for _, metric := range metricName.FindAllString(page, -1) {
			if whole, cut := strings.CutSuffix(metric, "…"); cut && strings.Contains(docs.String(), "### `"+whole) {
				continue
			}
			if !strings.Contains(docs.String(), "### `"+metric+"`\n") {
				t.Errorf("docs/brokers/%s names %s, which is not a metric", name, metric)
			}
		}
	}
}
