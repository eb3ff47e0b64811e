package test

import (
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pingreq/pingreq/test/lab"
)

// place is where a fault happens.
type place struct {
	target string // keys of the target
	strike func() // makes the fault happen; nil: it exists from the start
}

// at is a target that has only a URL.
func at(url string) place { return place{target: fmt.Sprintf("url: %q", url)} }

// with adds keys to the target.
func (p place) with(keys string) place {
	p.target += ", " + keys
	return p
}

// when sets the function that makes the fault happen.
func (p place) when(strike func()) place {
	p.strike = strike
	return p
}

// faultsHere sets up the places of the faults that need no network. They are on the loopback
// interface.
func faultsHere(t *testing.T) *faultLab {
	scripted := func(s lab.Script) place { return at(lab.StartScriptedBroker(t, s, lab.ScriptedBrokerOptions{}).URL()) }
	host := func(url string) string { return url[strings.Index(url, "://")+3:] }
	ca := lab.NewCA(t)

	open := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca})
	stopped := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca})
	orderly := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca})
	killed := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca})
	closed := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"known": "right"}})
	acl := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"reader": "r"},
		ACL: "user reader\ntopic read pingreq/#\n"})
	expired := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, Certificate: ca.Server(t, lab.Expired())})
	misnamed := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, Certificate: ca.Server(t, lab.Names("other.example"))})
	managed := lab.StartDynamicSecurity(t)
	nats := lab.StartNATS(t, lab.NATSOptions{})
	lockedNATS := lab.StartNATS(t, lab.NATSOptions{User: "known", Password: "right"})
	ejabberd := lab.StartEjabberd(t)
	mochi := lab.StartMochi(t)
	balancer := lab.StartBalancer(t, lab.BalancerOptions{Server: host(open.URL), ClientTimeout: idleSecond})
	behind := lab.StartBroker(t, lab.BrokerOptions{})
	alone, gateway := lab.StartGateway(t, lab.GatewayOptions{Broker: behind.Addr().String()}), lab.StartGateway(t, lab.GatewayOptions{Broker: host(open.URL)})
	idling := lab.StartGateway(t, lab.GatewayOptions{Broker: host(open.URL), Idle: idleSecond})
	jammed := lab.StartScriptedBroker(t, lab.Responder{Jam: 8}.Serve,
		lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{ca.Server(t).TLS}}})
	http := hostPort(lab.Port(t))
	lab.StartHAProxy(t, fmt.Sprintf(`userlist users
    user known insecure-password right
frontend http
    mode http
    bind %s
    timeout client 30s
    http-request return status 502 if METH_CONNECT
    http-request deny deny_status 404 if { path /missing }
    http-request auth if { path /private }
    http-request redirect location http://other.example/ if { path /moved }
    http-request deny deny_status 429 if { path /limited }
    default_backend none
backend none
    mode http
    timeout connect 1s
    timeout server 1s
`, http))

	secure, proxied, empty, dead := hostPort(lab.Port(t)), hostPort(lab.Port(t)), hostPort(lab.Port(t)), hostPort(lab.Port(t))
	lab.StartHAProxy(t, fmt.Sprintf(`defaults
    mode tcp
    timeout connect 1s
    timeout client 30s
    timeout server 30s
listen secure
    bind %s ssl crt %s
    server broker %s
listen proxied
    bind %s accept-proxy
    server broker %s
listen empty
    bind %s
listen dead
    bind %s
    server broker 127.0.0.1:1
`, secure, ca.Server(t).BundleFile, host(open.URL), proxied, host(open.URL), empty, dead))
	full := lab.StartMosquitto(t, lab.MosquittoOptions{CA: ca, ListenerConfig: []string{"max_connections 1"}})
	guest, err := net.Dial("tcp", host(full.URL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guest.Close() })
	if _, err := guest.Write([]byte("\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01g")); err != nil {
		t.Fatal(err)
	}
	slowBalancer := lab.StartBalancer(t, lab.BalancerOptions{Server: host(open.URL), ClientTimeout: 3 * time.Second})
	byName := lab.StartMosquitto(t, lab.MosquittoOptions{Users: map[string]string{"pingreq": "p"}, ListenerConfig: []string{"use_username_as_clientid true"}})
	closesLate := func(c *lab.Conn) error {
		if err := c.ReadConnect(); err != nil {
			return err
		}
		if err := c.Sleep(2500 * time.Millisecond); err != nil {
			return err
		}
		return c.CloseNotify()
	}
	secured := func(c tls.Certificate) place {
		b := lab.StartScriptedBroker(t, lab.Responder{}.Serve, lab.ScriptedBrokerOptions{TLS: &tls.Config{Certificates: []tls.Certificate{c}}})
		return at(b.URL()).with(trust(ca))
	}
	chained := func(o lab.CertOption) place { return secured(ca.Server(t, o).TLS) }

	known := func(p place, user, password string) place {
		return p.with(fmt.Sprintf("username: %q, password_file: %q", user, writeFile(t, "password", password)))
	}
	login := func(p place) place { return known(p, ejabberd.Username, ejabberd.Password) }
	stop := func() { stopped.Signal(syscall.SIGSTOP) }
	nothing := func() {} // one strike is enough
	return &faultLab{proxy: "http://" + http, places: map[string]place{
		"lifetime": at(open.URL),

		"silent-mosquitto":     at(open.URL),
		"silent-mosquitto-tls": at(open.TLS).with(trust(ca)),
		"silent-ejabberd":      login(at(ejabberd.URL)),

		"idle-gateway": at(idling.URL),

		"stopped-established": at(stopped.URL).when(stop),
		"stopped-mqtt":        at(stopped.URL).when(nothing),
		"stopped-tls":         at(stopped.TLS).with(trust(ca)).when(nothing),
		"stopped-websocket":   at(stopped.WS).when(nothing),

		"jammed":    at(jammed.URL()).with(trust(ca)),
		"no-puback": scripted(lab.Responder{Ignore: []lab.PacketType{lab.PUBLISH}}.Serve),

		"idle-balancer":    at(balancer.URL),
		"killed":           at(killed.URL).when(killed.Kill),
		"twins-mosquitto":  at(open.URL),
		"stopped-in-order": at(orderly.TLS).with(trust(ca)).when(orderly.Stop),
		"says-0x00":        scripted(lab.Disconnects(0xe0, 0)),

		"broker-rst": scripted(func(c *lab.Conn) error {
			if err := c.Accept(); err != nil {
				return err
			}
			return c.Reset()
		}),

		"closed-port": at("mqtt://" + hostPort(lab.Port(t))),
		"no-socket":   at("unix://" + filepath.Join(t.TempDir(), "none")),
		"proxy-502":   at(open.URL),

		"tls-to-http": at("mqtts://" + http).with(trust(ca)),
		"old-tls":     at(open.TLS).with(trust(ca)),

		"expired":               at(expired.TLS).with(trust(ca)),
		"unknown-authority":     at(open.TLS).with(trust(lab.NewCA(t))),
		"wrong-name":            at(misnamed.TLS).with(trust(ca)),
		"no-client-certificate": at(open.MutualTLS).with(trust(ca)),

		"http-404": at("ws://" + http + "/missing"),
		"http-401": at("ws://" + http + "/private"),
		"http-302": at("ws://" + http + "/moved"),
		"http-503": at("ws://" + http + "/mqtt"),
		"http-429": at("ws://" + http + "/limited"),

		"connack-3":    scripted(lab.Refuses(3)),
		"connack-4":    scripted(lab.Refuses(4)),
		"connack-0x86": scripted(lab.Refuses(0x86)),
		"connack-0x8a": scripted(lab.Refuses(0x8a)),
		"connack-0x9d": scripted(lab.Refuses(0x9d)),
		"connack-0x9f": scripted(lab.Refuses(0x9f)),

		"wrong-password":      known(at(closed.URL), "known", "wrong"),
		"wrong-password-nats": known(at(lockedNATS.URL), "known", "wrong"),
		"may-not-subscribe":   known(at(managed.URL), lab.DynsecPublisher, lab.DynsecPassword),
		"may-not-publish":     known(at(acl.URL), "reader", "r"),

		"twins-ejabberd": login(at(ejabberd.URL)),
		"disabled":       known(at(managed.URL), lab.DynsecUser, lab.DynsecPassword).when(func() { managed.DisableUser(lab.DynsecUser) }),

		"floods":    scripted(lab.Pour(byte(lab.PINGRESP)<<4, 0)),
		"says-0x82": scripted(lab.Disconnects(0xe0, 1, 0x82)),
		"says-0x83": scripted(lab.Disconnects(0xe0, 1, 0x83)),
		"says-0x97": scripted(lab.Disconnects(0xe0, 1, 0x97)),
		"says-0x9c": scripted(lab.Disconnects(0xe0, 1, 0x9c)),
		"says-0xa0": scripted(lab.Disconnects(0xe0, 1, 0xa0)),

		"ejabberd-stops":   login(at(ejabberd.URL)).when(ejabberd.Stop),
		"mochi-stops":      at(mochi.URL).when(mochi.Stop),
		"gateway-restarts": at(gateway.URL).when(gateway.Restart),
		"gateway-alone":    at(alone.URL).when(behind.Close),

		"plain-to-tls":         at("mqtt://" + host(open.TLS)),
		"plain-to-haproxy-tls": at("mqtt://" + secure),
		"waiting-http":         at("mqtt://" + lab.StartWebServer(t)),
		"plain-to-websocket":   at("mqtt://" + host(open.WS)),
		"redis":                scripted(lab.Redis()),
		"ssh":                  scripted(lab.Says("SSH-2.0-OpenSSH_9.2p1\r\n")),
		"nats-own":             at("mqtt://" + nats.Client),
		"tls-to-plain":         at("mqtts://" + host(open.URL)),
		"tls-to-ssh":           at("mqtts://" + lab.StartScriptedBroker(t, lab.Says("SSH-2.0-OpenSSH_9.2p1\r\n"), lab.ScriptedBrokerOptions{}).Addr().String()),
		"ws-to-plain":          at("ws://" + host(open.URL)),
		"proxy-protocol":       at("mqtt://" + proxied),
		"full":                 at(full.URL),
		"nothing-behind":       at("mqtts://" + empty),
		"dead-behind":          at("mqtts://" + dead),
		"alarm":                scripted(closesLate),
		"alarm-impatient":      scripted(closesLate),
		"mute-port":            scripted(lab.Silent()),

		"no-subscribe":   scripted(lab.EndsOn(lab.SUBSCRIBE, false)),
		"no-publish":     scripted(lab.EndsOn(lab.PUBLISH, false)),
		"unread-publish": scripted(lab.EndsOn(lab.PUBLISH, true)),
		"says-0x95":      scripted(lab.Disconnects(0xe0, 1, 0x95)),
		"one-keepalive":  scripted(lab.EndsAt(2 * time.Second)),
		"one-age":        scripted(lab.EndsAt(3500 * time.Millisecond)),
		"one-idle-time":  at(slowBalancer.URL),

		"max-keepalive": scripted(lab.Refuses(2)),

		"not-yet-valid":    chained(lab.NotBefore(time.Now().Add(24 * time.Hour))),
		"only-common-name": chained(lab.NoNames()),
		"self-signed":      secured(lab.SelfSigned(t)),
		"incomplete-chain": secured(ca.Intermediate(t).Server(t, lab.IssuerURL("http://ca.example/intermediate.der")).TLS),

		"user-name-id": known(at(byName.URL), "pingreq", "p"),

		"mqtt-to-http":  at("mqtt://" + http),
		"mqtt5-to-nats": at(nats.URL),
	}}
}

func hostPort(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }
