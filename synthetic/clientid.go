package synthetic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// maxClientID is the length in bytes of the longest client identifier that every broker must accept
// [MQTT5-3.1.3-5, MQTT3-3.1.3-5].
const maxClientID = 23

// templateHash is the length of {hash} in a template.
const templateHash = 12

// ClientID returns the client identifier of one client of a probe. It is stable, so that bans and
// flapping detection see one client. It differs from those of all other clients of all other
// agents. Without a template it is prefix-hash in [0-9A-Za-z-], at most 23 bytes long.
func (e *Env) ClientID(template, role string) string {
	id := e.Identity
	sum := sha256.Sum256([]byte(strings.Join([]string{e.Agent, id.Target, id.Kind, id.Probe, id.Profile, role, strconv.Itoa(e.Slot)}, "\x00")))
	hash := hex.EncodeToString(sum[:])
	if template != "" {
		return strings.NewReplacer("{agent}", e.Agent, "{target}", id.Target, "{probe}", id.Probe, "{profile}", id.Profile,
			"{role}", role, "{slot}", strconv.Itoa(e.Slot), "{hash}", hash[:templateHash]).Replace(template)
	}
	prefix := e.defaultPrefix()
	return fmt.Sprintf("%s-%s", prefix, hash[:maxClientID-len(prefix)-1])
}

// defaultPrefix returns the prefix of client identifiers that are made without a template.
func (e *Env) defaultPrefix() string {
	prefix := cmp.Or(e.ClientIDPrefix, "pingreq")
	return prefix[:min(len(prefix), 10)]
}
