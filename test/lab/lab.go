// Package lab provides the real things that pingreq measures: brokers, proxies, network namespaces,
// packet captures and certificates. It also has brokers that misbehave by script.
//
// Everything that a test starts belongs to that test. It is stopped and removed when the test ends,
// also when the test fails. When the test binary dies, the kernel ends the programs. Nothing waits
// for a fixed time; the lab polls for whatever takes time.
//
// A test that needs something that the machine lacks is skipped. With
// PINGREQ_TEST_COMPONENTS=required, which `make test` sets, it fails instead, so that continuous
// integration cannot pass by testing nothing.
package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// packages names the Debian package of each program that the tests use; scripts/deps installs them.
var packages = map[string]string{
	"amtool":                  "prometheus-alertmanager",
	"chromium":                "chromium",
	"ejabberdctl":             "ejabberd",
	"epmd":                    "erlang-base",
	"erl":                     "erlang-base",
	"haproxy":                 "haproxy",
	"ip":                      "iproute2",
	"iptables":                "iptables",
	"mosquitto":               "mosquitto",
	"mosquitto_pub":           "mosquitto-clients",
	"mosquitto_sub":           "mosquitto-clients",
	"nats-server":             "nats-server",
	"node":                    "nodejs",
	"npm":                     "npm",
	"prometheus":              "prometheus",
	"prometheus-alertmanager": "prometheus-alertmanager",
	"promtool":                "prometheus",
	"rabbitmq-server":         "rabbitmq-server",
}

// Require returns the path of an installed program. It also looks in the directories for system
// programs, which are not in every user's PATH. If the program is missing, the test is skipped, or
// fails if PINGREQ_TEST_COMPONENTS is "required".
func Require(t testing.TB, program string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	unavailable(t, "%s", missing(program))
	return ""
}

// RequireNode returns the path of Node.js, and that of a folder of the project in which npm has
// installed a package. If either is missing, the test is skipped or fails, as with [Require].
func RequireNode(t testing.TB, folder, pkg string) (node, dir string) {
	t.Helper()
	node, dir = Require(t, "node"), filepath.Join(moduleRoot(t), folder)
	if !fileExists(filepath.Join(dir, "node_modules", pkg)) {
		unavailable(t, "%s is not installed; `make deps` installs it (npm package)", pkg)
	}
	return node, dir
}

func missing(program string) string {
	if pkg, ok := packages[program]; ok {
		return fmt.Sprintf("%s is not installed; `make deps` installs it (Debian package %s)", program, pkg)
	}
	return program + " is not installed"
}

// RequireIPv6 skips the test on a machine whose loopback has no ::1, as in many containers. No
// package can change that, so it never fails the test.
func RequireIPv6(t testing.TB) {
	t.Helper()
	if !hasIPv6() {
		t.Skip("the loopback interface has no ::1: skipping")
	}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// unavailable ends the test because the machine lacks something: it skips the test or fails it.
func unavailable(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("PINGREQ_TEST_COMPONENTS") == "required" {
		t.Fatalf(format+" (`make test COMPONENTS=optional` would skip this)", args...)
	}
	t.Skipf(format+": skipping", args...)
}
