package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/pingreq/pingreq/internal/files"
)

// file returns the absolute path of a file. A relative path starts at the directory of the
// configuration file.
func (l *loader) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(l.dir, name)
}

// read reads the file that the key at path names. On failure it reports a fault and returns false.
// The fault does not contain the name of the file, because it may be a misplaced password.
func (l *loader) read(path, name string) (files.File, bool) {
	f, err := l.files.Read(l.ctx, name, files.MaxNamed)
	unfit, isUnfit := errors.AsType[files.Error](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.bad(path, "the file does not exist").hint("a relative path starts at the directory of the configuration file")
	case errors.Is(err, fs.ErrPermission):
		l.bad(path, "the file cannot be read").hint("let the user that pingreq runs as read it")
	case isUnfit:
		l.bad(path, "the file %s", unfit)
	case err != nil:
		l.bad(path, "the file cannot be read")
	}
	return f, err == nil
}

// passwordFile checks a file with a password.
func (l *loader) passwordFile(path, name string) {
	f, ok := l.read(path, name)
	if ok && len(bytes.TrimRight(f.Content, "\r\n")) == 0 {
		l.bad(path, "the file is empty").hint("write the password into it")
	}
	l.private(path, f)
}

// private warns about a secret that every user of the machine can read.
func (l *loader) private(path string, f files.File) {
	if !l.failed(path) && runtime.GOOS != "windows" && f.Mode.Perm()&0o004 != 0 {
		l.warn(path, "every user of this machine can read the file").hint("run chmod o-r on it")
	}
}

// caFile checks a file with certificates to trust.
func (l *loader) caFile(path, name string) {
	if f, ok := l.read(path, name); ok {
		l.certificates(path, f.Content)
	}
}

// certificates checks the content of a PEM file of certificates.
func (l *loader) certificates(path string, b []byte) {
	n := 0
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if n++; !parses(block.Bytes) {
			l.bad(path, "certificate %d in the file cannot be parsed", n)
			return
		}
	}
	if n == 0 {
		l.bad(path, "there is no certificate in the file").hint("it needs PEM with BEGIN CERTIFICATE")
	}
}

func parses(der []byte) bool {
	_, err := x509.ParseCertificate(der)
	return err == nil
}

// keyPair checks a client certificate and its key.
func (l *loader) keyPair(certPath, cert, keyPath, key string) {
	certFile, certRead := l.read(certPath, cert)
	keyFile, keyRead := l.read(keyPath, key)
	if certRead {
		l.certificates(certPath, certFile.Content)
	}
	if keyRead {
		l.privateKey(keyPath, keyFile.Content)
	}
	if !certRead || !keyRead || l.failed(certPath) || l.failed(keyPath) {
		return
	}
	// The errors of crypto/tls may contain parts of the file.
	if _, err := tls.X509KeyPair(certFile.Content, keyFile.Content); err == nil {
		l.private(keyPath, keyFile)
	} else if strings.Contains(err.Error(), "does not match") {
		l.bad(keyPath, "the key does not belong to the first certificate of cert_file")
	} else {
		l.bad(keyPath, "the key cannot be parsed").hint("it needs PKCS #8, PKCS #1 or SEC 1, and RSA, ECDSA or Ed25519")
	}
}

// privateKey checks the content of a PEM file of a private key.
func (l *loader) privateKey(path string, b []byte) {
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			l.bad(path, "the key is encrypted, and pingreq cannot ask for the passphrase").
				hint("store the key decrypted, and let only pingreq read it")
			return
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return
		}
	}
	l.bad(path, "there is no private key in the file").hint("it needs PEM with BEGIN PRIVATE KEY")
}

// optionFiles handles every option of a kind whose key ends in _file. It makes the path absolute
// and checks the file.
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
