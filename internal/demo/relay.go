package demo

import (
	"io"
	"net"
	"sync"
	"time"
)

// relay passes on what two sides send. Like a TCP balancer (HAProxy's "timeout client" and "timeout
// server"), it closes both connections with a FIN if neither side has sent anything for some time.
type relay struct {
	limit time.Duration   // how long a connection may idle
	done  <-chan struct{} // closed when the broker closes
}

// serve relays a client's connection to the server at address.
func (r *relay) serve(client net.Conn, address string) {
	server, err := net.DialTimeout("tcp", address, connectTimeout)
	if err != nil { // the broker is closing
		_ = client.Close()
		return
	}
	r.pass(client, server)
}

// pass relays until both connections are closed.
func (r *relay) pass(client, server net.Conn) {
	end := sync.OnceFunc(func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer end()
	idle := time.AfterFunc(r.limit, end)
	defer idle.Stop()

	heard := make(chan struct{}) // closed when everything from the client is passed on
	go func() {
		defer close(heard)
		r.copy(server, client, idle, end)
	}()
	r.copy(client, server, idle, end)
	select {
	case <-heard:
	case <-r.done: // the broker is closing, so nobody waits for the client
		end()
		<-heard
	}
}

// copy passes on one direction, including the FIN at its end.
func (r *relay) copy(to, from net.Conn, idle *time.Timer, end func()) {
	_, err := io.Copy(timedWriter{to}, activeReader{from, func() { idle.Reset(r.limit) }})
	if err == nil {
		err = closeWrite(to)
	}
	if err != nil { // for example a RST, or the cut
		end()
	}
}

// activeReader calls active when something was read.
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

// timedWriter limits the time of each write.
type timedWriter struct{ net.Conn }

// Write implements io.Writer.
func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}
