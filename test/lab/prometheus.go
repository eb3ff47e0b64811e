package lab

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
)

// PrometheusOptions are the settings of a Prometheus.
type PrometheusOptions struct {
	// Config is prometheus.yml, for example from ScrapeConfig.
	Config string
	// Files are more files, such as rules, by name. Relative paths in Config find them.
	Files map[string]string
	// Data is the folder of the database, which may have blocks; empty: a new one.
	Data string
	// Args are more arguments, such as "--enable-feature=native-histograms".
	Args []string
}

// Prometheus is a running Prometheus with data of its own.
type Prometheus struct {
	*Daemon
	// URL is the address of its web pages.
	URL string
	// Port is the port of URL.
	Port int
}

// ScrapeConfig returns the parts of a configuration for a job that scrapes these addresses
// (host:port). Scrapes and rules have the same interval.
func ScrapeConfig(job string, interval time.Duration, addresses ...string) string {
	every := model.Duration(interval)
	return fmt.Sprintf("global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}\n"+
		"scrape_configs: [{job_name: %q, static_configs: [{targets: [%s]}]}]\n", every, job, strings.Join(addresses, ", "))
}

// StartPrometheus starts a Prometheus on a free port of 127.0.0.1.
func StartPrometheus(t testing.TB, o PrometheusOptions) *Prometheus {
	t.Helper()
	path := Require(t, "prometheus")
	p := &Prometheus{}
	p.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		for name, text := range o.Files {
			write(t, dir, name, text)
		}
		p.Port = Port(t)
		address := hostPort("127.0.0.1", p.Port)
		p.URL = "http://" + address
		return Command{
			Path: path,
			Dir:  dir,
			Args: append([]string{
				"--config.file=" + write(t, dir, "prometheus.yml", o.Config),
				"--storage.tsdb.path=" + cmp.Or(o.Data, filepath.Join(dir, "data")),
				"--web.listen-address=" + address,
				"--web.enable-lifecycle",
			}, o.Args...),
			ReadyLog: []string{"Server is ready to receive web requests"},
		}
	})
	return p
}

// Query evaluates an expression now. A scalar becomes a vector of one sample. An expression that
// Prometheus refuses fails the test.
func (p *Prometheus) Query(promql string) model.Vector {
	p.t.Helper()
	var data struct {
		Type   model.ValueType `json:"resultType"`
		Result json.RawMessage `json:"result"`
	}
	p.API("query", url.Values{"query": {promql}}, &data)
	var vector model.Vector
	var scalar model.Scalar
	var err error
	switch data.Type {
	case model.ValVector:
		err = json.Unmarshal(data.Result, &vector)
	case model.ValScalar:
		err = json.Unmarshal(data.Result, &scalar)
		vector = model.Vector{{Value: scalar.Value, Timestamp: scalar.Timestamp}}
	default:
		err = fmt.Errorf("it is a %s", data.Type)
	}
	if err != nil {
		p.t.Fatalf("%s: %v: %s", promql, err, data.Result)
	}
	return vector
}

// QueryRange evaluates an expression at each step between two times.
func (p *Prometheus) QueryRange(promql string, start, end time.Time, step time.Duration) model.Matrix {
	p.t.Helper()
	stamp := func(at time.Time) string { return fmt.Sprintf("%.3f", float64(at.UnixMilli())/1e3) }
	var data struct {
		Result model.Matrix `json:"result"`
	}
	p.API("query_range", url.Values{"query": {promql}, "start": {stamp(start)}, "end": {stamp(end)}, "step": {step.String()}}, &data)
	return data.Result
}

// Until evaluates an expression until the condition has no complaint, and returns that result. A
// condition that still complains in the end fails the test with its last complaint.
func (p *Prometheus) Until(promql string, condition func(model.Vector) string) model.Vector {
	p.t.Helper()
	deadline := time.Now().Add(readyTimeout)
	for {
		vector := p.Query(promql)
		complaint := condition(vector)
		if complaint == "" {
			return vector
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("after %v still: %s: %s", readyTimeout, promql, complaint)
		}
		time.Sleep(queryInterval)
	}
}

// queryInterval is the time between two evaluations in Until.
const queryInterval = 100 * time.Millisecond

// Some is a condition for [Prometheus.Until]: there is a result. An expression with a comparison
// has no result where the comparison is false.
func Some(v model.Vector) string {
	if len(v) == 0 {
		return "no result"
	}
	return ""
}

// API reads the data of a page of the HTTP API, such as "alerts". An error in the answer fails the
// test.
func (p *Prometheus) API(page string, params url.Values, data any) {
	p.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: readyTimeout}
	resp, err := client.Get(p.URL + "/api/v1/" + page + "?" + params.Encode())
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		p.t.Fatalf("%s: %s: %v: %s", page, params, err, body)
	}
	if answer.Status != "success" {
		p.t.Fatalf("%s: %s: %s", page, params, answer.Error)
	}
}
