package main

import (
	"errors"
	"strings"
	"testing"
)

func TestFill(t *testing.T) {
	region := func(name string) (string, error) {
		if name == "bad" {
			return "", errors.New("no such region")
		}
		return "content of " + name + "\n", nil
	}
	const begin, end = "<!-- generated: one two -->\n", "<!-- end of generated -->\n"
	filled := begin + "\ncontent of one two\n\n" + end
	for _, test := range []struct{ name, page, want, err string }{
		{"prose alone", "a\n\n```\nb\n```", "a\n\n```\nb\n```", ""},
		{"an empty region", "a\n" + begin + end + "z\n", "a\n" + filled + "z\n", ""},
		{"an old region", begin + "old\n" + end, filled, ""},
		{"a current region", filled, filled, ""},
		{"two regions", begin + end + "m\n" + begin + end, filled + "m\n" + filled, ""},
		{"no line break at the end", begin + strings.TrimSpace(end), filled, ""},
		{"no end", "a\n" + begin + "b\n", "", "2: the region has no <!-- end of generated -->"},
		{"a region in a region", begin + begin + end, "", "2: the region of line 1 has no <!-- end of generated -->"},
		{"no begin", end, "", "1: no region begins before <!-- end of generated -->"},
		{"an unknown region", "a\n<!-- generated: bad -->\n" + end, "", "2: no such region"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := fill([]byte(test.page), region)
			if message(err) != test.err || string(got) != test.want {
				t.Errorf("got %q, %q, want %q, %q", got, message(err), test.want, test.err)
			}
		})
	}
}

func TestFillPagesWithoutPages(t *testing.T) {
	if err := fillPages(t.TempDir(), brokerRegion); err == nil {
		t.Error("an empty directory is no error")
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
