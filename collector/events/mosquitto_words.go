package events

import (
	"strings"

	"github.com/pingreq/pingreq/synthetic/disconnect"
)

// verdict is the meaning of the words of a closing.
type verdict struct {
	Event
	// known is set if Mosquitto uses the words only for accepted clients.
	known bool
	// echo is set if the words only say that the connection is gone. They may follow other words
	// about the same closing.
	echo bool
	// proto is set for the system's EPROTO, which stands for any error below MQTT, that is, in TLS.
	proto bool
	// mqtt is set for a protocol error in MQTT.
	mqtt bool
}

// mosquittoTails are the ends of lines in the wording until 2.1.0.
var mosquittoTails = []struct {
	tail string
	verdict
}{
	// Also in later versions.
	{" disconnected.", verdict{Event: ended(disconnect.ClientDisconnect, disconnect.ByClient), known: true}},
	{" closed its connection.", mosquittoVerdicts["connection closed by client"]},
	{" has exceeded timeout, disconnecting.", mosquittoVerdicts["exceeded timeout"]},
	{" been disconnected by administrative action.", mosquittoVerdicts["administrative action"]},
	{" already connected, closing old connection.", mosquittoVerdicts["session taken over"]},
}

// mosquittoVerdicts are the words after " disconnected: ", " disconnected, " or " disconnected due
// to ".
var mosquittoVerdicts = map[string]verdict{
	"connection closed by client":          {Event: ended(disconnect.PeerClosed, disconnect.ByUnknown), echo: true},
	"exceeded timeout":                     {Event: ended(disconnect.KeepaliveTimeout, disconnect.ByServer)},
	"session taken over":                   {Event: ended(disconnect.SessionTakenOver, disconnect.ByServer), known: true},
	"administrative action":                {Event: ended(disconnect.AdminAction, disconnect.ByServer), known: true},
	"protocol error":                       {Event: ended(disconnect.ProtocolError, disconnect.ByServer), mqtt: true},
	"malformed packet":                     {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"oversize packet":                      {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"oversize payload":                     {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"receive maximum exceeded":             {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"exceeding the receive maximum":        {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"topic alias invalid":                  {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"quota exceeded":                       {Event: ended(disconnect.RateOrQuota, disconnect.ByServer)},
	"out of memory":                        {Event: ended(disconnect.ServerBusy, disconnect.ByServer)},
	"implementation specific error":        {Event: ended(disconnect.Other, disconnect.ByServer)},
	"used disallowed feature":              {Event: ended(disconnect.NotSupported, disconnect.ByServer)},
	"using not allowed feature":            {Event: ended(disconnect.NotSupported, disconnect.ByServer)},
	"QoS too high or retain not supported": {Event: ended(disconnect.NotSupported, disconnect.ByServer)},
	"no longer authorised":                 {Event: ended(disconnect.AuthenticationFailed, disconnect.ByServer)},

	// Mosquitto uses these words only in answer to a CONNECT.
	"not authorised":              {Event: failed(disconnect.AuthenticationFailed, disconnect.ByServer)},
	"bad username or password":    {Event: failed(disconnect.AuthenticationFailed, disconnect.ByServer)},
	"bad authentication method":   {Event: failed(disconnect.AuthenticationFailed, disconnect.ByServer)},
	"client identifier not valid": {Event: failed(disconnect.ProtocolError, disconnect.ByServer)},
	"client banned":               {Event: failed(disconnect.Banned, disconnect.ByServer)},
	"connection rate exceeded":    {Event: failed(disconnect.RateOrQuota, disconnect.ByServer)},
	"server unavailable":          {Event: failed(disconnect.ServerBusy, disconnect.ByServer)},
	"server busy":                 {Event: failed(disconnect.ServerBusy, disconnect.ByServer)},
	"non-matching http origin":    {Event: failed(disconnect.WebsocketError, disconnect.ByServer)},

	// The system's errors, in the wording of glibc, musl and macOS.
	"Protocol error":                   {Event: ended(disconnect.ConnectionReset, disconnect.ByUnknown), proto: true},
	"Connection reset by peer":         {Event: ended(disconnect.ConnectionReset, disconnect.ByUnknown)},
	"Broken pipe":                      {Event: ended(disconnect.ConnectionReset, disconnect.ByUnknown)},
	"Software caused connection abort": {Event: ended(disconnect.ConnectionReset, disconnect.ByUnknown)},
	"Connection aborted":               {Event: ended(disconnect.ConnectionReset, disconnect.ByUnknown)},
	"Connection timed out":             {Event: ended(disconnect.NetworkTimeout, disconnect.ByNetwork)},
	"Operation timed out":              {Event: ended(disconnect.NetworkTimeout, disconnect.ByNetwork)},
	"No route to host":                 {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
	"Host is unreachable":              {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
	"Network is unreachable":           {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
	"Network unreachable":              {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
	"Network is down":                  {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
	"Host is down":                     {Event: ended(disconnect.NetworkUnreachable, disconnect.ByNetwork)},
}

// mosquittoErrors are the texts of mosquitto_strerror that have a special meaning.
var mosquittoErrors = map[string]verdict{
	"The connection was lost": {Event: ended(disconnect.PeerClosed, disconnect.ByUnknown)},
	"A network protocol error occurred when communicating with the broker": {Event: ended(disconnect.ProtocolError, disconnect.ByServer), mqtt: true},
	"Malformed UTF-8":                            {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"Duplicate property in property list":        {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"Packet larger than supported by the server": {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"Payload too large":                          {Event: ended(disconnect.ProtocolError, disconnect.ByServer)},
	"Out of memory":                              {Event: ended(disconnect.ServerBusy, disconnect.ByServer)},
	"Authorisation failed":                       {Event: failed(disconnect.AuthenticationFailed, disconnect.ByServer)},
	"Access denied by ACL":                       {Event: ended(disconnect.NotAuthorized, disconnect.ByServer)},
	"This feature is not supported":              {Event: ended(disconnect.NotSupported, disconnect.ByServer)},
	"Requested QoS not supported on server":      {Event: ended(disconnect.NotSupported, disconnect.ByServer)},
	"A TLS error occurred":                       {Event: ended(disconnect.TLSError, disconnect.ByUnknown), proto: true},
	"TLS handshake failed":                       {Event: ended(disconnect.TLSError, disconnect.ByUnknown), proto: true},
}

// mosquittoRefusals are ends of "Client connection from <address>…".
var mosquittoRefusals = []struct {
	tail string
	Event
}{
	{" denied: max_connections exceeded.", failed(disconnect.RateOrQuota, disconnect.ByServer)},
	{" denied access by tcpd.", failed(disconnect.NotAuthorized, disconnect.ByServer)},
}

var (
	mosquittoExhausted = failed(disconnect.ServerBusy, disconnect.ByServer)
	mosquittoUnknown   = verdict{Event: ended(disconnect.Other, disconnect.ByUnknown)}
)

// mosquittoVerdict splits the text after "Client " into the client and what happened to it.
func mosquittoVerdict(s string) (subject string, v verdict, ok bool) {
	for i := range mosquittoTails {
		if subject, ok := strings.CutSuffix(s, mosquittoTails[i].tail); ok {
			return subject, mosquittoTails[i].verdict, true
		}
	}
	at, words := -1, ""
	for _, by := range []string{" disconnected: ", " disconnected, ", " disconnected due to "} {
		if i := strings.LastIndex(s, by); i > at {
			at, words = i, s[i+len(by):]
		}
	}
	if at < 0 {
		return "", verdict{}, false
	}
	words = strings.TrimSuffix(words, ".")
	if text, ok := strings.CutPrefix(words, "bad socket read/write: "); ok {
		return s[:at], mosquittoError(text), true
	}
	words, _, _ = strings.Cut(words, " (")
	if v, ok = mosquittoVerdicts[words]; !ok {
		v = mosquittoUnknown
	}
	return s[:at], v, true
}

// mosquittoError returns the verdict for a text of mosquitto_strerror.
func mosquittoError(text string) verdict {
	if v, ok := mosquittoErrors[strings.TrimSuffix(text, ".")]; ok {
		return v
	}
	return mosquittoUnknown
}
