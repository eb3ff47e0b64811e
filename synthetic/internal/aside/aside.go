// Package aside keeps the stacks of long-lived goroutines small.
package aside

import "github.com/pingreq/pingreq/synthetic/internal/guard"

// Run runs f in another goroutine and waits for it. A panic of f becomes a panic of the caller. A
// stack that has grown rarely shrinks again. One deep call, such as a TLS handshake or a report,
// would otherwise cost each of thousands of held sessions kilobytes for the rest of its life.
func Run(f func()) {
	done := make(chan *guard.Panic)
	go func() {
		defer func() { done <- guard.Recovered(recover()) }()
		f()
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}
