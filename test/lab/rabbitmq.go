package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// RabbitMQ is a running RabbitMQ with its MQTT plugin: MQTT 3.1.1 in version 3.10. Clients may be
// anonymous or guest with password guest.
type RabbitMQ struct {
	*Daemon
	// URL and TLS are MQTT over TCP and over TLS.
	URL, TLS string
	// CA has signed the server's certificate.
	CA *CA
	// Port is the port of URL.
	Port int
}

// StartRabbitMQ starts a RabbitMQ on free ports of 127.0.0.1. It has its own Erlang port mapper, so
// it shares nothing with another RabbitMQ of the machine. The start takes about 10 s.
func StartRabbitMQ(t testing.TB) *RabbitMQ {
	t.Helper()
	// The program in PATH switches to the user rabbitmq; Debian keeps the real program elsewhere.
	path := Require(t, "rabbitmq-server")
	if debian := "/usr/lib/rabbitmq/bin/rabbitmq-server"; fileExists(debian) {
		path = debian
	}
	epmd := Require(t, "epmd")
	ca := NewCA(t)
	cert := ca.Server(t)

	var mapper int
	startWithPorts(t, func() Command {
		mapper = Port(t)
		return Command{
			Path:       epmd,
			Args:       []string{"-port", fmt.Sprint(mapper), "-address", "127.0.0.1"},
			ReadyAddrs: []string{hostPort("127.0.0.1", mapper)},
		}
	})
	r := &RabbitMQ{CA: ca}
	r.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		plain, secure, distribution := Port(t), Port(t), Port(t)
		r.Port = plain
		r.URL = "mqtt://" + hostPort("127.0.0.1", plain)
		r.TLS = "mqtts://" + hostPort("127.0.0.1", secure)
		config := fmt.Sprintf(`listeners.tcp = none
mqtt.listeners.tcp.1 = 127.0.0.1:%d
mqtt.listeners.ssl.1 = 127.0.0.1:%d
mqtt.allow_anonymous = true
mqtt.default_user = guest
mqtt.default_pass = guest
ssl_options.cacertfile = %s
ssl_options.certfile = %s
ssl_options.keyfile = %s
log.file = false
log.console = true
`, plain, secure, ca.File, cert.CertFile, cert.KeyFile)
		return Command{
			Path: path,
			Dir:  dir,
			Env: []string{
				// The launcher then becomes the server instead of its parent, so signals reach the
				// server.
				"RUNNING_UNDER_SYSTEMD=true",
				fmt.Sprintf("ERL_EPMD_PORT=%d", mapper),
				fmt.Sprintf("RABBITMQ_DIST_PORT=%d", distribution),
				"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
				fmt.Sprintf("RABBITMQ_NODENAME=lab%d@localhost", distribution),
				"RABBITMQ_CONF_ENV_FILE=" + write(t, dir, "env.conf", ""),
				"RABBITMQ_CONFIG_FILE=" + write(t, dir, "rabbitmq.conf", config),
				"RABBITMQ_ADVANCED_CONFIG_FILE=" + write(t, dir, "advanced.config", "[].\n"),
				"RABBITMQ_ENABLED_PLUGINS_FILE=" + write(t, dir, "enabled_plugins", "[rabbitmq_mqtt].\n"),
				"RABBITMQ_MNESIA_BASE=" + filepath.Join(dir, "mnesia"),
				"RABBITMQ_LOG_BASE=" + filepath.Join(dir, "log"),
				"RABBITMQ_FEATURE_FLAGS_FILE=" + filepath.Join(dir, "feature_flags"),
				"RABBITMQ_PID_FILE=" + filepath.Join(dir, "pid"),
			},
			ReadyLog: []string{"Server startup complete"}, // all listeners are open
		}
	})
	return r
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
