package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/internal/status"
	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/disconnect"
)

//go:embed style.css
var styleCSS string

//go:embed refresh.js
var refreshJS string

//go:embed layout.html
var layoutHTML string

// scriptSource allows the one script of the pages, for the Content-Security-Policy.
func scriptSource() string {
	sum := sha256.Sum256([]byte(refreshJS))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// look is how a state or an outcome looks: a symbol and a word, so that colour is not needed.
type look struct{ Class, Symbol, Word string }

// looks returns the look of every state of a target and of a probe, and of every outcome.
func looks() map[string]look {
	all := map[string]look{}
	for _, l := range []look{{"down", "✗", "down"}, {"degraded", "!", "degraded"}, {"unknown", "?", "unknown"}, {status.StateWarning, "⚠", "warning"}, {"healthy", "✓", "healthy"},
		{"failing", "✗", "failing"}, {"unsupported", "–", "unsupported"}, {"pending", "…", "no result yet"}, {"succeeding", "✓", "well"},
		{"failure", "✗", "failure"}, {"inconclusive", "?", "inconclusive"}, {"success", "✓", "success"}} {
		all[l.Class] = l
	}
	return all
}

// newTemplate parses a page. The page loads no other files.
func newTemplate(text string) *template.Template {
	return template.Must(template.Must(template.New("layout").Funcs(functions()).Parse(layoutHTML)).New("page").Parse(text))
}

func functions() template.FuncMap {
	return template.FuncMap{
		"style":    func() template.CSS { return template.CSS(styleCSS) },
		"script":   func() template.JS { return template.JS(refreshJS) },
		"ago":      func(t time.Time) string { return status.Age(time.Since(t)) },
		"until":    until,
		"clock":    clock,
		"plural":   plural,
		"hex":      func(code int) string { return fmt.Sprintf("0x%02X", code) },
		"seconds":  short,
		"duration": func(s float64) string { return status.Age(time.Duration(s * float64(time.Second))) },
		"bars":     drawBars,
	}
}

// until says when something ends.
func until(t time.Time) string {
	if left := time.Until(t); left > 0 {
		return "ends in " + status.Age(left)
	}
	return "ended " + status.Age(time.Since(t)) + " ago"
}

// clock returns a time of day in UTC, with the date unless it is today.
func clock(t time.Time) string {
	t = t.UTC()
	if now := time.Now().UTC(); t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.Format("2006-01-02 15:04:05 UTC")
	}
	return t.Format("15:04:05 UTC")
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// short returns a duration in seconds with three significant digits, and a long one in its largest unit.
func short(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d >= time.Minute {
		return status.Age(d)
	}
	text := synthetic.FormatDuration(d)
	unit := strings.IndexFunc(text, unicode.IsLetter)
	return text[:unit] + " " + text[unit:]
}

// bars are the bars of a probe or a kind.
type bars struct {
	Text  string
	Style template.CSS
}

// drawBars draws bars as the background of one element: those of success low, and those of failures high.
// Those of a held probe are minutes.
func drawBars(recent []history.Bar, held bool) *bars {
	unit := "run"
	if held {
		unit = "minute"
	}
	n := len(recent)
	if n == 0 {
		return nil
	}
	counts := map[history.Bar]int{}
	for _, b := range recent {
		counts[b]++
	}
	said := []string{fmt.Sprintf("last %s", plural(n, unit))}
	for _, o := range []history.Bar{synthetic.Failure, synthetic.Inconclusive, synthetic.Unsupported, synthetic.Success} {
		if c := counts[o]; c > 0 {
			said = append(said, fmt.Sprintf("%d %s", c, o))
		}
	}
	high := gradient(recent, func(b history.Bar) string {
		switch b {
		case synthetic.Failure:
			return "var(--bad)"
		case synthetic.Inconclusive:
			return "var(--warn)"
		}
		return "transparent"
	})
	low := gradient(recent, func(b history.Bar) string {
		if b == synthetic.Success {
			return "var(--good)"
		}
		return "var(--none)"
	})
	style := fmt.Sprintf("--n:%d;width:%s%%;background-image:%s,%s", n, percent(min(n, history.LeastRuns), history.LeastRuns), high, low)
	return &bars{said[0] + ": " + strings.Join(said[1:], ", "), template.CSS(style)}
}

// gradient returns a gradient with a hard edge wherever the colour changes.
func gradient(recent []history.Bar, colour func(history.Bar) string) string {
	var b strings.Builder
	b.WriteString("linear-gradient(90deg")
	for i := 0; i < len(recent); {
		c, from := colour(recent[i]), i
		for i < len(recent) && colour(recent[i]) == c {
			i++
		}
		fmt.Fprintf(&b, ",%s %s%% %s%%", c, percent(from, len(recent)), percent(i, len(recent)))
	}
	b.WriteString(")")
	return b.String()
}

func percent(n, of int) string {
	return strconv.FormatFloat(float64(n)*100/float64(of), 'f', -1, 32)
}

// phaseNames returns the phases of a connect, for the legend.
func phaseNames() (names []disconnect.Phase) {
	for _, p := range disconnect.Phases() {
		if p != disconnect.PhaseEstablished {
			names = append(names, p)
		}
	}
	return names
}

// writePage writes a page.
func writePage(w http.ResponseWriter, page *template.Template, data any, log *slog.Logger) {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		log.Error("A page cannot be shown.", "err", err)
		answer(w, http.StatusInternalServerError, "the page cannot be shown: see the log of pingreq")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = b.WriteTo(w) // it is recorded, so it cannot fail
}
