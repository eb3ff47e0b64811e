package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
)

// maxFile is the largest file that a key may name, bytes.
const maxFile = 1 << 20

// file makes the path of a file absolute. Relative paths start at the directory of the configuration file.
func (l *loader) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.dir, name)
}

// read reads the file that the key at path names; nil when that failed, which is reported without the name: it may be
// a password in the wrong place.
func (l *loader) read(path, name string) []byte {
	b, err := readSmall(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.bad(path, "the file does not exist (a relative path starts at the directory of the configuration file)")
	case errors.Is(err, fs.ErrPermission):
		l.bad(path, "the file cannot be read: give the user of pingreq the permission")
	case errors.Is(err, errFile):
		l.bad(path, "%s", err)
	case err != nil:
		l.bad(path, "the file cannot be read")
	}
	return b
}

var errFile = errors.New("must be a regular file of at most 1 MiB")

// readSmall reads a regular file, and no device or pipe that would never end.
func readSmall(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, errFile
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// passwordFile checks a file with a password.
func (l *loader) passwordFile(path, name string) {
	if b := l.read(path, name); b != nil && len(bytes.TrimRight(b, "\r\n")) == 0 {
		l.bad(path, "the file is empty: it should hold the password")
	}
	l.private(path, name)
}

// private warns of a secret that every user of the machine can read.
func (l *loader) private(path, name string) {
	if st, err := os.Stat(name); err == nil && !l.failed(path) && runtime.GOOS != "windows" && st.Mode().Perm()&0o004 != 0 {
		l.warn(path, "every user of this machine can read the file: take that away with chmod o-r")
	}
}

// caFile checks a file with certificates to trust.
func (l *loader) caFile(path, name string) {
	if b := l.read(path, name); b != nil {
		if problem := certificates(b); problem != "" {
			l.bad(path, "%s", problem)
		}
	}
}

// certificates says what is wrong with a PEM file of certificates.
func certificates(b []byte) string {
	n := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if n++; !parses(block.Bytes) {
			return fmt.Sprintf("certificate %d in the file cannot be parsed", n)
		}
	}
	if n == 0 {
		return "there is no certificate in the file: it needs PEM with BEGIN CERTIFICATE"
	}
	return ""
}

func parses(der []byte) bool {
	_, err := x509.ParseCertificate(der)
	return err == nil
}

// keyPair checks a client certificate and its key.
func (l *loader) keyPair(certPath, cert, keyPath, key string) {
	certPEM, keyPEM := l.read(certPath, cert), l.read(keyPath, key)
	if certPEM != nil {
		if problem := certificates(certPEM); problem != "" {
			l.bad(certPath, "%s", problem)
		}
	}
	if keyPEM != nil {
		if problem := privateKey(keyPEM); problem != "" {
			l.bad(keyPath, "%s", problem)
		}
	}
	if certPEM == nil || keyPEM == nil || l.failed(certPath) || l.failed(keyPath) {
		return
	}
	// What crypto/tls says may repeat what is in the file.
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err == nil {
		l.private(keyPath, key)
	} else if strings.Contains(err.Error(), "does not match") {
		l.bad(keyPath, "the key does not belong to the first certificate of cert_file")
	} else {
		l.bad(keyPath, "the key cannot be parsed: it needs PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA or Ed25519")
	}
}

// privateKey says what is wrong with a PEM file of a private key.
func privateKey(b []byte) string {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			return "the key is encrypted, and nobody is there to type its passphrase: store it decrypted, readable by pingreq only"
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return ""
		}
	}
	return "there is no private key in the file: it needs PEM with BEGIN PRIVATE KEY"
}

// optionFiles makes the paths in a kind's options absolute and checks the files: every key that ends in _file.
func (l *loader) optionFiles(path string, options reflect.Value) {
	if options.Kind() == reflect.Pointer {
		options = options.Elem()
	}
	if options.Kind() != reflect.Struct {
		return
	}
	for i := range options.NumField() {
		key, field := options.Type().Field(i).Tag.Get("koanf"), options.Field(i)
		switch {
		case field.Kind() != reflect.String:
			l.optionFiles(join(path, key), field)
		case strings.HasSuffix(key, "_file") && field.String() != "":
			field.SetString(l.file(field.String()))
			if key == "password_file" {
				l.passwordFile(join(path, key), field.String())
			} else {
				l.read(join(path, key), field.String())
			}
		}
	}
}
