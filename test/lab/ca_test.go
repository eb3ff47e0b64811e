package lab

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"
)

func TestCA(t *testing.T) {
	t.Parallel()
	ca, stranger := NewCA(t), NewCA(t)
	clientCert := func(c *Certificate) []tls.Certificate { return []tls.Certificate{c.TLS} }

	for _, test := range []struct {
		name   string
		server *Certificate
		client *tls.Config
		check  func(error) bool // of the client's error; nil: none
	}{
		{"name", ca.Server(t), &tls.Config{ServerName: "localhost"}, nil},
		{"IPv4 address", ca.Server(t), &tls.Config{ServerName: "127.0.0.1"}, nil},
		{"IPv6 address", ca.Server(t), &tls.Config{ServerName: "::1"}, nil},
		{"client certificate", ca.Server(t), &tls.Config{ServerName: "localhost", Certificates: clientCert(ca.Client(t))}, nil},
		{"wrong name", ca.Server(t, Names("elsewhere.example")), &tls.Config{ServerName: "localhost"}, func(err error) bool {
			return errors.As(err, new(x509.HostnameError))
		}},
		{"expired", ca.Server(t, Expired()), &tls.Config{ServerName: "localhost"}, func(err error) bool {
			var invalid x509.CertificateInvalidError
			return errors.As(err, &invalid) && invalid.Reason == x509.Expired
		}},
		{"another authority", stranger.Server(t), &tls.Config{ServerName: "localhost"}, func(err error) bool {
			return errors.As(err, new(x509.UnknownAuthorityError))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			defer there.Close()
			here.SetDeadline(time.Now().Add(patience))
			there.SetDeadline(time.Now().Add(patience))
			server := tls.Server(there, &tls.Config{
				Certificates: []tls.Certificate{test.server.TLS},
				ClientCAs:    ca.Pool,
				ClientAuth:   tls.VerifyClientCertIfGiven,
			})
			result := make(chan error, 1)
			go func() { result <- server.Handshake() }()
			test.client.RootCAs = ca.Pool
			err := tls.Client(here, test.client).Handshake()
			here.Close()
			serverErr := <-result
			if test.check == nil {
				if err != nil || serverErr != nil {
					t.Fatalf("client: %v, server: %v", err, serverErr)
				}
				if sent := len(test.client.Certificates); len(server.ConnectionState().PeerCertificates) != sent {
					t.Errorf("the server saw %d client certificates, want %d", len(server.ConnectionState().PeerCertificates), sent)
				}
			} else if !test.check(err) {
				t.Errorf("the client's error is %v", err)
			}
		})
	}
}

func TestCertificateFiles(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(26 * time.Hour).Truncate(time.Second)
	c := NewCA(t).Server(t, NotAfter(end))
	for _, files := range [][2]string{{c.CertFile, c.KeyFile}, {c.BundleFile, c.BundleFile}} {
		pair, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			t.Fatal(err)
		}
		if !pair.Leaf.NotAfter.Equal(end) {
			t.Errorf("%s ends at %v, want %v", files[0], pair.Leaf.NotAfter, end)
		}
	}
}
