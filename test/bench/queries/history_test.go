package queries

import (
	"encoding/gob"
	"math"
	"os"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/value"
)

// history is what a scrape of one agent found at each step of a period. Before and after it, the same
// happens again and again: counters go on, times move on, and gauges repeat themselves.
type history struct {
	Period time.Duration
	Series []*series
	at     map[string]*series
	filled int // steps
}

// series is one series of a history.
type series struct {
	Labels map[string]string
	// Every is the time between two values: the scrape interval, or the interval of a rule.
	Every time.Duration
	// Counter reports that the value only grows.
	Counter bool
	// Values has one value for each step of the period; NaN: none.
	Values []float64
}

func newHistory(period time.Duration) *history {
	return &history{Period: period, at: map[string]*series{}}
}

// steps returns the number of scrapes.
func (h *history) steps() int { return int(h.Period / scrapeInterval) }

// series returns the series with these labels, and makes it if it is new.
func (h *history) series(labels map[string]string, every time.Duration) *series {
	k := key(labels)
	s := h.at[k]
	if s == nil {
		s = &series{Labels: labels, Every: every, Values: make([]float64, h.Period/every)}
		for i := range s.Values {
			s.Values[i] = math.NaN()
		}
		h.at[k] = s
		h.Series = append(h.Series, s)
	}
	return s
}

// add adds a scrape.
func (h *history) add(families []*dto.MetricFamily) error {
	now := time.Now()
	for _, f := range families {
		labels, values, counter, err := flatten(f)
		if err != nil {
			return err
		}
		for i, l := range labels {
			s := h.series(l, scrapeInterval)
			s.Counter = counter
			s.Values[h.filled] = values[i]
			if s.isTime() { // before or after the end of the period
				s.Values[h.filled] -= float64(now.Unix()) - scrapeInterval.Seconds()*float64(h.filled-h.steps())
			}
		}
	}
	for name, value := range map[string]float64{"up": 1, "scrape_duration_seconds": .1, "scrape_samples_scraped": 1e5, "scrape_samples_post_metric_relabeling": 1e5, "scrape_series_added": 0} {
		h.series(map[string]string{"__name__": name}, scrapeInterval).Values[h.filled] = value
	}
	h.filled++
	return nil
}

// isTime reports whether the values are Unix times. They are kept relative to the end of the period.
func (s *series) isTime() bool {
	return strings.HasSuffix(s.Labels["__name__"], "_timestamp_seconds")
}

// isAge reports whether the values are the time since something began, which does not begin again with
// each period.
func (s *series) isAge() bool { return strings.HasSuffix(s.Labels["__name__"], "_uptime_seconds") }

// value returns the value at a step; step -1 is the last one of the period, and step 0 is the first
// one after it. end is the Unix time of the end of the period in seconds.
func (s *series) value(step int, end float64) float64 {
	n := len(s.Values)
	again := step / n
	i := step % n
	if i < 0 {
		i, again = i+n, again-1
	}
	v := s.Values[i]
	switch {
	case s.isTime():
		v += end + float64(again+1)*s.Every.Seconds()*float64(n)
	case s.isAge():
		v += float64(again+periods) * s.Every.Seconds() * float64(n)
	case s.Counter:
		first, last := s.Values[0], s.Values[n-1]
		if math.IsNaN(first) { // it appeared later in the period, and had a value from the one before
			first = 0
		}
		if math.IsNaN(v) && !math.IsNaN(last) {
			v = first
		}
		v += float64(again+periods) * (last - first)
	}
	return v
}

// periods is the number of periods before the recorded one after which counters began.
const periods = 1000

// samples returns the samples between two times, in milliseconds. end is the end of the period. A
// series that ends has a staleness marker.
func (s *series) samples(from, to, end int64) (all samples) {
	every := s.Every.Milliseconds()
	step := (from-end)/every - 1
	for end+step*every < from {
		step++
	}
	before := s.value(int(step)-1, float64(end)/1000)
	for ; end+step*every <= to; step++ {
		v := s.value(int(step), float64(end)/1000)
		switch {
		case !math.IsNaN(v):
			all = append(all, sample{end + step*every, v})
		case !math.IsNaN(before):
			all = append(all, sample{end + step*every, math.Float64frombits(value.StaleNaN)})
		}
		before = v
	}
	return all
}

// save writes the history to a file, and load reads it.
func (h *history) save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := gob.NewEncoder(f).Encode(h); err != nil {
		return err
	}
	return f.Close()
}

func load(path string) (*history, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := newHistory(0)
	if err := gob.NewDecoder(f).Decode(h); err != nil {
		return nil, err
	}
	for _, s := range h.Series {
		h.at[key(s.Labels)] = s
	}
	return h, nil
}
