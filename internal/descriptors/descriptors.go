// Package descriptors divides the file descriptors of the process. Connections to brokers may not
// use all of them, because the web pages, the configuration and the password files need some.
package descriptors

import "fmt"

const (
	// own is kept for everything that is not counted: standard streams, listeners, the runtime,
	// files that are open for a moment, and connections that are being closed.
	own = 16
	// maxPages is the largest number of connections to the web pages. Some Prometheus servers and
	// some browsers need far fewer.
	maxPages = 64
	// minPages is how many connections to the web pages a very low limit leaves.
	minPages = 4
)

// Budget is how the file descriptors of the process are divided.
type Budget struct {
	// Limit is how many descriptors the process may open (RLIMIT_NOFILE). It is 0 if there is no
	// limit.
	Limit int
	// Pages is how many connections to the web pages may be open.
	Pages int
	// Sockets is how many descriptors the connections to brokers may hold. It is 0 if there is no
	// limit.
	Sockets int
}

// Own returns the budget of this process.
func Own() Budget { return Divide(limit()) }

// Divide divides a limit. 0 means that there is none.
func Divide(limit int) Budget {
	if limit <= 0 {
		return Budget{Pages: maxPages}
	}
	pages := min(max((limit-own)/4, minPages), maxPages)
	return Budget{Limit: limit, Pages: pages, Sockets: max(limit-own-pages, 1)}
}

// Warning says what is wrong if connections to brokers need more than the budget, and what to do
// about it. Otherwise both are empty.
func (b Budget) Warning(needed int) (problem, hint string) {
	if b.Limit == 0 || needed <= b.Sockets {
		return "", ""
	}
	enough := needed + own + maxPages
	return fmt.Sprintf("the probes may need %d file descriptors at once, but the limit of open files is %d, which leaves %d for probes: runs that get none are inconclusive",
			needed, b.Limit, b.Sockets),
		fmt.Sprintf("set the limit to at least %d (LimitNOFILE=%d of systemd, ulimit -n %d of a shell), or plan fewer sessions", enough, enough, enough)
}
