package mqtt

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// text encodes a UTF-8 string of MQTT.
func text(s string) string { return fmt.Sprintf("%04x", len(s)) + hex.EncodeToString([]byte(s)) }

// TestSecretsAreNotRepeated has a broker that repeats our password and token in each text that it can
// send. No ending and no event contains them.
func TestSecretsAreNotRepeated(t *testing.T) {
	const password, token = "correct horse", "battery-staple"
	said := "user x, password " + password + ", " + token + "!"
	props := "1f" + text(said) + "1c" + text(said)
	size := func(s string) string { return fmt.Sprintf("%02x", len(s)/2) }
	packet := func(header, body string) string { return header + size(body) + body }
	reason := "1f" + text(said)
	for name, c := range map[string]struct {
		connack string
		answer  func(received) []byte
	}{
		"refused":    {connackWith(0, 0x87, props), nil},
		"redirected": {connackWith(0, 0x9d, props), nil},
		"disconnected": {connack5, func(received) []byte {
			return unhex(packet("e0", "9d"+size(props)+props))
		}},
		"suback": {connack5, func(r received) []byte {
			return unhex(packet("90", hex.EncodeToString(r.body[:2])+size(reason)+reason+"87"))
		}},
	} {
		o := serve(t, "mqtt", func(r received) []byte {
			switch {
			case r.kind() == CONNECT:
				return unhex(c.connack)
			case r.kind() == SUBSCRIBE && c.answer != nil:
				return c.answer(r)
			}
			return nil
		})
		o.Username, o.Password = "x", password
		o.WSHeader = http.Header{"Authorization": {"Bearer " + token}}
		var all string
		s, err := Dial(t.Context(), o)
		if err == nil {
			t.Cleanup(func() { s.Abort() })
			if _, err = s.Subscribe(Filter{Topic: "t"}); err != nil {
				t.Fatal(err)
			}
			var e *Event
			e, err = s.Next(time.Now().Add(10 * time.Second))
			if e != nil {
				all += fmt.Sprintf("%+v", *e)
			}
		}
		if err != nil {
			all += fmt.Sprintf("%v %+v", err, err.(*End).Ending) + err.(*End).ServerReference + fmt.Sprintf("%+v", err.(*End).Account.Connack)
		}
		if strings.Contains(all, password) || strings.Contains(all, token) || !strings.Contains(all, "[hidden]") {
			t.Errorf("%s: %s", name, all)
		}
	}
}

// TestRedirectsAreNotFollowed has brokers that name another server in every way. Nobody connects to
// it: our credentials are only for the target.
func TestRedirectsAreNotFollowed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var visits atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			visits.Add(1)
			c.Close()
		}
	}()
	reference := "1c" + text(l.Addr().String())
	for name, o := range map[string]Options{
		"CONNACK 0x9c": serve(t, "mqtt", healthy(connackWith(0, 0x9c, reference))),
		"CONNACK 0x9d": serve(t, "mqtt", healthy(connackWith(0, 0x9d, reference))),
		"DISCONNECT": serve(t, "mqtt", func(r received) []byte {
			if r.kind() == CONNECT {
				return unhex(connack5, fmt.Sprintf("e0%02x9d%02x", len(reference)/2+2, len(reference)/2), reference)
			}
			return nil
		}),
		"HTTP 302": serveConn(t, "mqtt", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 302 Found\r\nLocation: ws://%s/mqtt\r\nContent-Length: 0\r\n\r\n", l.Addr())
		}),
	} {
		if name == "HTTP 302" {
			o.URL.Scheme = "ws"
		}
		o.Username, o.Password = "x", "correct horse"
		s, err := Dial(t.Context(), o)
		if err == nil {
			_, err = s.Next(time.Now().Add(10 * time.Second))
			s.Abort()
		}
		if err == nil {
			t.Errorf("%s: no ending", name)
		}
	}
	if n := visits.Load(); n > 0 {
		t.Errorf("%d connections went to the other server", n)
	}
}
