// Package bench measures the session engine and the reader of $SYS that uses it. Their benchmarks
// compare them with paho.Client, with a bare loop over a socket, or with both. The bare loop does
// the least work that is possible. All of them use the same broker in the same run. The broker runs
// in a process of its own. It is Debian's Mosquitto, or one process that acts as 200 brokers and
// publishes what Mosquitto would.
//
// It also measures the running agent, built from this tree: what a run of a probe costs
// ([BenchmarkProbes]), and what a scrape of a fleet costs ([BenchmarkScrape]). docs/sizing.md has the
// figures.
//
// The benchmarks assert nothing. Each prints a table with the measured numbers and the goal.
package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/pingreq/pingreq/test/lab"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(holdEnv) != "":
		holdChild()
	case os.Getenv(loopEnv) != "":
		loopChild()
	case os.Getenv(sysEnv) != "":
		sysBrokers()
	default:
		os.Exit(m.Run())
	}
}

// broker is a Mosquitto that logs nothing.
type broker struct {
	plain, tls string // host:port
	ca         *lab.CA
}

func startBroker(b *testing.B) *broker {
	b.Helper()
	path := lab.Require(b, "mosquitto")
	ca := lab.NewCA(b)
	cert := ca.Server(b, lab.Names("127.0.0.1"))
	plain, secure := lab.Port(b), lab.Port(b)
	config := filepath.Join(b.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("allow_anonymous true\nlog_type none\nset_tcp_nodelay true\nlistener %d 127.0.0.1\nlistener %d 127.0.0.1\ncafile %s\ncertfile %s\nkeyfile %s\n",
		plain, secure, ca.File, cert.CertFile, cert.KeyFile)
	if os.Getuid() == 0 {
		text = "user root\n" + text
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	br := &broker{plain: fmt.Sprintf("127.0.0.1:%d", plain), tls: fmt.Sprintf("127.0.0.1:%d", secure), ca: ca}
	// The shell raises the limit of open files, because Go lowers it again for its children.
	lab.Start(b, lab.Command{Name: "mosquitto", Path: "/bin/sh", Args: []string{"-c", `ulimit -n "$(ulimit -H -n)"; exec "$0" -c "$1"`, path, config},
		ReadyAddrs: []string{br.plain, br.tls}})
	return br
}

// table prints rows of cells in columns.
func table(b *testing.B, rows ...[]string) {
	b.Helper()
	var out bytes.Buffer
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	w.Flush()
	b.Log("\n" + out.String())
}
