package disconnect

import (
	"bytes"
	"slices"
)

// Protocol is what a port speaks. Its values are bounded, so it can be a label.
type Protocol string

// The protocols.
const (
	SpeaksMQTT      Protocol = "mqtt"
	SpeaksTLS       Protocol = "tls"       // and what is inside is not known
	SpeaksMQTTS     Protocol = "mqtts"     // MQTT over TLS
	SpeaksHTTP      Protocol = "http"      // a web server without websockets at this path
	SpeaksHTTPS     Protocol = "https"     // the same over TLS
	SpeaksWebsocket Protocol = "websocket" // over HTTP
	SpeaksWSS       Protocol = "wss"       // websocket over HTTP over TLS
	SpeaksRedis     Protocol = "redis"
	SpeaksSSH       Protocol = "ssh"
	SpeaksNATS      Protocol = "nats"
	SpeaksAMQP      Protocol = "amqp"
	SpeaksMail      Protocol = "mail" // SMTP, FTP and the like, which greet with a number
	SpeaksMySQL     Protocol = "mysql"
)

var protocols = [...]Protocol{SpeaksMQTT, SpeaksTLS, SpeaksMQTTS, SpeaksHTTP, SpeaksHTTPS, SpeaksWebsocket, SpeaksWSS, SpeaksRedis, SpeaksSSH,
	SpeaksNATS, SpeaksAMQP, SpeaksMail, SpeaksMySQL}

// Protocols lists every protocol, in the order of the documentation.
func Protocols() []Protocol { return slices.Clone(protocols[:]) }

// Name returns the protocol as people write it.
func (p Protocol) Name() string {
	switch p {
	case SpeaksMQTT:
		return "MQTT without TLS"
	case SpeaksTLS:
		return "TLS"
	case SpeaksMQTTS:
		return "MQTT over TLS"
	case SpeaksHTTP:
		return "HTTP"
	case SpeaksHTTPS:
		return "HTTP over TLS"
	case SpeaksWebsocket:
		return "websocket"
	case SpeaksWSS:
		return "websocket over TLS"
	case SpeaksRedis:
		return "Redis"
	case SpeaksSSH:
		return "SSH"
	case SpeaksNATS:
		return "the NATS protocol"
	case SpeaksAMQP:
		return "AMQP"
	case SpeaksMail:
		return "a protocol like SMTP or FTP"
	case SpeaksMySQL:
		return "MySQL"
	}
	return string(p)
}

// Scheme returns the scheme of a URL with which pingreq can use a port that speaks the protocol. It is
// "" if there is none.
func (p Protocol) Scheme() string {
	switch p {
	case SpeaksMQTT:
		return "mqtt"
	case SpeaksMQTTS, SpeaksTLS:
		return "mqtts"
	case SpeaksWebsocket:
		return "ws"
	case SpeaksWSS:
		return "wss"
	}
	return ""
}

// Recognize returns what the first bytes from a server that should speak MQTT, TLS or HTTP show that it
// speaks instead. It returns "" for bytes that show nothing, also if they may be MQTT.
func Recognize(first []byte) Protocol {
	switch {
	case bytes.HasPrefix(first, []byte("HTTP/")), bytes.HasPrefix(bytes.ToLower(first), []byte("<html")), bytes.HasPrefix(bytes.ToLower(first), []byte("<!doc")):
		return SpeaksHTTP
	case bytes.HasPrefix(first, []byte("SSH-")):
		return SpeaksSSH
	case bytes.HasPrefix(first, []byte("INFO ")), bytes.HasPrefix(first, []byte("-ERR '")):
		return SpeaksNATS
	case bytes.HasPrefix(first, []byte("-ERR ")), bytes.HasPrefix(first, []byte("-NOAUTH")), bytes.HasPrefix(first, []byte("-DENIED")), bytes.HasPrefix(first, []byte("+PONG")):
		return SpeaksRedis
	case bytes.HasPrefix(first, []byte("AMQP")):
		return SpeaksAMQP
	case len(first) >= 3 && first[0] == 0x15 && first[1] == 3 && first[2] <= 4, len(first) >= 3 && first[0] == 0x16 && first[1] == 3 && first[2] <= 4:
		return SpeaksTLS
	case len(first) >= 4 && first[0] == '2' && first[1] == '2' && first[2] == '0' && (first[3] == ' ' || first[3] == '-'):
		return SpeaksMail
	case len(first) >= 6 && first[3] == 0 && first[4] == 10 && first[5] >= '4' && first[5] <= '9', len(first) >= 7 && first[3] == 0 && first[4] == 0xff && bytes.Contains(first, []byte("Host ")):
		return SpeaksMySQL
	}
	return ""
}
