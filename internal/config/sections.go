package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialects"
	"github.com/pingreq/pingreq/internal/history"
	"github.com/pingreq/pingreq/synthetic"
)

// sections is the shape of the file.
type sections struct {
	Agent     Agent              `koanf:"agent" desc:"the agent itself"`
	Metrics   Metrics            `koanf:"metrics" desc:"what is exported"`
	Targets   []targetSection    `koanf:"targets" desc:"the brokers to watch. Required, unless discovery finds them"`
	Discovery []discoverySection `koanf:"discovery" desc:"where to find more targets. They come and go without a restart, and a source that fails keeps its last list. https://github.com/pingreq/pingreq/blob/main/docs/discovery.md explains it"`
	Profiles  []profileSection   `koanf:"profiles" desc:"how clients behave. The profile named default always exists; an entry of that name changes it"`
	Probes    []probeSection     `koanf:"probes" validate:"omitempty,min=1" desc:"what to do and how often. If absent: {suite}"`
	Modules   []moduleSection    `koanf:"modules" desc:"what /probe?module=NAME&target=URL does. If absent: connect and roundtrip, only for the targets of the configuration"`
}

// Agent has the settings of the agent itself.
type Agent struct {
	ID             string   `koanf:"id" validate:"omitempty,name" desc:"name of this agent, part of its topics and client ids. Every agent needs a different name. If empty: the host name"`
	Peers          []string `koanf:"peers" validate:"max=1000,unique,dive,name" desc:"ids of the other agents that watch the same brokers with the same configuration. The own id may be among them. Where a broker reports its clients, theirs count as pingreq's own"`
	TopicPrefix    string   `koanf:"topic_prefix" validate:"topic" desc:"the agent publishes and subscribes only below this topic"`
	ClientIDPrefix string   `koanf:"client_id_prefix" validate:"clientid,max=10" desc:"a client id is this prefix, a hyphen and a hash, unless the profile has a client_id"`
	Shard          string   `koanf:"shard" validate:"omitempty,shard" desc:"divides the targets among several agents with the same configuration: index/count, such as 0/3, 1/3 and 2/3. Each target belongs to one of them. hostname/3 takes the index from the end of the host name, as in a StatefulSet. If empty: all targets"`
	OldNames       bool     `koanf:"old_sys_names" desc:"export what Mosquitto publishes about itself a second time, with the metric names of mosquitto-exporter"`
	HistoryBytes   int      `koanf:"history_bytes" validate:"min=8192,max=1048576" desc:"memory for what the pages show of the past of a probe, in bytes. The default holds the last 60 runs or more, and the last 20 failures"`
}

// Metrics has the settings of what the agent exports.
type Metrics struct {
	Histograms string `koanf:"histograms" validate:"oneof=classic native both" desc:"form of the histograms: classic (a series for each bucket), native (one series each, but only for a Prometheus that scrapes native histograms), both (each scraper gets what it understands)"`
}

func defaultMetrics() Metrics { return Metrics{Histograms: "both"} }

func defaultAgent() Agent {
	return Agent{TopicPrefix: "pingreq", ClientIDPrefix: "pingreq", HistoryBytes: history.DefaultBytes}
}

type targetSection struct {
	Name            string            `koanf:"name" validate:"required,name" desc:"name of the target, and value of the label target of its series"`
	URL             string            `koanf:"url" validate:"required" desc:"mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/path, wss://host[:443]/path or unix:///path, without credentials. tcp:// is another name of mqtt://, and ssl:// and tls:// are other names of mqtts://"`
	Username        string            `koanf:"username" desc:"user name. If empty, none is sent"`
	PasswordFile    string            `koanf:"password_file" desc:"file with the password. It is read again at each connect, and line breaks at its end are ignored. In every key, a relative path starts at the directory of the configuration file"`
	Password        string            `koanf:"password" validate:"omitempty,envref" desc:"alternative to password_file: \"${NAME}\", the environment variable that holds the password"`
	TLS             targetTLSSection  `koanf:"tls" desc:"the certificates to trust and the client certificate, for mqtts and wss. The files are read again at each connect"`
	Labels          map[string]string `koanf:"labels" desc:"labels to add to every series of the target, such as {site: fra}"`
	ConnectRate     float64           `koanf:"connect_rate" validate:"gt=0,max=10000" desc:"largest number of connects per second, over all probes of the target, including reconnects"`
	KeepaliveBounds boundsSection     `koanf:"keepalive_bounds" desc:"the shortest and longest keepalive that the broker honours, if it changes a client's keepalive without announcing it in CONNACK"`
	Sys             sysSection        `koanf:"sys" desc:"what the broker publishes about itself and its clients, mostly under $SYS"`
}

type sysSection struct {
	Enabled bool   `koanf:"enabled" desc:"subscribe to what the broker publishes about itself, and export it. The broker's access rules must allow it"`
	Dialect string `koanf:"dialect" validate:"dialect" desc:"which broker publishes the topics: auto (pingreq detects the broker from the published topics, and aws from the host name), {dialects}"`
	Nodes   string `koanf:"nodes" validate:"oneof=own all" desc:"for a cluster in which every node publishes the topics of all nodes: own (one node, if possible the one that the agent is connected to), all"`
	Events  bool   `koanf:"events" desc:"subscribe to what the broker publishes about its clients, if it is {events}, and count connects and disconnects by reason"`
	Values  int    `koanf:"values" validate:"min=0,max=512" desc:"export at most this many numeric topics that have no metric of their own, as mqtt_broker_sys_value{topic}"`
}

type targetTLSSection struct {
	CAFile             string `koanf:"ca_file" desc:"PEM file with the certificates to trust. If empty: those of the system"`
	CertFile           string `koanf:"cert_file" desc:"PEM file with the client certificate and its chain. If empty: none"`
	KeyFile            string `koanf:"key_file" desc:"PEM file with the key of the client certificate, not encrypted"`
	ServerName         string `koanf:"server_name" desc:"name to verify and to send as SNI. If empty: the host of the url"`
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" desc:"accept any certificate"`
	VerifyCommonName   bool   `koanf:"verify_common_name" desc:"accept a certificate without Subject Alternative Names if its Common Name is the name to verify, as old devices do"`
}

type boundsSection struct {
	Min time.Duration `koanf:"min" validate:"min=0,max=65535s,seconds" desc:"shortest keepalive the broker honours; 0s: no bound"`
	Max time.Duration `koanf:"max" validate:"min=0,max=65535s,seconds" desc:"longest keepalive the broker honours; 0s: no bound"`
}

func defaultTarget() targetSection {
	return targetSection{ConnectRate: 5, Sys: sysSection{Dialect: dialects.Auto, Events: true, Nodes: "own"}}
}

type profileSection struct {
	Name           string            `koanf:"name" validate:"required,name" desc:"name of the profile, and value of the label profile"`
	Protocol       string            `koanf:"protocol" validate:"oneof=5 3.1.1" desc:"version of MQTT"`
	Keepalive      time.Duration     `koanf:"keepalive" validate:"min=0,max=65535s,seconds" desc:"keepalive in CONNECT, in whole seconds; 0s: none"`
	Ping           pingSection       `koanf:"ping" desc:"when to send PINGREQ, and how long to wait for PINGRESP"`
	ClientID       string            `koanf:"client_id" validate:"omitempty,clientidtemplate" desc:"template of the client id, with {agent} {target} {probe} {profile} {role} {slot} {hash}. role distinguishes the clients of one probe, and slot distinguishes the sessions that it holds. If empty: the agent's client_id_prefix, a hyphen and a hash of all these, 23 bytes in all"`
	ClientIDs      []string          `koanf:"client_ids" validate:"max=10000,unique,dive,fixedid" desc:"fixed client ids instead of client_id, for brokers that accept certain ids only. Each client of a target uses one of them as long as its probe is in the plan. config check shows how many a target needs. Another agent needs different ids. Another target at the same broker needs different ids, too"`
	CleanStart     bool              `koanf:"clean_start" desc:"start a new session. In MQTT 3.1.1 this is Clean Session"`
	SessionExpiry  time.Duration     `koanf:"session_expiry" validate:"min=0,max=4294967295s,seconds" desc:"Session Expiry Interval, in whole seconds. MQTT 5 only"`
	ReceiveMaximum uint16            `koanf:"receive_maximum" validate:"min=1,max=65535" desc:"Receive Maximum: how many QoS 1 and QoS 2 messages the client accepts at once. MQTT 5 only"`
	TLS            profileTLSSection `koanf:"tls" desc:"the client's TLS settings, for targets with mqtts and wss"`
	TCP            tcpSection        `koanf:"tcp" desc:"socket options"`
	Websocket      websocketSection  `koanf:"websocket" desc:"the websocket upgrade, for targets with ws and wss"`
	Proxy          string            `koanf:"proxy" desc:"socks5://host:port or http://host:port. If the proxy needs a password, put user:${NAME}@ before the host; the environment variable NAME holds the password. If empty: no proxy"`
	SourceAddress  string            `koanf:"source_address" validate:"omitempty,ip" desc:"IP address to connect from. If empty, the system chooses one"`
	IPFamily       string            `koanf:"ip_family" validate:"oneof=any ipv4 ipv6" desc:"which addresses of a host to use if it has both families"`
}

type pingSection struct {
	When    string        `koanf:"when" validate:"oneof=either sent received both never" desc:"the silence after which the client sends PINGREQ: either direction was silent (either), it sent nothing (sent), it received nothing (received), both directions were silent (both), or it never sends PINGREQ (never)"`
	After   float64       `koanf:"after" validate:"gt=0,max=3" desc:"length of that silence as a multiple of the keepalive (brokers disconnect a client after 1.5)"`
	Timeout time.Duration `koanf:"timeout" validate:"min=0" desc:"how long to wait for PINGRESP; 0s: half the keepalive, but at least 2s and at most 10s"`
}

type profileTLSSection struct {
	MinVersion        string   `koanf:"min_version" validate:"omitempty,oneof=1.0 1.1 1.2 1.3" desc:"oldest version to offer. If empty: 1.2, or max_version if that is older"`
	MaxVersion        string   `koanf:"max_version" validate:"omitempty,oneof=1.0 1.1 1.2 1.3" desc:"newest version to offer. If empty: 1.3"`
	CipherSuites      []string `koanf:"cipher_suites" validate:"unique,dive,cipher" desc:"cipher suites to offer for TLS 1.2 and older, by IANA name. If empty: Go's defaults. The suites of TLS 1.3 cannot be chosen"`
	Curves            []string `koanf:"curves" validate:"unique,dive,oneof=X25519MLKEM768 X25519 P256 P384 P521" desc:"key shares to offer. If empty: Go's defaults, which begin with X25519MLKEM768. X25519MLKEM768 is so large that some middleboxes fail. To find them, compare with a profile that does not offer it"`
	ALPN              []string `koanf:"alpn" validate:"max=10,unique,dive,alpn" desc:"protocols to offer by ALPN, such as mqtt, or x-amzn-mqtt-ca for port 443 of AWS IoT Core. If empty: none"`
	Resumption        bool     `koanf:"resumption" desc:"resume the TLS session of the previous connection"`
	ServerName        string   `koanf:"server_name" desc:"name to verify and to send as SNI, instead of the target's. If empty: the target's"`
	WithoutClientCert bool     `koanf:"without_client_cert" desc:"connect without the target's client certificate"`
}

type tcpSection struct {
	Keepalive   time.Duration `koanf:"keepalive" validate:"omitempty,min=1s,max=32767s,seconds" desc:"idle time and interval of TCP keepalive probes, in whole seconds; 0s: off, because they hide the faults that MQTT's keepalive must find"`
	UserTimeout time.Duration `koanf:"user_timeout" validate:"omitempty,min=1ms,max=24h" desc:"TCP_USER_TIMEOUT: how long sent data may stay unacknowledged; 0s: the kernel's default. Linux only"`
	NoDelay     bool          `koanf:"nodelay" desc:"TCP_NODELAY: send small packets at once"`
	QuickAck    bool          `koanf:"quickack" desc:"TCP_QUICKACK: acknowledge at once. This makes the answers of some brokers 40 ms faster. Devices rarely do this. Linux only"`
}

type websocketSection struct {
	Path    string            `koanf:"path" validate:"omitempty,startswith=/" desc:"path to use instead of the path of the url"`
	Headers map[string]string `koanf:"headers" desc:"headers to add to the upgrade. ${NAME} in a value is replaced by that environment variable. A header with credentials must use it"`
}

func defaultProfile() profileSection {
	d := synthetic.DefaultProfile()
	return profileSection{
		Name: d.Name, Protocol: d.Protocol.String(), Keepalive: d.Keepalive, CleanStart: d.CleanStart, ReceiveMaximum: 32,
		Ping:     pingSection{When: string(d.Ping.When), After: d.Ping.After, Timeout: d.Ping.Timeout},
		TCP:      tcpSection{Keepalive: d.TCP.Keepalive, UserTimeout: d.TCP.UserTimeout, NoDelay: d.TCP.NoDelay, QuickAck: d.TCP.QuickAck},
		IPFamily: d.IPFamily,
	}
}

// probeSection has the keys that every probe has. The block that is named like the kind is decoded
// into the options of the kind.
type probeSection struct {
	Name     string        `koanf:"name" validate:"required,name" desc:"name of the probe, and value of the label probe"`
	Kind     string        `koanf:"kind" validate:"required" desc:"what the probe does"`
	Interval time.Duration `koanf:"interval" validate:"omitempty,min=10ms" desc:"time between the starts of two runs; not for kinds that are kept alive"`
	Timeout  time.Duration `koanf:"timeout" validate:"min=10ms" desc:"longest time of one run, at most the interval. For some kinds the profiles determine how long a run takes: then that time is the default. For a kind that is kept alive: longest time of one connection attempt"`
	Targets  []string      `koanf:"targets" validate:"omitempty,min=1,unique" desc:"names of targets, and of sources of discovery, which stand for the targets that they find. If absent: all"`
	Profiles []string      `koanf:"profiles" validate:"omitempty,min=1,unique" desc:"names of the profiles. If absent: default"`
}

func defaultProbe(s synthetic.Schedule) probeSection {
	return probeSection{Interval: s.Every, Timeout: s.Timeout}
}

// defaulter is a block of options behind a pointer. The pointer is nil while the block is absent.
type defaulter interface {
	// SetDefaults sets the defaults of a block that is present.
	SetDefaults()
}

// newBlock returns a pointer to a new value of type t that has its defaults.
func newBlock(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(defaulter); ok {
		d.SetDefaults()
	}
	return v
}

// descriptions returns a replacer for the descriptions of keys. It replaces {suite}, {dialects} and
// {events} by the lists of the catalog and of package dialects.
func descriptions(catalog synthetic.Catalog) *strings.Replacer {
	var suite, names, events []string
	if catalog.Suite != nil {
		for _, p := range catalog.Suite(synthetic.DefaultProfile().Keepalive) {
			suite = append(suite, p.Title)
		}
	}
	for _, d := range dialects.All() {
		name := d.Name
		if !d.Sys || d.Quiet {
			name += " (client events only)"
		}
		names = append(names, name)
		if d.Events != "" {
			events = append(events, d.Events)
		}
	}
	return strings.NewReplacer("{suite}", enumerate(suite, "and"), "{dialects}", strings.Join(names, ", "), "{events}", enumerate(events, "or"))
}

// enumerate returns words as a list in a sentence: a, b and c.
func enumerate(words []string, last string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
	}
	return strings.Join(words, "")
}
