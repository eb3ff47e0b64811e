package lab

import (
	"bytes"
	"net"
	"net/http"
	"testing"
	"time"
)

// Says is a server of another protocol that speaks first, such as SSH. Then it only reads.
func Says(greeting string) Script {
	return func(c *Conn) error {
		if _, err := c.Write([]byte(greeting)); err != nil {
			return err
		}
		return c.Discard()
	}
}

// Redis waits for the end of a line, and answers each line with an error, as Redis does to commands
// that it does not know.
func Redis() Script {
	return func(c *Conn) error {
		var line []byte
		for buffer := make([]byte, 512); ; {
			n, err := c.Read(buffer)
			if err != nil {
				return err
			}
			line = append(line, buffer[:n]...)
			for range bytes.Count(line, []byte("\r\n")) {
				if _, err := c.Write([]byte("-ERR wrong number of arguments for 'get' command\r\n")); err != nil {
					return err
				}
			}
			line = line[bytes.LastIndexByte(line, '\n')+1:]
		}
	}
}

// StartWebServer starts a web server without websockets, which waits for the end of a request's first
// line. It returns its address.
func StartWebServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // until it is closed
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// EndsAt accepts a client, answers it like a Responder, and ends the connection by a FIN at an age.
func EndsAt(age time.Duration) Script {
	return func(c *Conn) error {
		time.AfterFunc(age, func() { _ = c.sendFIN() })
		return Responder{}.Serve(c)
	}
}

// EndsOn accepts a client, answers it like a Responder, and ends the connection at the first packet of
// a type, by a FIN, or by a RST if unread is set: the kernel sends that for data that nobody read.
func EndsOn(p PacketType, unread bool) Script {
	return func(c *Conn) error {
		c.trap = p
		err := Responder{}.Serve(c)
		if !c.trapped {
			return err
		}
		if unread {
			return c.Reset()
		}
		return c.CloseNotify()
	}
}

// WebServer answers each request with a status, and reads on.
func WebServer(status string) Script {
	return func(c *Conn) error {
		var request []byte
		for buffer := make([]byte, 512); !bytes.Contains(request, []byte("\r\n\r\n")); {
			n, err := c.Read(buffer)
			if err != nil {
				return err
			}
			request = append(request, buffer[:n]...)
		}
		if _, err := c.Write([]byte("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n")); err != nil {
			return err
		}
		return c.Discard()
	}
}

// Answer accepts a client whose CONNECT was read, and answers like a Responder.
func Answer(c *Conn) error {
	if err := c.send(c.connack()); err != nil {
		return err
	}
	return Responder{}.answer(c)
}
