package alerts

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/prometheus/common/model"
)

// duration matches durations as Prometheus writes them, such as 5m and 23h45m.
const duration = `(?:[0-9]+(?:ms|[smhdwy]))+`

// times matches durations that are a time of a rule or of a route, never durations in prose. It
// matches ranges, steps of subqueries and offsets of PromQL everywhere, and the keys of rules and
// routes whose values are durations.
var times = regexp.MustCompile(`\[` + duration + `(?::(?:` + duration + `)?)?\]` +
	`|\boffset ` + duration + `\b` +
	`|(?m:^[ \t-]*(?:interval|for|keep_firing_for|group_wait|group_interval|repeat_interval|resolve_timeout):[ \t]+` + duration + `$)`)

var durations = regexp.MustCompile(`\b` + duration + `\b`)

// rescale divides every time in a file by scale. A time never becomes shorter than a millisecond,
// and 0s stays.
func rescale(text []byte, scale float64) ([]byte, error) {
	if !(scale > 0) || math.IsInf(scale, 0) {
		return nil, fmt.Errorf("time scale %v: use a number above 0, such as 60 to make a minute a second", scale)
	}
	if scale == 1 {
		return text, nil
	}
	var errs []error
	out := times.ReplaceAllFunc(text, func(found []byte) []byte {
		return durations.ReplaceAllFunc(found, func(token []byte) []byte {
			scaled, err := divide(string(token), scale)
			if err != nil {
				errs = append(errs, err)
			}
			return []byte(scaled)
		})
	})
	return out, errors.Join(errs...)
}

// divide divides a duration and rounds it to milliseconds, Prometheus's shortest time.
func divide(token string, scale float64) (string, error) {
	d, err := model.ParseDuration(token)
	if err != nil {
		return "", err
	}
	if d == 0 {
		return token, nil
	}
	ms := math.Max(1, math.Round(float64(time.Duration(d).Milliseconds())/scale))
	if ms > float64(math.MaxInt64/int64(time.Millisecond)) {
		return "", fmt.Errorf("%s divided by %v is longer than Prometheus can count", token, scale)
	}
	return model.Duration(time.Duration(ms) * time.Millisecond).String(), nil
}
