package mqtt

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// rawWebsocket is the server's side of a websocket, frame by frame. It works in a synctest bubble.
type rawWebsocket struct {
	net.Conn
	r *bufio.Reader
}

// acceptWebsocket answers an upgrade.
func acceptWebsocket(c net.Conn) (*rawWebsocket, error) {
	w := &rawWebsocket{Conn: c}
	return w, w.accept()
}

func (w *rawWebsocket) accept() error {
	w.r = bufio.NewReader(w.Conn)
	req, err := http.ReadRequest(w.r)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = fmt.Fprintf(w.Conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	return err
}

// frame sends a frame: first holds FIN and the opcode.
func (w *rawWebsocket) frame(first byte, payload []byte) error {
	b := []byte{first, byte(len(payload))}
	switch {
	case len(payload) > 65535:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	case len(payload) > 125:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	_, err := w.Write(append(b, payload...))
	return err
}

// read reads a frame of the client.
func (w *rawWebsocket) read() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(w.r, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(w.r, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint64(b[:]))
	}
	b := make([]byte, 4+n)
	if _, err := io.ReadFull(w.r, b); err != nil {
		return 0, nil, err
	}
	for i := range n {
		b[4+i] ^= b[i%4]
	}
	return head[0], b[4:], nil
}

// websocketPipe connects over net.Pipe to a server that accepts the client and then runs serve.
func websocketPipe(t *testing.T, o Options, serve func(*rawWebsocket)) *Session {
	t.Helper()
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer server.Close()
		w, err := acceptWebsocket(server)
		if err != nil {
			return
		}
		if _, _, err := w.read(); err != nil { // CONNECT
			return
		}
		if err := w.frame(0x82, unhex(connack5)); err != nil {
			return
		}
		serve(w)
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	o.URL = mustURL("ws://127.0.0.1/mqtt")
	o.DialSocket = func(context.Context, string, string) (net.Conn, error) { return client, nil }
	return dial(t, o)
}
