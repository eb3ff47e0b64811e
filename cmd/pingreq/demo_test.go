package main

import (
	"errors"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestListenWeb(t *testing.T) {
	first, err := listenWeb("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := first.Addr().String()
	second, err := listenWeb(taken)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	got := second.Addr().String()
	if host, _, err := net.SplitHostPort(got); err != nil || host != "127.0.0.1" || got == taken {
		t.Errorf("%s is in use: listens on %s, want another port of the host", taken, got)
	}

	for _, bad := range []string{"nonsense", "192.0.2.1:80"} { // 192.0.2.0/24 belongs to no host (RFC 5737)
		l, err := listenWeb(bad)
		if err == nil {
			l.Close()
		}
		var usage usageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--web.listen-address") {
			t.Errorf("%s: error %v, want a usage error that names the flag", bad, err)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text  string
		width int
		want  []string
	}{
		{"", 10, []string{""}},
		{"1.12 × the keepalive", math.MaxInt, []string{"1.12 × the keepalive"}},
		{"1.12 × the keepalive", 10, []string{"1.12 × the", "keepalive"}},
		{"no room for keepalive", 7, []string{"no room", "for", "keepalive"}},
		{"a b", -3, []string{"a", "b"}},
	} {
		if diff := cmp.Diff(tt.want, wrap(tt.text, tt.width)); diff != "" {
			t.Errorf("wrap(%q, %d) (-want +got):\n%s", tt.text, tt.width, diff)
		}
	}
}
