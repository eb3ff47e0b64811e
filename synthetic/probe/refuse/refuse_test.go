package refuse

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/internal/probetest"
	"github.com/pingreq/pingreq/synthetic/mqtt"
	"github.com/pingreq/pingreq/test/lab"
)

// answers accepts a client and answers its next SUBSCRIBE with a SUBACK, and its next PUBLISH with a
// PUBACK, both with this code. Only the acknowledgements of MQTT 5 have properties.
func answers(code byte) lab.Script {
	return func(c *lab.Conn) error {
		if err := c.Accept(); err != nil {
			return err
		}
		p, err := c.ReadPacket()
		if err != nil {
			return err
		}
		var answer []byte
		switch p.Type() {
		case lab.SUBSCRIBE:
			id, properties := p.Body[:2], []byte(nil)
			if c.Level == 5 {
				properties = []byte{0}
			}
			answer = lab.Frame(byte(lab.SUBACK)<<4, id, properties, []byte{code})
		case lab.PUBLISH:
			topic := 2 + int(p.Body[0])<<8 + int(p.Body[1])
			id, reason := p.Body[topic:topic+2], []byte(nil)
			if c.Level == 5 {
				reason = []byte{code}
			}
			answer = lab.Frame(byte(lab.PUBACK)<<4, id, reason)
		}
		if answer != nil {
			if _, err := c.Write(answer); err != nil {
				return err
			}
		}
		return c.Discard()
	}
}

// closes accepts a client and closes the connection after its next packet.
func closes(c *lab.Conn) error {
	if err := c.Accept(); err != nil {
		return err
	}
	if _, err := c.ReadPacket(); err != nil {
		return err
	}
	return c.CloseNotify()
}

func TestRefuse(t *testing.T) {
	anonymous := func(o *Options) { o.Anonymous = true }
	subscribe := func(o *Options) { o.Subscribe = "secret/#" }
	publish := func(o *Options) { o.Publish = "secret/topic" }
	expecting := func(change func(*Options), reasons ...string) func(*Options) {
		return func(o *Options) {
			change(o)
			o.Expect = reasons
		}
	}
	nobody := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	const v5, v311 = mqtt.V5, mqtt.V311
	for _, tc := range []struct {
		name    string
		script  lab.Script // nil: nobody listens
		change  func(*Options)
		version mqtt.Version
		want    string // outcome and reason
		detail  string // part of the detail
	}{
		{"refused: not authorized", lab.Refuses(0x87), anonymous, v5, "success", "refused as expected: not_authorized"},
		{"refused: bad user name or password", lab.Refuses(0x86), anonymous, v5, "success", "refused as expected: authentication_failed"},
		{"refused: not authorized, 3.1.1", lab.Refuses(5), anonymous, v311, "success", "refused as expected: not_authorized"},
		{"refused: bad user name or password, 3.1.1", lab.Refuses(4), anonymous, v311, "success", "refused as expected: authentication_failed"},
		{"refused for the configured reason", lab.Refuses(0x8a), expecting(anonymous, "banned"), v5, "success", "refused as expected: banned"},

		{"accepted", probetest.AcceptOnly, anonymous, v5, "failure unexpected_acceptance", "a refusal with not_authorized or authentication_failed was expected"},
		{"accepted, 3.1.1", probetest.AcceptOnly, anonymous, v311, "failure unexpected_acceptance", "accepted"},

		{"refused for another reason", lab.Refuses(0x8a), anonymous, v5, "failure wrong_refusal", "but not_authorized or authentication_failed was expected"},
		{"refused for another reason, 3.1.1", lab.Refuses(2), anonymous, v311, "failure wrong_refusal", "protocol_error"},
		{"refused for a reason that is not configured", lab.Refuses(0x87), expecting(anonymous, "banned"), v5, "failure wrong_refusal", "but banned was expected"},

		{"nobody listens", nil, anonymous, v5, "inconclusive", "the broker could not be asked: connection_refused"},
		{"no CONNACK", lab.Silent(), anonymous, v5, "inconclusive", "the broker could not be asked: connack_timeout"},
		{"closed without a CONNACK", lab.ClosesAfterConnect(), anonymous, v5, "inconclusive", "the broker could not be asked: connection_refused"},
		{"busy", lab.Refuses(0x89), anonymous, v5, "inconclusive", "the broker could not be asked: server_busy"},
		{"unavailable, 3.1.1", lab.Refuses(3), anonymous, v311, "inconclusive", "the broker could not be asked: server_busy"},

		{"subscription refused", answers(0x87), subscribe, v5, "success", "refused as expected: not_authorized"},
		{"subscription refused, 3.1.1", answers(0x80), subscribe, v311, "success", "refused as expected: not_authorized"},
		{"subscription refused for another reason", answers(0x97), subscribe, v5, "failure wrong_refusal", "rate_or_quota"},
		{"subscription granted", answers(1), subscribe, v5, "failure unexpected_acceptance", "accepted"},
		{"subscription granted at QoS 0", answers(0), subscribe, v5, "failure unexpected_acceptance", "accepted"},
		{"subscription granted, 3.1.1", answers(1), subscribe, v311, "failure unexpected_acceptance", "accepted"},
		{"no SUBACK", probetest.AcceptOnly, subscribe, v5, "inconclusive", "the broker could not be asked: ack_timeout"},
		{"refused before it can subscribe", lab.Refuses(0x87), subscribe, v5, "success", "refused as expected: not_authorized"},

		{"publish refused", answers(0x87), publish, v5, "success", "refused as expected: not_authorized"},
		{"publish refused for another reason", answers(0x97), publish, v5, "failure wrong_refusal", "rate_or_quota"},
		{"publish accepted", answers(0), publish, v5, "failure unexpected_acceptance", "accepted"},
		{"publish accepted without subscribers", answers(0x10), publish, v5, "failure unexpected_acceptance", "accepted"},
		{"publish acknowledged, 3.1.1", answers(0), publish, v311, "unsupported", "an MQTT 3.1.1 broker can refuse a publish only by closing the connection"},
		{"closed after a publish, 3.1.1", closes, publish, v311, "failure wrong_refusal", "peer_closed"},
		{"closed after a publish, as configured, 3.1.1", closes, expecting(publish, "peer_closed"), v311, "success", "refused as expected: peer_closed"},
		{"no PUBACK", probetest.AcceptOnly, publish, v5, "inconclusive", "the broker could not be asked: ack_timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := probetest.PipeEnv(t, tc.script)
				if tc.script == nil {
					env.Dial = nobody
				}
				p := probetest.Build(t, Kind(), env, probetest.ProfileWith(30*time.Second, tc.version), func(o any) { tc.change(o.(*Options)) })
				r := probetest.Hold(t, p, 10*time.Second).Last(t)
				if got := probetest.VerdictOf(r); got != tc.want || !strings.Contains(r.Detail, tc.detail) {
					t.Errorf("%s: %q, want %s: %q", got, r.Detail, tc.want, tc.detail)
				}
			})
		})
	}
}

// TestRefuseStopped checks that a run proves nothing if we stop it.
func TestRefuseStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := probetest.Build(t, Kind(), probetest.PipeEnv(t, lab.Silent()), synthetic.DefaultProfile(), func(o any) { o.(*Options).Anonymous = true })
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if r := probetest.Once(t, ctx, p).Last(t); r.Outcome != synthetic.Inconclusive {
			t.Errorf("%s: %s", r.Outcome, r.Detail)
		}
	})
}

// TestRefuseCredentials checks which credentials a client sends that must be refused.
func TestRefuseCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	probetest.Overwrite(t, file, []byte("from the file\n"))
	const random = "random"
	type credentials struct{ Username, Password string }
	for _, tc := range []struct {
		name   string
		change func(*Options)
		want   credentials
	}{
		{"anonymous", func(o *Options) { o.Anonymous = true }, credentials{}},
		{"another user without a password", func(o *Options) { o.Username = "guest" }, credentials{"guest", ""}},
		{"another user and password", func(o *Options) { o.Username, o.PasswordFile = "guest", file }, credentials{"guest", "from the file"}},
		{"another password", func(o *Options) { o.PasswordFile = file }, credentials{"device", "from the file"}},
		{"wrong password", func(o *Options) { o.WrongPassword = true }, credentials{"device", random}},
		{"another user with a wrong password", func(o *Options) { o.Username, o.WrongPassword = "guest", true }, credentials{"guest", random}},
		{"subscribe", func(o *Options) { o.Subscribe = "secret/#" }, credentials{"device", "right"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				received := make(chan credentials, 2)
				env := probetest.PipeEnv(t, func(c *lab.Conn) error {
					err := lab.Refuses(0x87)(c)
					received <- credentials{c.Username, c.Password}
					return err
				})
				env.Target.Username, env.Target.Password = "device", "right"
				p := probetest.Build(t, Kind(), env, synthetic.DefaultProfile(), func(o any) { tc.change(o.(*Options)) })
				seen := map[string]bool{}
				for range 2 {
					if r := probetest.Hold(t, p, 10*time.Second).Last(t); r.Outcome != synthetic.Success {
						t.Fatalf("%s: %s", r.Outcome, r.Detail)
					}
					got := <-received
					if tc.want.Password == random {
						if got.Password == "right" || len(got.Password) < 20 || seen[got.Password] {
							t.Errorf("the password %q is not random", got.Password)
						}
						seen[got.Password] = true
						got.Password = random
					}
					if diff := cmp.Diff(tc.want, got); diff != "" {
						t.Errorf("-want +got:\n%s", diff)
					}
				}
				if env.Target.Username != "device" || env.Target.Password != "right" {
					t.Error("the probe changed the credentials of the target")
				}
			})
		})
	}
}

func TestRefuseOptions(t *testing.T) {
	const keyless = "(block)"
	for _, tc := range []struct {
		name string
		o    Options
		want []string // keys of the faults
	}{
		{"nothing to try", Options{}, []string{keyless}},
		{"expect alone", Options{Expect: []string{"banned"}}, []string{keyless}},
		{"anonymous", Options{Anonymous: true}, nil},
		{"username", Options{Username: "guest"}, nil},
		{"password_file", Options{PasswordFile: "file"}, nil},
		{"wrong_password", Options{WrongPassword: true}, nil},
		{"without_client_cert", Options{WithoutClientCert: true}, nil},
		{"max_tls_version", Options{MaxTLSVersion: "1.1"}, nil},
		{"subscribe", Options{Subscribe: "a/+/#"}, nil},
		{"publish", Options{Publish: "a/b"}, nil},
		{"anonymous and subscribe", Options{Anonymous: true, Subscribe: "a"}, nil},
		{"anonymous with a user name", Options{Anonymous: true, Username: "guest"}, []string{"anonymous"}},
		{"anonymous with a password file", Options{Anonymous: true, PasswordFile: "file"}, []string{"anonymous"}},
		{"anonymous with a wrong password", Options{Anonymous: true, WrongPassword: true}, []string{"anonymous"}},
		{"subscribe and publish", Options{Subscribe: "a", Publish: "a"}, []string{"publish"}},
		{"publish to a filter", Options{Publish: "a/#"}, []string{"publish"}},
		{"publish to a filter with +", Options{Publish: "a/+"}, []string{"publish"}},
		{"known reasons", Options{Anonymous: true, Expect: []string{"banned", "not_authorized"}}, nil},
		{"unknown reasons", Options{Anonymous: true, Expect: []string{"banned", "forbidden", "no"}}, []string{"expect", "expect"}},
		{"three faults", Options{Anonymous: true, Username: "guest", Subscribe: "a", Publish: "a/#"}, []string{"anonymous", "publish", "publish"}},
	} {
		var got []string
		for _, fault := range Kind().Check(&tc.o) {
			key := fault.Key
			if key == "" {
				key = keyless
			}
			if got = append(got, key); fault.Problem == "" {
				t.Errorf("%s: the fault of %s has no text", tc.name, key)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", tc.name, diff)
		}
	}
}

// TestRefuseExpects checks which reasons count as the right refusal.
func TestRefuseExpects(t *testing.T) {
	login := []string{"not_authorized", "authentication_failed"}
	overTLS := []string{"certificate_error", "tls_error", "not_authorized", "authentication_failed"}
	for name, tc := range map[string]struct {
		o    Options
		want []string
	}{
		"anonymous":           {Options{Anonymous: true}, login},
		"subscribe":           {Options{Subscribe: "a"}, login},
		"without_client_cert": {Options{WithoutClientCert: true}, overTLS},
		"max_tls_version":     {Options{MaxTLSVersion: "1.1"}, overTLS},
		"configured":          {Options{WithoutClientCert: true, Expect: []string{"banned"}}, []string{"banned"}},
	} {
		if diff := cmp.Diff(tc.want, tc.o.expected()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// TestRefuseTLSOptions checks the options that only make sense with TLS.
func TestRefuseTLSOptions(t *testing.T) {
	k := Kind()
	for _, tc := range []struct {
		name string
		url  string
		min  string // tls.min_version of the profile
		o    Options
		key  string // of the fault of the profile; "": none
		err  string // part of the error of New; "": none
	}{
		{"mqtts", "mqtts://broker", "", Options{WithoutClientCert: true}, "", ""},
		{"wss", "wss://broker", "", Options{MaxTLSVersion: "1.1"}, "", ""},
		{"mqtt", "mqtt://broker", "", Options{WithoutClientCert: true}, "", "which target plant does not use"},
		{"ws", "ws://broker", "", Options{MaxTLSVersion: "1.1"}, "", "which target plant does not use"},
		{"mqtt without TLS options", "mqtt://broker", "", Options{Anonymous: true}, "", ""},
		{"the same version", "mqtts://broker", "1.2", Options{MaxTLSVersion: "1.2"}, "", ""},
		{"an older version", "mqtts://broker", "1.3", Options{MaxTLSVersion: "1.2"}, "max_tls_version", ""},
		{"min_version without max_tls_version", "mqtts://broker", "1.3", Options{Anonymous: true}, "", ""},
	} {
		profile := synthetic.DefaultProfile()
		profile.TLS.MinVersion = tc.min
		key := ""
		for _, fault := range k.CheckProfile(profile, &tc.o) {
			key = fault.Key
		}
		if key != tc.key {
			t.Errorf("%s: fault of %q, want %q", tc.name, key, tc.key)
		}
		_, err := k.New(synthetic.Env{Target: &synthetic.Target{Name: "plant", URL: tc.url}}, &profile, &tc.o)
		if err == nil {
			err = errors.New("")
		}
		if (err.Error() == "") != (tc.err == "") || !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%s: %q, want %q", tc.name, err, tc.err)
		}
	}
}

// TestRefuseGuesses runs probes of one account every few seconds. Few of them try wrong credentials;
// the others are inconclusive and do not connect. What needs no wrong credentials is not limited.
func TestRefuseGuesses(t *testing.T) {
	for name, c := range map[string]struct {
		o       Options
		limited bool
	}{
		"wrong password":    {Options{WrongPassword: true}, true},
		"another user":      {Options{Username: "other"}, true},
		"anonymous":         {Options{Anonymous: true}, false},
		"a forbidden topic": {Options{Subscribe: "secrets/#"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := lab.NewPipeListener()
				b := lab.StartScriptedBroker(t, func(c *lab.Conn) error {
					if err := c.ReadConnect(); err != nil {
						return err
					}
					_, err := c.Write([]byte{0x20, 3, 0, 0x87, 0})
					return err
				}, lab.ScriptedBrokerOptions{Listener: l})
				guesses := synthetic.NewGuesses()
				tried, skipped := 0, 0
				for range 60 {
					p, err := Kind().New(synthetic.Env{Agent: "a", Target: &synthetic.Target{Name: "x", URL: "mqtt://127.0.0.1", Username: "me"}, Guesses: guesses, Dial: l.DialContext},
						new(synthetic.DefaultProfile()), new(c.o))
					if err != nil {
						t.Fatal(err)
					}
					before := b.Accepted()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					r := p.Run(ctx, nil)
					cancel()
					switch {
					case r.Outcome == synthetic.Success && b.Accepted() == before+1:
						tried++
					case r.Outcome == synthetic.Inconclusive && r.Detail == tooManyGuesses && b.Accepted() == before:
						skipped++
					default:
						t.Fatalf("outcome %s, %q", r.Outcome, r.Detail)
					}
					time.Sleep(10 * time.Second) // virtual
				}
				if c.limited && (tried < 10 || tried > 13) || !c.limited && skipped > 0 {
					t.Errorf("%d tried, %d skipped in ten minutes", tried, skipped)
				}
			})
		})
	}
}
