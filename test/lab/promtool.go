package lab

import (
	"os/exec"
	"strings"
	"testing"
)

// Promtool runs promtool and returns what it printed to standard output and error; the error says
// that it found something wrong.
func Promtool(t testing.TB, stdin string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Require(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	return string(text), err
}
