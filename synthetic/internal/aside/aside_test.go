package aside_test

import (
	"testing"

	"github.com/pingreq/pingreq/synthetic/internal/aside"
)

func TestRun(t *testing.T) {
	ran := false
	aside.Run(func() { ran = true })
	if !ran {
		t.Error("Run returned before f was done")
	}
	defer func() {
		if p := recover(); p != "boom" {
			t.Errorf("recovered %v, want the panic of f", p)
		}
	}()
	aside.Run(func() { panic("boom") })
	t.Error("the panic of f was lost")
}
