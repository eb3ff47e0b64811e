package netfault

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(victimOf); address != "" {
		victim(address)
		return
	}
	goleak.VerifyTestMain(m)
}
