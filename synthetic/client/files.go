package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

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

// readPassword reads a password file. The file must not be empty: an empty file is one that is
// being written.
func readPassword(name string) (mqtt.Secret, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", fmt.Errorf("password_file: %s is empty: it should hold the password", name)
	}
	return mqtt.Secret(text), nil
}

// readPair reads a client certificate and its key.
func readPair(cert, key string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	switch {
	case err == nil:
		return pair, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return pair, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
	case strings.Contains(err.Error(), "does not match"):
		return pair, fmt.Errorf("tls.cert_file and tls.key_file: the key %s does not belong to the certificate %s: replace both", key, cert)
	}
	// The error of crypto/tls is left out, because it may quote the content of the files.
	return pair, fmt.Errorf("tls.cert_file and tls.key_file: %s and %s do not contain a complete certificate and its key in PEM", cert, key)
}
