package lab

import (
	"fmt"
	"path/filepath"
	"testing"
)

// Ejabberd is a running ejabberd with its MQTT module: MQTT 5 and 3.1.1.
type Ejabberd struct {
	*Daemon
	// URL, TLS and WS are MQTT over TCP, over TLS, and over a plain websocket at the path /mqtt.
	URL, TLS, WS string
	// Username and Password are an anonymous login. ejabberd 23.01 refuses a CONNECT without them
	// (return code 5, 0x87), but accepts every name @localhost with any password.
	Username, Password string
	// CA has signed the server's certificate.
	CA *CA
	// Port is the port of URL.
	Port int
}

// StartEjabberd starts an ejabberd on free ports of 127.0.0.1. It runs without Erlang distribution,
// so there is no port mapper to share or to leave behind. The start takes about 2 s.
func StartEjabberd(t testing.TB) *Ejabberd {
	t.Helper()
	// The control program would start the server as the user ejabberd, who may not read the test's
	// files. It only shows that ejabberd is installed.
	Require(t, "ejabberdctl")
	erl := Require(t, "erl")
	libraries, err := filepath.Glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")
	if err != nil || len(libraries) == 0 {
		unavailable(t, "the Erlang library of ejabberd is not under /usr/lib/*/ejabberd-*")
	}
	ca := NewCA(t)
	cert := ca.Server(t)
	e := &Ejabberd{CA: ca, Username: "lab@localhost", Password: "any"}
	e.Daemon = startWithPorts(t, func() Command {
		dir := t.TempDir()
		plain, secure, ws := Port(t), Port(t), Port(t)
		e.Port = plain
		e.URL = "mqtt://" + hostPort("127.0.0.1", plain)
		e.TLS = "mqtts://" + hostPort("127.0.0.1", secure)
		e.WS = "ws://" + hostPort("127.0.0.1", ws) + "/mqtt"
		config := fmt.Sprintf(`loglevel: info
hosts: [localhost]
auth_method: [anonymous]
anonymous_protocol: login_anon
allow_multiple_connections: true
certfiles: [%q]
listen:
  - {port: %d, ip: "127.0.0.1", module: mod_mqtt}
  - {port: %d, ip: "127.0.0.1", module: mod_mqtt, tls: true}
  - {port: %d, ip: "127.0.0.1", module: ejabberd_http, request_handlers: {/mqtt: mod_mqtt}}
modules:
  mod_mqtt: {}
`, cert.BundleFile, plain, secure, ws)
		return Command{
			Name: "ejabberd",
			Path: erl,
			Args: []string{"-noinput", "-mnesia", "dir", fmt.Sprintf("%q", filepath.Join(dir, "spool")), "-s", "ejabberd"},
			Dir:  dir,
			Env: []string{
				"ERL_LIBS=" + filepath.Dir(filepath.Dir(filepath.Dir(libraries[0]))),
				"EJABBERD_CONFIG_PATH=" + write(t, dir, "ejabberd.yml", config),
				"EJABBERD_LOG_PATH=" + filepath.Join(dir, "ejabberd.log"),
				"ERL_CRASH_DUMP=" + filepath.Join(dir, "crash.dump"),
			},
			ReadyLog: []string{ // the listeners open one after the other, after "is started"
				fmt.Sprintf(" connections at 127.0.0.1:%d ", plain),
				fmt.Sprintf(" connections at 127.0.0.1:%d ", secure),
				fmt.Sprintf(" connections at 127.0.0.1:%d ", ws),
			},
		}
	})
	return e
}
