package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Target is a broker endpoint and how to be let in.
type Target struct {
	Name string
	// URL is mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/mqtt, wss://host[:443]/mqtt or unix:///path.
	URL      string
	Username string
	// PasswordFile is read anew at each connect; Password is used when it is empty.
	PasswordFile string
	Password     mqtt.Secret
	TLS          TargetTLS
	Labels       map[string]string // added to every series of the target
	// ConnectRate bounds the connects per second to this target, reconnects of all its probes included.
	ConnectRate float64
	// KeepaliveBounds are the limits to which the broker silently changes a client's keepalive; 0 = none.
	KeepaliveBounds KeepaliveBounds
}

// KeepaliveBounds are the smallest and the largest keepalive a broker honours, where it does not say so in CONNACK.
type KeepaliveBounds struct{ Min, Max time.Duration }

// effective is the keepalive that the broker holds a session to.
func (t *Target) EffectiveKeepalive(s *mqtt.Session) time.Duration {
	k := s.Keepalive()
	if b := t.KeepaliveBounds; s.Connack().ServerKeepAlive == nil && k > 0 {
		if k = max(k, b.Min); b.Max > 0 {
			k = min(k, b.Max)
		}
	}
	return k
}

// TargetTLS is the target's side of TLS: whom to trust, and who we are. Files are read anew at each connect.
type TargetTLS struct {
	CAFile             string // PEM; empty: the system's roots
	CertFile           string // PEM of our client certificate with its chain
	KeyFile            string // PEM of its key
	ServerName         string // verified, and sent as SNI; empty: the host of the URL
	InsecureSkipVerify bool
}
