package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pingreq/pingreq/synthetic/probe"
)

var update = flag.Bool("update", false, "write the golden files and the generated documents again")

// canary begins every secret of the tests. No text that the package returns may contain it.
const canary = "Canary-"

func testEnv() []string {
	return []string{"BROKER_PASSWORD=" + canary + "env-password", "TOKEN=" + canary + "token", "PROXY_PASSWORD=" + canary + "p@ss/word"}
}

func testReserved() []string {
	return []string{"agent", "target", "kind", "probe", "profile", "le", "quantile"}
}

// fixtures returns a directory with the files that the configurations in testdata name.
func fixtures(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	cert, key := certificate(t)
	_, other := certificate(t)
	block := func(typ string) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: []byte(canary + "in-pem")})
	}
	for name, content := range map[string][]byte{
		"ca.pem": cert, "client.pem": cert, "client.key": key, "other.key": other, "empty": []byte("\n"),
		"password": []byte(canary + "file-password\n"), "broken.pem": block("CERTIFICATE"),
		"broken.key": block(canary + "PRIVATE KEY"), "encrypted.key": block("ENCRYPTED PRIVATE KEY"),
	} {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate returns a self-signed certificate and its key, both as PEM.
func certificate(t testing.TB) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agent"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// inputs lists the files of a directory of testdata.
func inputs(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in testdata/%s: %v", dir, err)
	}
	return files
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		write(t, path, []byte(got))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); run the test with -update if that is right:\n%s", path, diff)
	}
}

// noSecret fails if a text contains a secret.
func noSecret(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, canary) {
		t.Errorf("a secret is in %s:\n%s", what, text)
	}
}

// texts returns warnings as lines.
func texts(warnings Warnings) (lines []string) {
	for _, w := range warnings {
		lines = append(lines, w.Error())
	}
	return lines
}

// loadText loads YAML that needs no other files.
func loadText(text string, env ...string) (*Config, Warnings, error) {
	return Load(context.Background(), Source{Bytes: []byte(text), Name: "test.yaml", Env: append(testEnv(), env...), Reserved: testReserved(), Catalog: probe.Catalog()})
}

// messages returns faults and warnings as a person reads them, without the directory of the file.
func messages(faults, warnings []Error) (said string) {
	for _, f := range faults {
		f.File = filepath.Base(f.File)
		said += f.Message() + "\n"
	}
	for _, w := range warnings {
		w.File = filepath.Base(w.File)
		said += "warning: " + w.Message() + "\n"
	}
	return said
}
