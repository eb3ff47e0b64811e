package lab

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
)

// The users of a Mosquitto with dynamic security.
const (
	dynsecAdmin = "admin"
	// DynsecUser may publish and subscribe to everything, until it is disabled.
	DynsecUser = "device"
	// DynsecPublisher may publish to everything, but not subscribe.
	DynsecPublisher = "publisher"
	// DynsecPassword is the password of all users.
	DynsecPassword = "secret"
)

// StartDynamicSecurity starts a Mosquitto whose users can be changed while it runs, by its plugin
// for dynamic security.
func StartDynamicSecurity(t testing.TB) *Mosquitto {
	t.Helper()
	plugins, err := filepath.Glob("/usr/lib/*/mosquitto_dynamic_security.so")
	if err != nil || len(plugins) == 0 {
		unavailable(t, "Mosquitto's plugin for dynamic security is not under /usr/lib/*")
	}
	file := write(t, t.TempDir(), "dynamic-security.json", dynsecConfig(t))
	return StartMosquitto(t, MosquittoOptions{
		Config: []string{"per_listener_settings false", "plugin " + plugins[0], "plugin_opt_config_file " + file},
	})
}

// DisableUser disables a user of a Mosquitto with dynamic security. Its clients are disconnected
// and cannot connect again.
func (m *Mosquitto) DisableUser(name string) {
	m.t.Helper()
	command := fmt.Sprintf(`{"commands":[{"command":"disableClient","username":%q}]}`, name)
	pub := exec.Command(Require(m.t, "mosquitto_pub"), "-p", fmt.Sprint(m.Port), "-u", dynsecAdmin, "-P", DynsecPassword,
		"-q", "1", "-t", "$CONTROL/dynamic-security/v1", "-m", command)
	if output, err := pub.CombinedOutput(); err != nil {
		m.t.Fatalf("disabling %s: %v\n%s", name, err, output)
	}
}

// dynsecConfig is the plugin's state, in its own format.
func dynsecConfig(t testing.TB) string {
	t.Helper()
	type object map[string]any
	user := func(name, role string) object {
		const iterations = 101
		salt := make([]byte, 12)
		rand.Read(salt)
		hash, err := pbkdf2.Key(sha512.New, DynsecPassword, salt, iterations, sha512.Size)
		if err != nil {
			t.Fatal(err)
		}
		return object{"username": name, "password": hash, "salt": salt, "iterations": iterations, "roles": []object{{"rolename": role}}}
	}
	everything := func(topic string, kinds ...string) (acls []object) {
		for _, kind := range kinds {
			acls = append(acls, object{"acltype": kind, "topic": topic, "priority": 0, "allow": true})
		}
		return acls
	}
	text, err := json.Marshal(object{
		"defaultACLAccess": object{"publishClientSend": false, "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
		"clients":          []object{user(dynsecAdmin, "admin"), user(DynsecUser, "device"), user(DynsecPublisher, "publisher")},
		"groups":           []object{},
		"roles": []object{
			{"rolename": "admin", "acls": everything("$CONTROL/dynamic-security/#", "publishClientSend", "publishClientReceive", "subscribePattern")},
			{"rolename": "publisher", "acls": everything("#", "publishClientSend", "publishClientReceive")},
			{"rolename": "device", "acls": everything("#", "publishClientSend", "publishClientReceive", "subscribePattern")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
