package demo

import (
	"crypto/subtle"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"
)

// lockHook accepts only clients with the user name and password. An anonymous MQTT 5 client gets
// CONNACK 0x87 Not authorized, as from Mosquitto, and a wrong password gets 0x86. MQTT 3.1.1
// clients get return code 5 for both.
type lockHook struct {
	auth.AllowHook // lets accepted clients read and write everything
	username       string
	password       string
}

func newLockHook(username, password string) *lockHook {
	return &lockHook{username: username, password: password}
}

func (*lockHook) ID() string { return "locked" }

func (h *lockHook) Provides(b byte) bool {
	return b == mqtt.OnPacketEncode || h.AllowHook.Provides(b)
}

func (h *lockHook) OnConnectAuthenticate(_ *mqtt.Client, pk packets.Packet) bool {
	name := subtle.ConstantTimeCompare(pk.Connect.Username, []byte(h.username))
	password := subtle.ConstantTimeCompare(pk.Connect.Password, []byte(h.password))
	return name&password == 1
}

// OnPacketEncode changes mochi's 0x86 to 0x87 for a client without a user name.
func (*lockHook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == packets.ErrBadUsernameOrPassword.Code &&
		len(cl.Properties.Username) == 0 {
		pk.ReasonCode = packets.ErrNotAuthorized.Code
		pk.Properties.ReasonString = packets.ErrNotAuthorized.Reason
	}
	return pk
}
