// Command mochi serves mochi-mqtt/server as its users have it: with its own listeners and defaults,
// for every client. The tests run it as a process, so that they can suspend and kill it like any
// broker.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// closeTimeout limits the time to end: mochi's Close waits for clients that never sent CONNECT.
const closeTimeout = 2 * time.Second

func main() {
	plain := flag.String("mqtt", "", "`address` of the MQTT listener")
	secure := flag.String("mqtts", "", "`address` of the MQTT listener over TLS")
	cert := flag.String("cert", "", "PEM `file` of the certificate")
	key := flag.String("key", "", "PEM `file` of the private key")
	flag.Parse()
	if err := run(*plain, *secure, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(plain, secure, cert, key string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)

	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return err
	}
	for _, config := range []listeners.Config{
		{ID: "mqtt", Address: plain},
		{ID: "mqtts", Address: secure, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}},
	} {
		if err := server.AddListener(listeners.NewTCP(config)); err != nil { // opens it
			return err
		}
	}
	if err := server.Serve(); err != nil {
		return err
	}
	fmt.Println("mochi", mqtt.Version, "listens")

	<-stop
	closed := make(chan error, 1)
	go func() { closed <- server.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(closeTimeout):
		return nil
	}
}
