package mqtt

import (
	"crypto/tls"
	"net/url"
	"testing"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/test/lab"
)

// TestAskPort asks ports that speak something, with URLs that expect something else.
func TestAskPort(t *testing.T) {
	ca := lab.NewCA(t)
	secure := lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}}
	scripted := func(s lab.Script, o lab.ScriptedBrokerOptions) string {
		return lab.StartScriptedBroker(t, s, o).Addr().String()
	}
	servers := map[string]string{
		"MQTT":   scripted(lab.Responder{}.Serve, lab.ScriptedBrokerOptions{}),
		"TLS":    scripted(lab.Responder{}.Serve, secure),
		"HTTP":   lab.StartWebServer(t),
		"HTTPS":  scripted(lab.WebServer("404 Not Found"), secure),
		"ws":     scripted(lab.WebServer("101 Switching Protocols"), lab.ScriptedBrokerOptions{}),
		"wss":    scripted(lab.WebServer("101 Switching Protocols"), secure),
		"Redis":  scripted(lab.Redis(), lab.ScriptedBrokerOptions{}),
		"SSH":    scripted(lab.Says("SSH-2.0-OpenSSH_9.2p1\r\n"), lab.ScriptedBrokerOptions{}),
		"SMTP":   scripted(lab.Says("220 mail.example ESMTP\r\n"), lab.ScriptedBrokerOptions{}),
		"mute":   scripted(lab.Silent(), lab.ScriptedBrokerOptions{}),
		"closes": scripted(lab.ClosesAtOnce(), lab.ScriptedBrokerOptions{}),
	}
	for _, tt := range []struct {
		scheme, server string
		secured        bool
		want           disconnect.Protocol
	}{
		{"mqtt", "TLS", false, disconnect.SpeaksTLS},
		{"mqtt", "HTTP", false, disconnect.SpeaksHTTP},
		{"mqtt", "HTTPS", false, disconnect.SpeaksHTTPS},
		{"mqtt", "ws", false, disconnect.SpeaksWebsocket},
		{"mqtt", "wss", false, disconnect.SpeaksWSS},
		{"mqtt", "Redis", false, disconnect.SpeaksRedis},
		{"mqtt", "SSH", false, disconnect.SpeaksSSH},
		{"mqtt", "SMTP", false, disconnect.SpeaksMail},
		{"mqtt", "mute", false, ""},
		{"mqtt", "closes", false, ""},
		{"mqtts", "MQTT", false, disconnect.SpeaksMQTT},
		{"mqtts", "HTTP", false, disconnect.SpeaksHTTP},
		{"mqtts", "ws", false, disconnect.SpeaksWebsocket},
		{"mqtts", "HTTPS", true, disconnect.SpeaksHTTPS},
		{"mqtts", "wss", true, disconnect.SpeaksWSS},
		{"mqtts", "TLS", true, ""}, // as the URL says
		{"mqtts", "Redis", false, disconnect.SpeaksRedis},
		{"mqtts", "mute", false, ""},
		{"ws", "MQTT", false, disconnect.SpeaksMQTT},
		{"ws", "TLS", false, disconnect.SpeaksTLS},
		{"ws", "wss", false, disconnect.SpeaksWSS},
		{"ws", "Redis", false, disconnect.SpeaksRedis},
		{"wss", "MQTT", false, disconnect.SpeaksMQTT},
		{"wss", "ws", false, disconnect.SpeaksWebsocket},
		{"wss", "TLS", true, disconnect.SpeaksMQTTS},
		{"wss", "closes", false, ""},
	} {
		t.Run(tt.scheme+" to "+tt.server, func(t *testing.T) {
			t.Parallel()
			o := Options{URL: &url.URL{Scheme: tt.scheme, Host: servers[tt.server], Path: "/mqtt"}, ClientID: "c", Username: "user", Password: "secret", Sockets: NewSockets(8)}
			if got := AskPort(t.Context(), o, tt.secured); got != tt.want {
				t.Errorf("it speaks %q, want %q", got, tt.want)
			}
			wantLeft(t, o.Sockets, 8, "after the questions")
		})
	}
}
