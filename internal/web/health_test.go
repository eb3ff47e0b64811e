package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestServeHealth has the health pages, and no others, at an address of their own.
func TestServeHealth(t *testing.T) {
	log := new(lockedBuffer)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var ready error = errors.New("sources have not answered")
	go func() {
		done <- ServeHealth(ctx, "127.0.0.1:0", func() error { return ready }, slog.New(slog.NewTextHandler(log, nil)))
	}()
	var address string
	for end := time.Now().Add(time.Minute); address == ""; time.Sleep(time.Millisecond) { // of the real network
		if m := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(log.String()); m != nil {
			address = m[1]
		} else if time.Now().After(end) {
			t.Fatal("no address")
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) string {
		t.Helper()
		r, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		return fmt.Sprintf("%d %s", r.StatusCode, bytes.TrimSpace(body))
	}
	for path, want := range map[string]string{"/-/healthy": "200 healthy", "/-/ready": "503 not ready: sources have not answered", "/metrics": "404", "/": "404", "/-/reload": "404"} {
		if got := get(path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestServeHealthOnATakenPort says which address cannot be served.
func TestServeHealthOnATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := ServeHealth(t.Context(), l.Addr().String(), nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "serving health on "+l.Addr().String()) {
		t.Error(err)
	}
}
