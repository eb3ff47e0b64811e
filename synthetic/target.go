package synthetic

import (
	"time"

	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Target is a broker endpoint, with the credentials for it.
type Target struct {
	// Name is the label target of the series.
	Name string
	// URL is mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/mqtt, wss://host[:443]/mqtt or
	// unix:///path.
	URL string
	// Username is the user name in the CONNECT. "" means none.
	Username string
	// PasswordFile is read again at each connect. Password is used if it is "".
	PasswordFile string
	Password     mqtt.Secret
	// TLS says which certificates we trust and which one we present.
	TLS TargetTLS
	// Labels are added to every series of the target.
	Labels map[string]string
	// ConnectRate limits the connects per second to this target. Reconnects and connects of all its
	// probes count. A lower value protects the broker, but runs wait longer. 0 means no limit.
	ConnectRate float64
	// KeepaliveBounds are limits of the broker that it does not announce. It raises or lowers the
	// keepalive of a client to these limits. 0 means no limit.
	KeepaliveBounds KeepaliveBounds
}

// KeepaliveBounds are the shortest and the longest keepalive that a broker honours, if it does not
// announce them in the CONNACK.
type KeepaliveBounds struct{ Min, Max time.Duration }

// TargetTLS is the part of TLS that belongs to the target: which certificates we trust, and which
// one we present. All files are read again at each connect.
type TargetTLS struct {
	// CAFile has the trusted certificates in PEM. "" means those of the system.
	CAFile string
	// CertFile has our client certificate with its chain in PEM. "" means none.
	CertFile string
	// KeyFile has the key of the client certificate in PEM.
	KeyFile string
	// ServerName must be in the certificate of the broker, and is sent as SNI. "" means the host of
	// the URL.
	ServerName string
	// InsecureSkipVerify accepts every certificate of the broker. Then anyone on the path can
	// pretend to be the broker.
	InsecureSkipVerify bool
	// VerifyCommonName accepts a certificate without Subject Alternative Names if its Common Name is the
	// name of the server. Old devices do so, and clients of today do not.
	VerifyCommonName bool
}
