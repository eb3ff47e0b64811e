package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A page is written by hand, except its regions. A region begins after a line with regionBegin, the
// region's name and regionTail. It ends before the line regionEnd.
const (
	regionBegin = "<!-- generated: "
	regionTail  = " -->"
	regionEnd   = "<!-- end of generated -->"
)

// fillPages rewrites the regions of every Markdown file in a directory. region returns the content
// of the region of that name.
func fillPages(dir string, region func(name string) (string, error)) error {
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	if len(pages) == 0 {
		return fmt.Errorf("no Markdown files in %s", dir)
	}
	for _, page := range pages {
		before, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		after, err := fill(before, region)
		if err != nil {
			return fmt.Errorf("%s:%w", page, err)
		}
		if !bytes.Equal(before, after) {
			if err := os.WriteFile(page, after, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// fill rewrites the regions of a page. An error begins with the number of the line that it is
// about.
func fill(page []byte, region func(name string) (string, error)) ([]byte, error) {
	var out bytes.Buffer
	begun := 0 // line of the region that we are in; 0 = none
	n := 0
	for line := range strings.Lines(string(page)) {
		n++
		text := strings.TrimSpace(line)
		rest, begins := strings.CutPrefix(text, regionBegin)
		switch {
		case begins && begun > 0:
			return nil, fmt.Errorf("%d: the region of line %d has no %s", n, begun, regionEnd)
		case begins:
			content, err := region(strings.TrimSuffix(rest, regionTail))
			if err != nil {
				return nil, fmt.Errorf("%d: %w", n, err)
			}
			begun = n
			fmt.Fprintf(&out, "%s\n\n%s\n\n", text, strings.TrimSpace(content))
		case text == regionEnd && begun == 0:
			return nil, fmt.Errorf("%d: no region begins before %s", n, regionEnd)
		case text == regionEnd:
			begun = 0
			fmt.Fprintln(&out, text)
		case begun == 0:
			out.WriteString(line)
		}
	}
	if begun > 0 {
		return nil, fmt.Errorf("%d: the region has no %s", begun, regionEnd)
	}
	return out.Bytes(), nil
}
