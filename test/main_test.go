// Package test runs the real program against real brokers, end to end. It starts pingreq as a child
// process, reads /metrics as Prometheus does, and compares them with what was done to the broker.
package test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// program is the path of pingreq. raced is the path of pingreq with the race detector, if the tests
// have it; otherwise it is program. Both are built once before the tests. The detector makes a
// program several times slower, so only the tests that stress the agent use raced.
var program, raced string

func TestMain(m *testing.M) {
	sideBySide(8)
	dir, err := os.MkdirTemp("", "pingreq-e2e-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // some tests run the program as another user
	}
	if err == nil {
		program = filepath.Join(dir, "pingreq")
		raced = program
		err = build(program, false)
	}
	if err == nil && raceDetector() {
		raced = filepath.Join(dir, "pingreq-race")
		err = build(raced, true)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// sideBySide lets n tests run in parallel unless the command line sets the number. These tests wait
// far more than they compute.
func sideBySide(n int) {
	flag.Parse()
	const name = "test.parallel"
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		flag.Set(name, strconv.Itoa(n)) // fails only for a bad name or number
	}
}

// build builds the program.
func build(path string, race bool) error {
	args := []string{"build", "-o", path}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./cmd/pingreq")...)
	cmd.Dir = ".."
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, output)
	}
	return nil
}

// raceDetector reports whether this test binary was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
