package lab

import (
	"fmt"
	"path/filepath"
	"testing"
)

// NATSOptions are the settings of a NATS server; the zero value admits anonymous clients.
type NATSOptions struct {
	// CA signs the server's certificate; nil: a new one.
	CA *CA
	// Certificate is the server's; nil: one that is valid for localhost.
	Certificate *Certificate
	// TLS makes the MQTT listener speak TLS. The server has only one MQTT listener.
	TLS bool
	// User and Password, when set, are demanded from every client.
	User, Password string
}

// NATS is a running NATS server with JetStream and MQTT 3.1.1.
type NATS struct {
	*Daemon
	// URL is MQTT over TCP, or over TLS when the options ask for it.
	URL string
	// WS is MQTT over a plain websocket, at the path /mqtt.
	WS string
	// CA has signed the server's certificate.
	CA *CA
	// Port is the port of URL.
	Port int
	// Client is the address of the listener for NATS' own protocol, host:port.
	Client string
}

// StartNATS starts a NATS server on free ports of 127.0.0.1.
func StartNATS(t testing.TB, o NATSOptions) *NATS {
	t.Helper()
	path := Require(t, "nats-server")
	if o.CA == nil {
		o.CA = NewCA(t)
	}
	if o.Certificate == nil {
		o.Certificate = o.CA.Server(t)
	}
	n := &NATS{CA: o.CA}
	n.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		client, mqtt, ws := Port(t), Port(t), Port(t)
		scheme, tls := "mqtt", ""
		if o.TLS {
			scheme = "mqtts"
			tls = fmt.Sprintf(", tls: { cert_file: %q, key_file: %q }", o.Certificate.CertFile, o.Certificate.KeyFile)
		}
		n.Port, n.Client = mqtt, hostPort("127.0.0.1", client)
		n.URL = scheme + "://" + hostPort("127.0.0.1", mqtt)
		n.WS = "ws://" + hostPort("127.0.0.1", ws) + "/mqtt"
		// MQTT needs a server name and JetStream.
		config := fmt.Sprintf(`server_name: "lab-%d"
listen: "127.0.0.1:%d"
jetstream { store_dir: %q }
mqtt { listen: "127.0.0.1:%d"%s }
websocket { listen: "127.0.0.1:%d", no_tls: true }
`, mqtt, client, filepath.Join(dir, "jetstream"), mqtt, tls, ws)
		if o.User != "" {
			config += fmt.Sprintf("authorization { user: %q, password: %q }\n", o.User, o.Password)
		}
		return Command{
			Path:     path,
			Args:     []string{"-c", write(t, dir, "nats.conf", config)},
			Dir:      dir,
			ReadyLog: []string{"Server is ready"}, // all listeners are open
		}
	})
	return n
}
