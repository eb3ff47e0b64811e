package demo

import (
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"
)

// dropHook ends every connection at a certain age. For each client id it alternates between
// DISCONNECT 0x98 Administrative action and a bare FIN. Every other client id starts with the FIN,
// so that both appear early. MQTT 3.1.1 has no DISCONNECT from the server, so its clients always
// get the FIN.
type dropHook struct {
	auth.AllowHook
	server *mqtt.Server
	work   *sync.WaitGroup // the broker's
	after  time.Duration

	mu        sync.Mutex
	gone      map[*mqtt.Client]chan struct{} // closed when the client has disconnected
	nextTells map[string]bool                // client id: whether its next drop sends DISCONNECT
}

func newDropHook(server *mqtt.Server, work *sync.WaitGroup, after time.Duration) *dropHook {
	return &dropHook{
		server:    server,
		work:      work,
		after:     after,
		gone:      make(map[*mqtt.Client]chan struct{}),
		nextTells: make(map[string]bool),
	}
}

func (*dropHook) ID() string { return "dropper" }

func (h *dropHook) Provides(b byte) bool {
	return b == mqtt.OnSessionEstablished || b == mqtt.OnDisconnect || h.AllowHook.Provides(b)
}

func (h *dropHook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	gone := make(chan struct{})
	h.mu.Lock()
	h.gone[cl] = gone
	h.mu.Unlock()
	h.work.Go(func() {
		due := time.NewTimer(h.after)
		defer due.Stop()
		select {
		case <-gone:
		case <-due.C:
			h.drop(cl)
		}
	})
}

func (h *dropHook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.gone[cl])
	delete(h.gone, cl)
}

func (h *dropHook) drop(cl *mqtt.Client) {
	// The client may be disconnecting just now. Both errors mean only that.
	if cl.Properties.ProtocolVersion == 5 && h.tells(cl.ID) {
		_ = h.server.DisconnectClient(cl, packets.ErrAdministrativeAction)
	} else {
		_ = cl.Net.Conn.(*conn).closeWrite()
	}
}

// tells reports whether this drop of the client id sends DISCONNECT.
func (h *dropHook) tells(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	tells, known := h.nextTells[id]
	if !known {
		tells = len(h.nextTells)%2 == 0
	}
	h.nextTells[id] = !tells
	return tells
}
