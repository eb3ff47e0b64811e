package mqtt

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// AskTime is how long [AskPort] takes at most.
const AskTime = time.Second

// AskPort finds out what a port speaks that does not answer as its URL says. It asks in the other
// ways: with and without TLS, as HTTP and as MQTT, all at the same time, with one connection each and
// at most three. It sends no credentials. secured reports that the TLS handshake of the URL succeeds.
// AskPort returns "" if no answer shows anything.
func AskPort(ctx context.Context, o Options, secured bool) disconnect.Protocol {
	ctx, cancel := context.WithTimeout(ctx, AskTime)
	defer cancel()
	o = o.withDefaults()
	questions := map[string][]question{
		"mqtt":  {askTLSForHTTP, askHTTP},
		"mqtts": {askMQTT, askHTTP, askTLSForHTTP},
		"ws":    {askMQTT, askHTTP, askTLSForHTTP},
		"wss":   {askMQTT, askHTTP, askTLSForMQTT},
		"unix":  {askHTTP},
	}[o.URL.Scheme]
	switch {
	case secured && o.URL.Scheme == "mqtts":
		questions = []question{askTLSForHTTP}
	case secured && o.URL.Scheme == "wss":
		questions = []question{askTLSForMQTT}
	}
	answers := make([]disconnect.Protocol, len(questions))
	var asking sync.WaitGroup
	for i, ask := range questions {
		asking.Go(func() { answers[i] = ask(ctx, o) })
	}
	asking.Wait()
	for _, a := range answers {
		if a != "" && a.Scheme() != "" && a.Scheme() != o.URL.Scheme {
			return a
		}
	}
	for _, a := range answers {
		if a != "" && a.Scheme() != o.URL.Scheme {
			return a
		}
	}
	return ""
}

// question asks a port and returns what the answer shows.
type question func(context.Context, Options) disconnect.Protocol

// plainly opens a socket to the port, writes, and returns what the server answers first. The error is
// that of the connection.
func plainly(ctx context.Context, o Options, question string) ([]byte, error) {
	conn, err := rawSocket(ctx, o)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return exchange(conn, question)
}

// rawSocket opens a socket to the port. It closes when ctx is done.
func rawSocket(ctx context.Context, o Options) (net.Conn, error) {
	a := &attempt{o: o, account: Account{Start: time.Now()}, phase: disconnect.PhaseTCP}
	a.mark = a.account.Start
	conn, err := a.socket(ctx)
	if err != nil {
		a.held.Release()
		return nil, err
	}
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	return &raw{Conn: conn, lease: a.held, stop: context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })}, nil
}

// raw is a socket that gives its descriptor back.
type raw struct {
	net.Conn
	lease *Lease
	stop  func() bool
}

// Close implements net.Conn.
func (r *raw) Close() error {
	r.stop()
	err := r.Conn.Close()
	r.lease.Release()
	return err
}

// exchange writes a question and returns the beginning of the answer. Some servers speak first, so it
// returns what they said even if the question could not be written.
func exchange(conn net.Conn, question string) ([]byte, error) {
	_, _ = conn.Write([]byte(question))
	first := make([]byte, 1024)
	n, err := conn.Read(first)
	if n > 0 {
		err = nil
	}
	return first[:n], err
}

// upgradeRequest returns a request for a websocket.
func upgradeRequest(u *url.URL) string {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // it never fails
	return fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Key: %s\r\n\r\n",
		cmp.Or(u.EscapedPath(), "/mqtt"), u.Host, base64.StdEncoding.EncodeToString(key))
}

// aboutHTTP returns what an answer to [upgradeRequest] shows.
func aboutHTTP(answer []byte) disconnect.Protocol {
	p := disconnect.Recognize(answer)
	head, _, _ := strings.Cut(strings.ToLower(string(answer)), "\r\n\r\n")
	_, status, _ := strings.Cut(head, " ")
	if p == disconnect.SpeaksHTTP && (strings.HasPrefix(status, "101") || strings.HasPrefix(status, "426") || strings.Contains(head, "sec-websocket")) {
		return disconnect.SpeaksWebsocket
	}
	return p
}

func askHTTP(ctx context.Context, o Options) disconnect.Protocol {
	answer, err := plainly(ctx, o, upgradeRequest(o.URL))
	if err != nil {
		return ""
	}
	return aboutHTTP(answer)
}

// helloMQTT is a CONNECT of 3.1.1 without an identifier and without credentials.
const helloMQTT = "\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00"

// goodbyeMQTT is a DISCONNECT.
const goodbyeMQTT = "\xe0\x00"

// isConnack reports whether an answer begins with a CONNACK, of any version.
func isConnack(answer []byte) bool {
	return len(answer) >= 2 && answer[0] == byte(CONNACK)<<4 && answer[1] >= 2
}

func askMQTT(ctx context.Context, o Options) disconnect.Protocol {
	conn, err := rawSocket(ctx, o)
	if err != nil {
		return ""
	}
	defer conn.Close()
	answer, err := exchange(conn, helloMQTT)
	switch {
	case err != nil:
		return ""
	case isConnack(answer):
		_, _ = conn.Write([]byte(goodbyeMQTT))
		return disconnect.SpeaksMQTT
	}
	return disconnect.Recognize(answer)
}

// askOverTLS asks over TLS. about returns what an answer inside TLS shows. It does not verify the
// server, because it only asks what the port speaks.
func askOverTLS(ctx context.Context, o Options, question string, about func([]byte) disconnect.Protocol) disconnect.Protocol {
	conn, err := rawSocket(ctx, o)
	if err != nil {
		return ""
	}
	defer conn.Close()
	cfg := &tls.Config{ServerName: o.URL.Hostname(), InsecureSkipVerify: true}
	if o.TLS != nil && o.TLS.ServerName != "" {
		cfg.ServerName = o.TLS.ServerName
	}
	t := tls.Client(conn, cfg)
	if err := t.Handshake(); err != nil {
		if record, ok := errors.AsType[tls.RecordHeaderError](err); ok {
			return disconnect.Recognize(record.RecordHeader[:])
		}
		if isRemoteAlert(err) {
			return disconnect.SpeaksTLS
		}
		return ""
	}
	answer, err := exchange(t, question)
	if err != nil {
		return disconnect.SpeaksTLS
	}
	return about(answer)
}

func askTLSForHTTP(ctx context.Context, o Options) disconnect.Protocol {
	return askOverTLS(ctx, o, upgradeRequest(o.URL), func(answer []byte) disconnect.Protocol {
		switch aboutHTTP(answer) {
		case disconnect.SpeaksHTTP:
			return disconnect.SpeaksHTTPS
		case disconnect.SpeaksWebsocket:
			return disconnect.SpeaksWSS
		}
		return disconnect.SpeaksTLS
	})
}

func askTLSForMQTT(ctx context.Context, o Options) disconnect.Protocol {
	return askOverTLS(ctx, o, helloMQTT, func(answer []byte) disconnect.Protocol {
		if isConnack(answer) {
			return disconnect.SpeaksMQTTS
		}
		return "" // TLS, as the URL says
	})
}
