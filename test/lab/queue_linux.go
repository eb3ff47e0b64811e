package lab

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// QueuedBroker is a broker that can stop to accept connections, so that its accept queue fills. It goes
// on serving those that it has.
type QueuedBroker struct {
	// URL is MQTT over TCP.
	URL string

	t        testing.TB
	listener *slowListener
	fillers  []net.Conn
}

// StartQueuedBroker starts a broker whose accept queue is as short as the system allows.
func StartQueuedBroker(t testing.TB) *QueuedBroker {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = syscall.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	l, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	q := &QueuedBroker{URL: "mqtt://" + l.Addr().String(), t: t, listener: &slowListener{Listener: l, stop: make(chan struct{}), closed: make(chan struct{})}}
	StartBroker(t, BrokerOptions{Listener: q.listener})
	t.Cleanup(func() {
		for _, c := range q.fillers {
			c.Close()
		}
	})
	return q
}

// Fill makes the broker accept no more connections, and fills its queue.
func (q *QueuedBroker) Fill() {
	q.t.Helper()
	close(q.listener.stop)
	for range 8 { // more than fit
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		c, err := d.Dial("tcp", q.listener.Addr().String())
		if err != nil {
			return // it is full
		}
		q.fillers = append(q.fillers, c)
	}
	q.t.Error(fmt.Errorf("the accept queue of %s does not fill", q.URL))
}

// slowListener stops to accept when it is told.
type slowListener struct {
	net.Listener
	stop, closed chan struct{}
	once         sync.Once
	mu           sync.Mutex
	late         []net.Conn
}

// Accept implements net.Listener.
func (l *slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	select {
	case <-l.stop:
	default:
		return c, err
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.late = append(l.late, c)
	l.mu.Unlock()
	<-l.closed
	return nil, net.ErrClosed
}

// Close implements net.Listener.
func (l *slowListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.late {
		c.Close()
	}
	return l.Listener.Close()
}
