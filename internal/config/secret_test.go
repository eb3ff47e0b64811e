package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pingreq/pingreq/synthetic/probe"
	"go.yaml.in/yaml/v3"
)

// TestNoValueIsRepeated replaces each value of the reference by a secret, in every wrong shape, and
// expects that no message contains it. A message may only repeat a word that looks like a name,
// where a name is expected.
func TestNoValueIsRepeated(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal([]byte(uncommented()), &root); err != nil {
		t.Fatal(err)
	}
	const secret = canary + "s3cr!t"
	shapes := []any{secret, []any{secret}, map[string]any{secret: secret}, map[string]any{"id": secret}, []any{[]any{secret}}, []any{map[string]any{secret: nil}},
		"mqtt://user:" + secret + "@broker.example", "socks5://user:" + secret + "@proxy.example:1080", "mqtts://user:" + secret, "5" + secret, "${" + secret + "}"}
	n := 0
	try := func(section string, value any) {
		// Only what is needed is loaded with the section, because there are thousands of places.
		doc := map[string]any{"targets": root["targets"], "profiles": root["profiles"], "probes": []any{map[string]any{"name": "a", "kind": "connect"}}}
		holder := map[string]any{section: value}
		each(holder, func(set func(any)) {
			for _, shape := range shapes {
				set(shape)
				doc[section] = holder[section]
				b, err := json.Marshal(doc) // JSON is also YAML
				if err != nil {
					t.Fatal(err)
				}
				_, warnings, err := loadText(string(b))
				noSecret(t, "messages", fmt.Sprint(err, warnings))
				n++
			}
		})
	}
	for section, value := range root {
		list, ok := value.([]any)
		if !ok {
			try(section, value)
		}
		for _, entry := range list {
			try(section, []any{entry})
		}
	}
	if n < 500 {
		t.Fatalf("only %d places were tried", n)
	}
}

// each calls f with a setter for every value in a tree, and restores the value afterwards.
func each(v any, f func(set func(any))) {
	switch v := v.(type) {
	case map[string]any:
		for key, was := range v {
			f(func(x any) { v[key] = x })
			v[key] = was
			each(was, f)
		}
	case []any:
		for i, was := range v {
			f(func(x any) { v[i] = x })
			v[i] = was
			each(was, f)
		}
	}
}

// TestSecretsStayOut writes secrets that look like names into the keys for secrets, in valid and
// invalid forms. It expects that no message contains them.
func TestSecretsStayOut(t *testing.T) {
	const target, profile = "targets: [{name: a, url: \"mqtt://b\"}]\n", "profiles:\n  - name: a\n    "
	const secret = canary + "plain"
	for _, text := range []string{
		"targets:\n  - {name: a, url: \"mqtt://b\", password: %s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: [%s]}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: {%s: a}}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password:%s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", pasword: %s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: *%s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: &%s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: !%s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: !<%s>}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: !x!%s a}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: \"%s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: '%s\n",
		"targets:\n  - name: a\n    url: mqtt://b\n    password: @%s\n",
		"targets:\n  - name: a\n    url: mqtt://b\n    password: \"\\%s\"\n",
		"targets:\n  - name: a\n    url: mqtt://b\n    password: a\n    password: %s\n",
		"targets:\n  - name: a\n    url: mqtt://b\n    password: |\n      %s\n   x\n",
		"targets:\n  - name: a\n    url: mqtt://b\n    password\n    %s\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password_file: %s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", password: a, password_file: %s}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", tls: {key_file: %s}}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", tls: {key_file: %[1]s, cert_file: %[1]s, ca_file: %[1]s}}\n",
		"targets:\n  - {name: a, url: \"mqtt://u:%s@b\"}\n",
		"targets:\n  - {name: a, url: \"mqtt://u:%s@b:x\"}\n",
		"targets:\n  - {name: a, url: \"u:%s@b\"}\n",
		"targets:\n  - {name: a, url: \"%s:u@b\"}\n",
		"targets:\n  - {name: a, url: \"mqtt://b/%s\"}\n",
		"targets:\n  - {name: a, url: \"mqtt://b\", labels: {target: %s}}\n",
		target + profile + "proxy: socks5://u:%s@b:1\n",
		target + profile + "proxy: socks5://u:%s\n",
		target + profile + "proxy: \"%s\"\n",
		target + profile + "proxy: \"http://u:%s@b:1 \"\n",
		target + profile + "websocket: {headers: {Authorization: %s}}\n",
		target + profile + "websocket: {headers: {Cookie: [%s]}}\n",
		target + profile + "websocket: {headers: {X-Api-Key: \"${NO_SUCH} %s\"}}\n",
		target + profile + "keepalive: %s\n",
		target + "probes: [{name: a, kind: refuse, refuse: {anonymous: %s}}]\n",
		target + "probes: [{name: a, kind: refuse, refuse: {username: a, password_file: %s}}]\n",
		target + "probes: [{name: a, kind: session, session: {sessions: %s}}]\n",
	} {
		c, warnings, err := loadText(fmt.Sprintf(text, secret))
		if err == nil {
			t.Errorf("loaded %q: %+v", text, c)
		}
		noSecret(t, text, fmt.Sprint(err, warnings))
	}
}

// TestSecretsArrive loads secrets in their valid form. It expects them in the result, and not in
// the printed configuration.
func TestSecretsArrive(t *testing.T) {
	dir := fixtures(t)
	text, err := os.ReadFile("testdata/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pingreq.yaml")
	write(t, path, text)
	c, _, err := Load(t.Context(), Source{Path: path, Env: testEnv(), Reserved: testReserved(), Catalog: probe.Catalog()})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(profileNames(c), "odd")
	for what, pair := range map[string][2]string{
		"password": {string(c.Targets[0].Password), canary + "env-password"},
		"proxy":    {c.Profiles[i].Proxy, "socks5://pingreq:" + canary + "p%40ss%2Fword@proxy.example:1080"},
		"header":   {c.Profiles[i].Websocket.Headers["Authorization"], "Bearer " + canary + "token"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
		}
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	noSecret(t, "the print", printed.String())
	noSecret(t, "a target", fmt.Sprintf("%v %+v %#v", c.Targets[0], c.Targets[0], c.Targets[0]))
	schema, err := Schema(probe.Catalog())
	if err != nil {
		t.Fatal(err)
	}
	noSecret(t, "schema and reference", string(schema)+string(Reference(probe.Catalog())))
}

// TestOpenFiles expects a warning for secrets that every user can read.
func TestOpenFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such file modes")
	}
	dir := fixtures(t)
	path := filepath.Join(dir, "pingreq.yaml")
	write(t, path, []byte("targets:\n  - name: a\n    url: mqtts://b\n    password_file: password\n    tls: {cert_file: client.pem, key_file: client.key, ca_file: ca.pem}\n"))
	load := func(mode os.FileMode) Warnings {
		for _, name := range []string{"password", "client.pem", "client.key", "ca.pem"} {
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		_, warnings, err := Load(t.Context(), Source{Path: path, Catalog: probe.Catalog()})
		if err != nil {
			t.Fatal(err)
		}
		return warnings
	}
	if w := load(0o640); len(w) != 0 {
		t.Errorf("mode 640: %v", w)
	}
	w := texts(load(0o644))
	if len(w) != 2 || !strings.Contains(w[0], ":4:20: targets[0].password_file: every user") || !strings.Contains(w[1], ":5:44: targets[0].tls.key_file: every user") {
		t.Errorf("mode 644: %q", w)
	}
}

// TestUnreadableFiles expects a fault for a file without read permission, also for the
// configuration file itself.
func TestUnreadableFiles(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("this user can read every file")
	}
	dir := fixtures(t)
	path := filepath.Join(dir, "pingreq.yaml")
	write(t, path, []byte("targets:\n  - {name: a, url: \"mqtt://b\", password_file: password}\n"))
	for _, name := range []string{"password", "pingreq.yaml"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Load(t.Context(), Source{Path: path, Catalog: probe.Catalog()}); err == nil || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("%s unreadable: %v", name, err)
		}
	}
}

// TestEndlessFiles expects that files without an end are refused.
func TestEndlessFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no /dev/zero")
	}
	_, _, err := loadText("targets:\n  - {name: a, url: \"mqtts://b\", password_file: /dev/zero, tls: {ca_file: /dev/zero}}\n")
	faults, _ := errors.AsType[Errors](err)
	if len(faults) != 2 {
		t.Errorf("faults %v", err)
	}
	if _, _, err := Load(t.Context(), Source{Path: "/dev/zero", Catalog: probe.Catalog()}); err == nil || err.Error() != "/dev/zero: the file is a device, and must be a regular file or a pipe" {
		t.Errorf("endless configuration: %v", err)
	}
}

// TestMissingFile expects the path and the cause in the fault.
func TestMissingFile(t *testing.T) {
	_, _, err := Load(t.Context(), Source{Path: filepath.Join(t.TempDir(), "no-such.yaml"), Catalog: probe.Catalog()})
	if err == nil || !strings.HasSuffix(err.Error(), "no-such.yaml: the file cannot be read: no such file or directory") && runtime.GOOS != "windows" {
		t.Errorf("%v", err)
	}
}

// TestDurations writes durations in their short form and reads them back.
func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", time.Hour: "1h",
		24*time.Hour + 30*time.Minute: "24h30m", time.Hour + time.Second: "1h0m1s", 1500 * time.Millisecond: "1.5s", time.Microsecond: "1µs"} {
		got := duration(d)
		if back, err := parseDuration(got); got != want || back != d || err != nil {
			t.Errorf("%d is written %q and read as %d, %v; want %q", d, got, back, err, want)
		}
	}
	if _, err := parseDuration("9999999999h"); err == nil {
		t.Error("an endless duration was read")
	}
}
