package lab

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// MosquittoOptions are the settings of a Mosquitto; the zero value admits anonymous clients.
type MosquittoOptions struct {
	// CA signs the server's certificate and the clients' certificates; nil: a new one.
	CA *CA
	// Certificate is the server's; nil: one that is valid for the broker's addresses.
	Certificate *Certificate
	// Users are names and passwords. If there are any, anonymous clients are refused.
	Users map[string]string
	// ACL is the content of the ACL file; empty: everybody may do everything.
	ACL string
	// Config are more lines for the whole broker, such as "max_keepalive 60".
	Config []string
	// ListenerConfig are more lines for every listener, such as "max_qos 1".
	ListenerConfig []string
	// Namespace is the network namespace to run in; nil: the current one.
	Namespace *Namespace
}

// Mosquitto is a running Mosquitto with one listener of each kind.
type Mosquitto struct {
	*Daemon
	// URL and URL6 are plain MQTT over IPv4 and IPv6. URL6 is empty if the loopback has no IPv6,
	// and in a namespace.
	URL, URL6 string
	// TLS and MutualTLS are MQTT over TLS; the second demands a client certificate.
	TLS, MutualTLS string
	// WS and WSS are MQTT over websockets, plain and over TLS.
	WS, WSS string
	// Unix is MQTT over a unix socket.
	Unix string
	// CA has signed the server's certificate, and signs client certificates.
	CA *CA
	// Port is the port of URL.
	Port int
}

// StartMosquitto starts a Mosquitto on free ports of 127.0.0.1 and ::1, or of the address of the
// namespace. Mosquitto 2.0.11 ignores the bind address of websocket listeners and opens them on
// every address.
func StartMosquitto(t testing.TB, o MosquittoOptions) *Mosquitto {
	t.Helper()
	path := Require(t, "mosquitto")
	host := "127.0.0.1"
	if o.Namespace != nil {
		host = o.Namespace.Addr.String()
	}
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	if o.Certificate == nil {
		o.Certificate = o.CA.Server(t, Names("localhost", "127.0.0.1", "::1", host))
	}
	m := &Mosquitto{CA: o.CA}
	m.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		socket := filepath.Join(shortDir(t), "mosquitto.sock")
		plain, secure, mutual, ws, wss := Port(t), Port(t), Port(t), Port(t), Port(t)
		m.Port = plain
		m.URL = "mqtt://" + hostPort(host, plain)
		m.TLS = "mqtts://" + hostPort(host, secure)
		m.MutualTLS = "mqtts://" + hostPort(host, mutual)
		m.WS = "ws://" + hostPort(host, ws)
		m.WSS = "wss://" + hostPort(host, wss)
		m.Unix = "unix://" + socket

		config := []string{
			"user root", // without root it is ignored; as root, the test's files stay readable
			"log_dest stderr",
			"log_type all",
			"connection_messages true",
			fmt.Sprintf("allow_anonymous %t", len(o.Users) == 0),
		}
		if len(o.Users) > 0 {
			config = append(config, "password_file "+write(t, dir, "passwords", mosquittoPasswords(t, o.Users)))
		}
		if o.ACL != "" {
			config = append(config, "acl_file "+write(t, dir, "acl", o.ACL))
		}
		config = append(config, o.Config...)
		listen := func(listener string, lines ...string) {
			config = append(config, "listener "+listener)
			config = append(append(config, lines...), o.ListenerConfig...)
		}
		tls := []string{
			"cafile " + o.CA.File,
			"certfile " + o.Certificate.CertFile,
			"keyfile " + o.Certificate.KeyFile,
		}
		listen(fmt.Sprintf("%d %s", plain, host))
		if o.Namespace == nil && hasIPv6() {
			m.URL6 = "mqtt://" + hostPort("::1", plain)
			listen(fmt.Sprintf("%d ::1", plain))
		}
		listen(fmt.Sprintf("%d %s", secure, host), tls...)
		listen(fmt.Sprintf("%d %s", mutual, host), append(tls, "require_certificate true")...)
		listen(fmt.Sprintf("%d %s", ws, host), "protocol websockets")
		listen(fmt.Sprintf("%d %s", wss, host), append(tls, "protocol websockets")...)
		listen("0 " + socket)

		return Command{
			Path:      path,
			Args:      []string{"-c", write(t, dir, "mosquitto.conf", strings.Join(config, "\n")+"\n")},
			Dir:       dir,
			Namespace: o.Namespace,
			ReadyLog:  []string{" running"}, // all listeners are open
		}
	})
	return m
}

// mosquittoPasswords returns a password file in the format of mosquitto_passwd(1) 2.0:
// name:$7$iterations$salt$hash, PBKDF2 with SHA-512.
func mosquittoPasswords(t testing.TB, users map[string]string) string {
	t.Helper()
	const iterations = 101
	var text strings.Builder
	for name, password := range users {
		salt := make([]byte, 12)
		rand.Read(salt)
		hash, err := pbkdf2.Key(sha512.New, password, salt, iterations, sha512.Size)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "%s:$7$%d$%s$%s\n", name, iterations,
			base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(hash))
	}
	return text.String()
}

// shortDir returns a temporary directory with a short name: a unix socket's path has at most 107
// bytes, and t.TempDir holds the name of the test.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pingreq-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// write writes a file of a daemon's directory and returns its path.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
