//go:build unix

package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnfitConfig expects an error at once, instead of a wait, for the web configuration and the
// files that it names.
func TestUnfitConfig(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for config, want := range map[string]string{
		"": "", pipe: "is a pipe", dir: "is a directory", filepath.Join(dir, "missing"): "",
		write("cert.yml", "tls_server_config: {cert_file: pipe, key_file: b}"):    "cert_file of the web configuration",
		write("key.yml", "tls_server_config: {cert_file: b, key_file: "+pipe+"}"): "key_file of the web configuration",
		write("ca.yml", "tls_server_config: {client_ca_file: /dev/zero}"):         "is a device",
		write("fine.yml", "basic_auth_users: {a: b}"):                             "",
		write("broken.yml", "tls_server_config: ["):                               "",
	} {
		err := checkConfig(t.Context(), &config)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", config, err, want)
		}
	}
}
