package demo

import (
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	v5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	mqtt "github.com/mochi-mqtt/server/v2"
)

// pipes starts a broker in virtual time and returns a dialler.
func pipes(t *testing.T, hook func(*broker) mqtt.Hook, more ...mqtt.Hook) func() net.Conn {
	t.Helper()
	b := newBroker(slog.New(slog.DiscardHandler))
	for _, h := range append([]mqtt.Hook{new(workarounds), hook(b)}, more...) {
		if err := b.server.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.close(); err != nil {
			t.Error(err)
		}
	})
	return func() net.Conn {
		client, server := net.Pipe()
		t.Cleanup(func() { client.Close() })
		if err := client.SetDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		b.work.Go(func() { b.handle(server) })
		return client
	}
}

func TestZombie(t *testing.T) {
	const after = 8 * time.Second
	synctest.Test(t, func(t *testing.T) {
		dial := pipes(t, func(*broker) mqtt.Hook { return newZombieHook(after) })
		works := func(c raw) {
			t.Helper()
			c.publish(7, 1)
			expectID(c, "PUBACK", receive[v5.Puback](c).PacketID, 7)
			p := receive[v5.Publish](c)
			c.send(&v5.Puback{PacketID: p.PacketID})
			c.publish(8, 2)
			expectID(c, "PUBREC", receive[v5.Pubrec](c).PacketID, 8)
			p = receive[v5.Publish](c)
			c.send(&v5.Puback{PacketID: p.PacketID})
			c.send(&v5.Pubrel{PacketID: 8})
			receive[v5.Pubcomp](c)
		}

		c := newRaw(t, dial(), "z")
		subscribe(c, 1, 0x01)
		works(c)
		time.Sleep(after - 1)
		works(c)
		time.Sleep(time.Nanosecond)

		for round := range 3 { // a zombie stays one
			c.publish(9, 1)
			c.publish(10, 2)
			c.publish(0, 0)
			subscribe(c, 11, 0x01)
			other := newRaw(t, dial(), "other")
			other.publish(1, 1)
			receive[v5.Puback](other)
			other.Close()
			synctest.Wait() // a delivery would have been sent by now
			c.send(&v5.Pingreq{})
			receive[v5.Pingresp](c) // without an acknowledgement or delivery before it
			time.Sleep(time.Duration(round) * time.Minute)
		}
		c.Close()

		c = newRaw(t, dial(), "z")
		subscribe(c, 1, 0x01)
		works(c)
		c.Close()
	})
}

func TestZombieOverTCP(t *testing.T) {
	zombie := startDemo(t, Options{ZombieAfter: 1}).find(t, "zombie")
	c := newRaw(t, zombie.dialFirst(t), "z")
	c.publish(1, 1)
	c.publish(2, 2)
	c.send(&v5.Pingreq{})
	receive[v5.Pingresp](c)

	young := startDemo(t, Options{ZombieAfter: time.Hour}).find(t, "zombie")
	w := newWitness(t, young.dialFirst(t), &paho.Connect{ClientID: "w", KeepAlive: 30})
	w.subscribe(t, "t", 2)
	for qos := range byte(3) {
		w.publish(t, "t", qos, "x")
		w.next(t)
	}
}

func TestDropper(t *testing.T) {
	const after = 28 * time.Second
	synctest.Test(t, func(t *testing.T) {
		dial := pipes(t, func(b *broker) mqtt.Hook { return newDropHook(b.server, &b.work, after) })
		leaver := newRaw(t, dial(), "leaver")
		leaver.send(&v5.Disconnect{})
		leaver.receiveEnd()

		for i, tt := range []struct {
			id    string
			tells bool
		}{
			{"a", true}, {"b", false}, {"a", false}, {"b", true}, {"a", true}, {"c", true}, {"d", false},
		} {
			start := time.Now()
			c := newRaw(t, dial(), tt.id)
			if tt.tells {
				expectCode(c, "DISCONNECT", receive[v5.Disconnect](c).ReasonCode, 0x98)
			}
			c.receiveEnd()
			if got := time.Since(start); got != after {
				t.Errorf("drop %d of %s after %v, want %v", i, tt.id, got, after)
			}
		}

		for range 2 {
			c := dial()
			connect311(t, c, "v311", "", "")
			raw{t, c}.receiveEnd()
		}
	})
}

func TestDropperOverTCP(t *testing.T) {
	dropper := startDemo(t, Options{DropAfter: time.Millisecond}).find(t, "dropper")
	for i := range 6 {
		c := newRaw(t, dropper.dialFirst(t), "d")
		if i%2 == 0 {
			expectCode(c, "DISCONNECT", receive[v5.Disconnect](c).ReasonCode, 0x98)
		}
		c.receiveEnd()
	}
}

func TestLocked(t *testing.T) {
	locked := startDemo(t, Options{}).find(t, "locked")
	password, err := os.ReadFile(locked.PasswordFile)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, username, password string
		want, want311            byte
	}{
		{"anonymous", "", "", 0x87, 5},
		{"no password", locked.Username, "", 0x86, 5},
		{"wrong password", locked.Username, "guess", 0x86, 5},
		{"wrong user", "someone", string(password), 0x86, 5},
		{"right", locked.Username, string(password), 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := raw{t, locked.dialFirst(t)}
			expectCode(c, "CONNACK", c.connect(&v5.Connect{
				ClientID:     "l",
				UsernameFlag: tt.username != "",
				Username:     tt.username,
				PasswordFlag: tt.password != "",
				Password:     []byte(tt.password),
			}), tt.want)
			if tt.want != 0 {
				c.receiveEnd()
			}

			c311 := raw{t, locked.dialFirst(t)}
			expectCode(c311, "CONNACK", connect311(t, c311, "l", tt.username, tt.password), tt.want311)
			if tt.want311 != 0 {
				c311.receiveEnd()
			}
		})
	}
}
