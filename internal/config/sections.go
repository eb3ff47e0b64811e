package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/pingreq/pingreq/internal/dialect"
	"github.com/pingreq/pingreq/synthetic"
)

// sections is the shape of the file.
type sections struct {
	Agent    Agent            `koanf:"agent" desc:"the agent itself"`
	Targets  []targetSection  `koanf:"targets" validate:"required,min=1" desc:"the brokers to watch"`
	Profiles []profileSection `koanf:"profiles" desc:"how clients behave; the profile named default always exists, and an entry of that name changes it"`
	Probes   []probeSection   `koanf:"probes" validate:"omitempty,min=1" desc:"what to do and how often; absent: {suite}"`
}

// Agent names this agent to the brokers.
type Agent struct {
	ID             string `koanf:"id" validate:"omitempty,name" desc:"name of this agent, part of its topics and client ids; must differ between agents. Empty: the name of the host"`
	TopicPrefix    string `koanf:"topic_prefix" validate:"topic" desc:"the agent publishes and subscribes below this topic only"`
	ClientIDPrefix string `koanf:"client_id_prefix" validate:"clientid,max=10" desc:"client ids are this, a hyphen and a hash, unless the profile has a client_id"`
	OldNames       bool   `koanf:"old_sys_names" desc:"export what Mosquitto says of itself under the names of mosquitto-exporter, too"`
}

func defaultAgent() Agent { return Agent{TopicPrefix: "pingreq", ClientIDPrefix: "pingreq"} }

type targetSection struct {
	Name            string            `koanf:"name" validate:"required,name" desc:"name of the target, the label target of its series"`
	URL             string            `koanf:"url" validate:"required" desc:"mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/path, wss://host[:443]/path or unix:///path; without credentials"`
	Username        string            `koanf:"username" desc:"user name; empty: none is sent"`
	PasswordFile    string            `koanf:"password_file" desc:"file with the password, read anew at each connect; line breaks at its end are ignored. Relative paths, here and elsewhere, start at the directory of the configuration file"`
	Password        string            `koanf:"password" validate:"omitempty,envref" desc:"instead of password_file: \"${NAME}\", the environment variable that holds the password"`
	TLS             targetTLSSection  `koanf:"tls" desc:"whom to trust and who we are, for mqtts and wss; the files are read anew at each connect"`
	Labels          map[string]string `koanf:"labels" desc:"labels added to every series of the target, such as {site: fra}"`
	ConnectRate     float64           `koanf:"connect_rate" validate:"gt=0,max=10000" desc:"connects per second at most, over all probes of the target and reconnects included"`
	KeepaliveBounds boundsSection     `koanf:"keepalive_bounds" desc:"limits to which the broker changes a client's keepalive without saying so in CONNACK"`
	Sys             sysSection        `koanf:"sys" desc:"what the broker says of itself and of its clients, mostly under $SYS"`
}

type sysSection struct {
	Enabled bool   `koanf:"enabled" desc:"subscribe to what the broker publishes of itself and export it; its access rules have to allow it"`
	Dialect string `koanf:"dialect" validate:"dialect" desc:"whose topics they are: auto (found by what is published, aws by the host), {dialects}"`
	Nodes   string `koanf:"nodes" validate:"oneof=own all" desc:"of a cluster whose nodes all publish to each: own (one node, if possible that which we are connected to), all"`
	Events  bool   `koanf:"events" desc:"subscribe to what the broker tells of its clients, if it is {events}, and count connects and disconnects by reason"`
	Values  int    `koanf:"values" validate:"min=0,max=512" desc:"how many numeric topics without a metric of their own to export as mqtt_broker_sys_value{topic}"`
}

type targetTLSSection struct {
	CAFile             string `koanf:"ca_file" desc:"PEM file with the certificates to trust; empty: those of the system"`
	CertFile           string `koanf:"cert_file" desc:"PEM file with our client certificate and its chain; empty: none"`
	KeyFile            string `koanf:"key_file" desc:"PEM file with the key of the client certificate, not encrypted"`
	ServerName         string `koanf:"server_name" desc:"name to verify and to send as SNI; empty: the host of the url"`
	InsecureSkipVerify bool   `koanf:"insecure_skip_verify" desc:"accept any certificate"`
}

type boundsSection struct {
	Min time.Duration `koanf:"min" validate:"min=0,max=65535s,seconds" desc:"shortest keepalive the broker honours; 0s: no bound"`
	Max time.Duration `koanf:"max" validate:"min=0,max=65535s,seconds" desc:"longest keepalive the broker honours; 0s: no bound"`
}

func defaultTarget() targetSection {
	return targetSection{ConnectRate: 5, Sys: sysSection{Dialect: dialect.Auto, Events: true, Nodes: "own"}}
}

type profileSection struct {
	Name           string            `koanf:"name" validate:"required,name" desc:"name of the profile, the label profile"`
	Protocol       string            `koanf:"protocol" validate:"oneof=5 3.1.1" desc:"version of MQTT"`
	Keepalive      time.Duration     `koanf:"keepalive" validate:"min=0,max=65535s,seconds" desc:"keepalive of CONNECT, whole seconds; 0s: none"`
	Ping           pingSection       `koanf:"ping" desc:"when PINGREQ is sent, and how long PINGRESP may take"`
	ClientID       string            `koanf:"client_id" validate:"omitempty,clientidtemplate" desc:"template of the client id, with {agent} {target} {probe} {profile} {role} {slot} {hash}, where role tells the clients of one probe apart and slot the sessions it holds; empty: the agent's client_id_prefix, a hyphen and a hash of all these, 23 bytes in all"`
	ClientIDs      []string          `koanf:"client_ids" validate:"max=10000,unique,dive,fixedid" desc:"instead of client_id, for brokers that let in certain ids only: each client of a target takes one for itself as long as it is in the plan. config check says how many a target needs. Another agent, and another target at the same broker, need others"`
	CleanStart     bool              `koanf:"clean_start" desc:"start a new session; in MQTT 3.1.1 Clean Session"`
	SessionExpiry  time.Duration     `koanf:"session_expiry" validate:"min=0,max=4294967295s,seconds" desc:"Session Expiry Interval, whole seconds, MQTT 5 only"`
	ReceiveMaximum uint16            `koanf:"receive_maximum" validate:"min=1,max=65535" desc:"QoS 1 and 2 messages we take at once, MQTT 5 only"`
	TLS            profileTLSSection `koanf:"tls" desc:"how the client speaks TLS, for targets with mqtts and wss"`
	TCP            tcpSection        `koanf:"tcp" desc:"socket options"`
	Websocket      websocketSection  `koanf:"websocket" desc:"the websocket upgrade, for targets with ws and wss"`
	Proxy          string            `koanf:"proxy" desc:"socks5://host:port or http://host:port, with user:${NAME}@ before the host if need be, where the environment variable NAME holds the password; empty: none"`
	SourceAddress  string            `koanf:"source_address" validate:"omitempty,ip" desc:"IP address to connect from; empty: the system's choice"`
	IPFamily       string            `koanf:"ip_family" validate:"oneof=any ipv4 ipv6" desc:"addresses to use of a host that has both"`
}

type pingSection struct {
	When    string        `koanf:"when" validate:"oneof=either sent received both never" desc:"the silence that makes a PINGREQ due: of one direction (either), of what we sent, of what we received, of both directions, or never"`
	After   float64       `koanf:"after" validate:"gt=0,max=3" desc:"length of that silence as a multiple of the keepalive; brokers give up at 1.5"`
	Timeout time.Duration `koanf:"timeout" validate:"min=0" desc:"time PINGRESP may take; 0s: half the keepalive, but at least 2s and at most 10s"`
}

type profileTLSSection struct {
	MinVersion        string   `koanf:"min_version" validate:"omitempty,oneof=1.0 1.1 1.2 1.3" desc:"oldest version to offer; empty: 1.2, or max_version if that is older"`
	MaxVersion        string   `koanf:"max_version" validate:"omitempty,oneof=1.0 1.1 1.2 1.3" desc:"newest version to offer; empty: 1.3"`
	CipherSuites      []string `koanf:"cipher_suites" validate:"unique,dive,cipher" desc:"cipher suites to offer for TLS 1.2 and older, by IANA name; empty: Go's. Those of TLS 1.3 cannot be chosen"`
	Curves            []string `koanf:"curves" validate:"unique,dive,oneof=X25519MLKEM768 X25519 P256 P384 P521" desc:"key shares to offer; empty: Go's, which begin with X25519MLKEM768. Leave that one out to find middleboxes that choke on its size"`
	Resumption        bool     `koanf:"resumption" desc:"resume the TLS session of the connection before"`
	ServerName        string   `koanf:"server_name" desc:"name to verify and to send as SNI, before the target's; empty: the target's"`
	WithoutClientCert bool     `koanf:"without_client_cert" desc:"do not show the target's client certificate"`
}

type tcpSection struct {
	Keepalive   time.Duration `koanf:"keepalive" validate:"omitempty,min=1s,max=32767s,seconds" desc:"idle time and interval of TCP keepalive probes, whole seconds; 0s: off, since they hide what MQTT's keepalive is to find"`
	UserTimeout time.Duration `koanf:"user_timeout" validate:"omitempty,min=1ms,max=24h" desc:"TCP_USER_TIMEOUT: how long sent data may stay unacknowledged; 0s: the kernel's. Linux"`
	NoDelay     bool          `koanf:"nodelay" desc:"TCP_NODELAY: send small packets at once"`
	QuickAck    bool          `koanf:"quickack" desc:"TCP_QUICKACK: acknowledge at once, which takes 40 ms off some brokers' answers; devices rarely do. Linux"`
}

type websocketSection struct {
	Path    string            `koanf:"path" validate:"omitempty,startswith=/" desc:"path to use instead of that of the url"`
	Headers map[string]string `koanf:"headers" desc:"headers to add to the upgrade; ${NAME} in a value is replaced by that environment variable, and one that holds credentials must use it"`
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

// probeSection is what every probe has; the block named like the kind is decoded into the options of the kind.
type probeSection struct {
	Name     string        `koanf:"name" validate:"required,name" desc:"name of the probe, the label probe"`
	Kind     string        `koanf:"kind" validate:"required" desc:"what is done"`
	Interval time.Duration `koanf:"interval" validate:"omitempty,min=10ms" desc:"time between the starts of two runs; not for kinds that are kept alive"`
	Timeout  time.Duration `koanf:"timeout" validate:"min=10ms" desc:"time one run may take, at most the interval; absent, of a kind whose runs take as long as its profiles need: that; of a kind that is kept alive: one connection attempt"`
	Targets  []string      `koanf:"targets" validate:"omitempty,min=1,unique" desc:"names of the targets; absent: all"`
	Profiles []string      `koanf:"profiles" validate:"omitempty,min=1,unique" desc:"names of the profiles; absent: default"`
}

func defaultProbe(s synthetic.Schedule) probeSection {
	return probeSection{Interval: s.Every, Timeout: s.Timeout}
}

// defaulter is a block of options behind a pointer, which is nil while the block is absent.
type defaulter interface {
	// SetDefaults fills in the defaults of a block that is present.
	SetDefaults()
}

// newBlock makes a value of type t, with its defaults filled in.
func newBlock(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if d, ok := v.Interface().(defaulter); ok {
		d.SetDefaults()
	}
	return v
}

// descriptions replaces what descriptions of keys leave to lists that stand elsewhere: {suite},
// {dialects} and {events}.
func descriptions(catalog synthetic.Catalog) *strings.Replacer {
	var suite, dialects, events []string
	if catalog.Suite != nil {
		for _, p := range catalog.Suite(synthetic.DefaultProfile().Keepalive) {
			suite = append(suite, p.Title)
		}
	}
	for _, d := range dialect.All() {
		name := d.Name
		if !d.Sys {
			name += " (client events alone)"
		}
		dialects = append(dialects, name)
		if d.Events != "" {
			events = append(events, d.Events)
		}
	}
	return strings.NewReplacer("{suite}", enumerate(suite, "and"), "{dialects}", strings.Join(dialects, ", "), "{events}", enumerate(events, "or"))
}

// enumerate writes words as a list in a sentence: a, b and c.
func enumerate(words []string, last string) string {
	if n := len(words) - 1; n > 0 {
		return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
	}
	return strings.Join(words, "")
}
