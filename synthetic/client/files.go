package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/files"
	"github.com/pingreq/pingreq/synthetic/internal/clock"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// A file that is being replaced may be missing, empty or incomplete for a moment. Or a certificate
// and a key may not belong together. We therefore read again every fileRetry, for at most
// filePatience.
const (
	fileRetry    = 100 * time.Millisecond
	filePatience = time.Second
)

// retryRead reads files until they are complete, for at most as long as their replacement may take.
// The error is that of the last try.
func retryRead(ctx context.Context, read func() error) error {
	for until := time.Now().Add(filePatience); ; {
		err := read()
		if err == nil || time.Now().Add(fileRetry).After(until) || !clock.Sleep(ctx, fileRetry) {
			return err
		}
	}
}

// readFile reads a file that the configuration names. key is its key. The error names both.
func (c *Client) readFile(ctx context.Context, key, name string) ([]byte, error) {
	f, err := c.Env.Files.Read(ctx, name, files.MaxNamed)
	if unfit, ok := errors.AsType[files.Error](err); ok {
		return nil, fmt.Errorf("%s: %s %w", key, name, unfit)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %s cannot be read: %w", key, name, err)
	}
	return f.Content, nil
}

// readPassword reads a password file. The file must not be empty: an empty file is one that is
// being written.
func (c *Client) readPassword(ctx context.Context, name string) (mqtt.Secret, error) {
	b, err := c.readFile(ctx, "password_file", name)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", fmt.Errorf("password_file: %s is empty: it should hold the password", name)
	}
	return mqtt.Secret(text), nil
}

// readPair reads a client certificate and its key.
func (c *Client) readPair(ctx context.Context, cert, key string) (tls.Certificate, error) {
	certPEM, err := c.readFile(ctx, "tls.cert_file", cert)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := c.readFile(ctx, "tls.key_file", key)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err == nil:
		return pair, nil
	case strings.Contains(err.Error(), "does not match"):
		return pair, fmt.Errorf("tls.cert_file and tls.key_file: the key %s does not belong to the certificate %s: replace both", key, cert)
	}
	// The error of crypto/tls is left out, because it may quote the content of the files.
	return pair, fmt.Errorf("tls.cert_file and tls.key_file: %s and %s do not contain a complete certificate and its key in PEM", cert, key)
}
