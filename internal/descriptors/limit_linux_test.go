package descriptors

import (
	"os"
	"os/exec"
	"testing"
)

// TestOwn starts this test again with lower limits. The runtime raises the soft one, to the hard one
// or one less.
func TestOwn(t *testing.T) {
	const key = "PINGREQ_TEST_LIMITED"
	if os.Getenv(key) != "" {
		if got := Own(); got.Limit < 63 || got.Limit > 64 || got != Divide(got.Limit) {
			t.Errorf("with a limit of 64: %+v", got)
		}
		return
	}
	for _, limits := range []string{"ulimit -n 64", "ulimit -S -n 32 && ulimit -H -n 64"} {
		c := exec.CommandContext(t.Context(), "sh", "-c", limits+` && exec "$0" -test.run='^TestOwn$'`, os.Args[0])
		c.Env = append(os.Environ(), key+"=1")
		if output, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", limits, err, output)
		}
	}
}
