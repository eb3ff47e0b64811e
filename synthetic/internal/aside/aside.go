// Package aside keeps the stacks of goroutines small that live for long.
package aside

// Run runs f in a goroutine of its own and waits for it; a panic of f is the caller's. A stack that has grown is hardly
// ever given back: one deep call, a TLS handshake or a report, would cost each of thousands of held sessions kilobytes
// for the rest of its life.
func Run(f func()) {
	done := make(chan any)
	go func() {
		defer func() { done <- recover() }()
		f()
	}()
	if p := <-done; p != nil {
		panic(p)
	}
}
