package lab

import (
	"os/exec"
	"strings"
	"testing"
)

// Promtool runs promtool and returns its standard output and error. The error is set if promtool
// found something wrong.
func Promtool(t testing.TB, stdin string, args ...string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Require(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	return string(text), err
}
