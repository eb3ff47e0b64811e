package demo

import (
	"io"
	"net"
	"sync"
	"time"
)

// relay passes on what two sides say to each other, and as a TCP balancer does (HAProxy's "timeout client" and "timeout
// server"), it closes both connections with a FIN when for some time neither said anything.
type relay struct {
	limit time.Duration   // for which a connection may idle
	done  <-chan struct{} // closed when the broker closes
}

// serve passes a client's connection on to the server at address.
func (r *relay) serve(client net.Conn, address string) {
	server, err := net.DialTimeout("tcp", address, connectTimeout)
	if err != nil { // the broker is closing
		_ = client.Close()
		return
	}
	r.pass(client, server)
}

// pass returns when both connections are closed.
func (r *relay) pass(client, server net.Conn) {
	end := sync.OnceFunc(func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer end()
	idle := time.AfterFunc(r.limit, end)
	defer idle.Stop()

	heard := make(chan struct{}) // all of what the client says
	go func() {
		defer close(heard)
		r.copy(server, client, idle, end)
	}()
	r.copy(client, server, idle, end)
	select {
	case <-heard:
	case <-r.done: // nobody waits for the client any more
		end()
		<-heard
	}
}

// copy passes on one direction, and the FIN at its end.
func (r *relay) copy(to, from net.Conn, idle *time.Timer, end func()) {
	_, err := io.Copy(timedWriter{to}, activeReader{from, func() { idle.Reset(r.limit) }})
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil { // such as a RST, or the cut
		end()
	}
}

// activeReader tells when something was read.
type activeReader struct {
	io.Reader
	active func()
}

// Read implements io.Reader.
func (r activeReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.active()
	}
	return n, err
}

// timedWriter bounds each write.
type timedWriter struct{ net.Conn }

// Write implements io.Writer.
func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}
