package main

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesTests expects that each test that SECURITY.md names as the proof of a promise
// exists, and that each promise has one.
func TestSecurityNamesTests(t *testing.T) {
	var code strings.Builder
	if err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	promises := 0
	for line := range strings.Lines(read(t, "../../SECURITY.md")) {
		names := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`").FindAllStringSubmatch(line, -1)
		for _, name := range names {
			if !strings.Contains(code.String(), "\nfunc "+name[1]+"(") {
				t.Errorf("%s does not exist", name[1])
			}
		}
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| ---") && !strings.HasPrefix(line, "| promise |") {
			if promises++; len(names) == 0 {
				t.Errorf("nothing shows this promise: %s", line)
			}
		}
	}
	if promises < 15 {
		t.Errorf("only %d promises", promises)
	}
}
