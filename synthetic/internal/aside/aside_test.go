package aside_test

import (
	"strings"
	"testing"

	"github.com/pingreq/pingreq/synthetic/internal/aside"
	"github.com/pingreq/pingreq/synthetic/internal/guard"
)

func TestRun(t *testing.T) {
	ran := false
	aside.Run(func() { ran = true })
	if !ran {
		t.Error("Run returned before f was done")
	}
	defer func() {
		if p := guard.Recovered(recover()); p == nil || p.Value != "boom" || !strings.Contains(p.Stack, "TestRun") {
			t.Errorf("recovered %v, want the panic of f", p)
		}
	}()
	aside.Run(func() { panic("boom") })
	t.Error("the panic of f was lost")
}
