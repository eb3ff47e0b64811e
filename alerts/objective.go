package alerts

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/pingreq/pingreq/internal/monitoring"
)

// budget returns the share of runs that may fail.
func budget(objective float64) float64 {
	return math.Round((1-objective)*1e9) / 1e9
}

// burns returns an expression for the series that use up the error budget a factor faster than the
// objective allows. The series may have matchers of labels.
func burns(o monitoring.Objective, series string, factor float64) string {
	above := func(series string, objective float64) string {
		return fmt.Sprintf("%s > %v * %s", series, factor, strconv.FormatFloat(budget(objective), 'f', -1, 64))
	}
	if len(o.Overrides) == 0 {
		return above(series, o.Default)
	}
	var parts, before []string
	less := func(series string) string { // without what an override before this one has decided
		if len(before) == 0 {
			return series
		}
		return "(" + series + " unless " + strings.Join(before, " unless ") + ")"
	}
	for _, v := range o.Overrides {
		matched := matching(series, v.Match)
		parts = append(parts, above(less(matched), v.Objective))
		before = append(before, matched)
	}
	return "(" + strings.Join(append(parts, above(less(series), o.Default)), " or ") + ")"
}

// matching returns a selector with matchers for these labels added.
func matching(selector string, match map[string]string) string {
	var matchers []string
	for _, label := range slices.Sorted(maps.Keys(match)) {
		matchers = append(matchers, fmt.Sprintf("%s=%q", label, match[label]))
	}
	if before, ok := strings.CutSuffix(selector, "}"); ok {
		return before + ", " + strings.Join(matchers, ", ") + "}"
	}
	return selector + "{" + strings.Join(matchers, ", ") + "}"
}

// words returns a number as a text has it.
func words(n any) string {
	names := []string{"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}
	text := fmt.Sprint(n)
	if i, err := strconv.Atoi(text); err == nil && i >= 0 && i < len(names) {
		return names[i]
	}
	return text
}

// percent returns a share as a text has it.
func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e6)/1e4, 'f', -1, 64) + " %"
}
