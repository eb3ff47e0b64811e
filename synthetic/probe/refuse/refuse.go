// Package refuse is the probe that asks: does the broker still refuse what it must refuse?
//
// Each run makes one connection with one client, as someone who must be refused: without or with
// wrong credentials, without the client certificate, or with an old TLS version. Or it connects as
// usual and then subscribes or publishes where it must not. To be refused for an expected reason is
// success. To be accepted is a failure (unexpected_acceptance), and so is a refusal for another
// reason (wrong_refusal). If nobody answers, or the broker is too busy, the run is inconclusive.
package refuse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pingreq/pingreq/synthetic"
	"github.com/pingreq/pingreq/synthetic/client"
	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/mqtt"
)

// Options are the options of kind refuse: what to try, and which refusal is right.
type Options struct {
	Anonymous         bool     `koanf:"anonymous" desc:"connect without user name and password"`
	Username          string   `koanf:"username" desc:"connect with this user name instead of the target's"`
	PasswordFile      string   `koanf:"password_file" desc:"connect with the password in this file instead of the target's"`
	WrongPassword     bool     `koanf:"wrong_password" desc:"connect with a random password"`
	WithoutClientCert bool     `koanf:"without_client_cert" desc:"connect without the client certificate"`
	MaxTLSVersion     string   `koanf:"max_tls_version" validate:"omitempty,oneof=1.0 1.1 1.2 1.3" desc:"offer no TLS version that is newer than this"`
	Subscribe         string   `koanf:"subscribe" desc:"connect as usual, then subscribe to this topic filter, which the broker must refuse"`
	Publish           string   `koanf:"publish" desc:"connect as usual, then publish at QoS 1 to this topic, which the broker must refuse. This needs MQTT 5, because a 3.1.1 broker can refuse a publish only by closing the connection"`
	Expect            []string `koanf:"expect" desc:"expect a refusal for one of these reasons. If absent: not_authorized or authentication_failed, and for without_client_cert and max_tls_version also certificate_error or tls_error"`
}

// expected returns the reasons that count as the right refusal.
func (o *Options) expected() []string {
	switch {
	case len(o.Expect) > 0:
		return o.Expect
	case o.WithoutClientCert || o.MaxTLSVersion != "":
		return synthetic.ReasonLabels(disconnect.CertificateError, disconnect.TLSError, disconnect.NotAuthorized, disconnect.AuthenticationFailed)
	}
	return synthetic.ReasonLabels(disconnect.NotAuthorized, disconnect.AuthenticationFailed)
}

// DefaultOptions returns the options with their defaults.
func DefaultOptions() *Options {
	return &Options{}
}

// Kind returns the declaration of the kind.
func Kind() synthetic.Kind {
	return synthetic.Declare(synthetic.Declaration[Options]{
		Name:     "refuse",
		Help:     "Does the broker still refuse what it must refuse?",
		Schedule: synthetic.Schedule{Every: 10 * time.Minute, Timeout: 10 * time.Second},
		Options:  DefaultOptions,
		Example:  func(o *Options) { o.Anonymous = true },
		Reasons:  synthetic.ReasonLabels(disconnect.UnexpectedAcceptance, disconnect.WrongRefusal),
		Cost: func(synthetic.Profile, *Options) synthetic.Cost {
			return synthetic.Cost{ConnectsPerRun: 1, RefusalsPerRun: 1}
		},
		CheckProfile: func(p synthetic.Profile, o *Options) []synthetic.OptionError {
			if o.MaxTLSVersion == "" || p.TLS.MinVersion <= o.MaxTLSVersion {
				return nil
			}
			return []synthetic.OptionError{{Key: "max_tls_version", Problem: fmt.Sprintf("%s is older than tls.min_version of profile %s, %s: choose another profile", o.MaxTLSVersion, p.Name, p.TLS.MinVersion)}}
		},
		Check: check,
		New: func(env synthetic.Env, p *synthetic.Profile, o *Options) (synthetic.Probe, error) {
			profile, t := *p, *env.Target
			if o.WithoutClientCert {
				profile.TLS.WithoutClientCert = true
			}
			if o.MaxTLSVersion != "" {
				profile.TLS.MaxVersion = o.MaxTLSVersion
			}
			if o.Anonymous || o.Username != "" || o.PasswordFile != "" {
				t.Password, t.PasswordFile = "", o.PasswordFile
			}
			if o.Anonymous || o.Username != "" {
				t.Username = o.Username
			}
			env.Target = &t
			c, err := client.New(env, &profile)
			if err == nil && (o.WithoutClientCert || o.MaxTLSVersion != "") {
				if scheme := c.URL().Scheme; scheme != "mqtts" && scheme != "wss" {
					err = fmt.Errorf("without_client_cert and max_tls_version need TLS, which target %s does not use: choose other targets for the probe", env.Target.Name)
				}
			}
			return &probe{c: c, opts: *o}, err
		},
	})
}

func check(o *Options) (errs []synthetic.OptionError) {
	if !o.Anonymous && o.Username == "" && o.PasswordFile == "" && !o.WrongPassword && !o.WithoutClientCert &&
		o.MaxTLSVersion == "" && o.Subscribe == "" && o.Publish == "" {
		errs = append(errs, synthetic.OptionError{Key: "", Problem: "there is nothing to refuse: set one of anonymous, username, wrong_password, without_client_cert, max_tls_version, subscribe, publish"})
	}
	if o.Anonymous && (o.Username != "" || o.PasswordFile != "" || o.WrongPassword) {
		errs = append(errs, synthetic.OptionError{Key: "anonymous", Problem: "an anonymous client has no user name and no password: remove anonymous or the other credentials"})
	}
	if o.Subscribe != "" && o.Publish != "" {
		errs = append(errs, synthetic.OptionError{Key: "publish", Problem: "one probe tests either subscribe or publish: make two probes"})
	}
	if strings.ContainsAny(o.Publish, "+#") {
		errs = append(errs, synthetic.OptionError{Key: "publish", Problem: "a topic to publish to cannot have wildcards: name one topic"})
	}
	known := synthetic.ReasonLabels(disconnect.Reasons()...)
	for _, e := range o.Expect {
		if !slices.Contains(known, e) {
			errs = append(errs, synthetic.OptionError{Key: "expect", Problem: "unknown reason " + e + ": use " + strings.Join(known, ", ")})
		}
	}
	return errs
}

// probe is the negative test. It succeeds if the broker refuses for an expected reason.
type probe struct {
	c    *client.Client
	opts Options
}

// Run implements [synthetic.Probe].
func (p *probe) Run(ctx context.Context, _ func(synthetic.Event)) *synthetic.Report {
	r := &synthetic.Report{}
	if p.opts.guesses() && !p.c.Env.Guesses.Allow(p.c.Target.Name, p.c.Target.Username) {
		r.Outcome, r.Detail = synthetic.Inconclusive, tooManyGuesses
		return r
	}
	s, err := p.c.Connect(ctx, "refuse", p.useWrongPassword)
	if err == nil {
		r.SetConnected(s)
		err = p.tryAccess(ctx, s)
		p.c.Finish(s, "refuse")
	}
	p.judge(r, err)
	return r
}

// guesses reports whether the probe tries credentials that an account does not accept.
func (o *Options) guesses() bool { return o.WrongPassword || o.Username != "" || o.PasswordFile != "" }

// tooManyGuesses is the detail of a run that would try wrong credentials too often.
const tooManyGuesses = "not tried: wrong credentials are tried at most once a minute for an account, because brokers lock it or ban the address; lengthen the interval, or use fewer profiles"

// Leave implements [synthetic.Leaver].
func (p *probe) Leave() { p.c.Settle("refuse") }

// useWrongPassword sets a random password if the option asks for it. New has made all other changes
// to the credentials.
func (p *probe) useWrongPassword(o *mqtt.Options) {
	if p.opts.WrongPassword {
		o.Password = mqtt.Secret("pingreq-" + rand.Text())
	}
}

// errAccepted says that the broker accepted what it must refuse. errCannotRefuse says that the
// protocol has no refusal for this request.
var (
	errAccepted     = errors.New("accepted")
	errCannotRefuse = errors.New("an MQTT 3.1.1 broker can refuse a publish only by closing the connection, and this one did not: use a profile with protocol 5")
)

// tryAccess subscribes or publishes, if this is what must be refused. Its error says how the broker
// reacted.
func (p *probe) tryAccess(ctx context.Context, s *mqtt.Session) error {
	defer context.AfterFunc(ctx, s.Interrupt)()
	until, _ := ctx.Deadline()
	var id uint16
	var err error
	kind := mqtt.Suback
	switch {
	case p.opts.Subscribe != "":
		id, err = s.Subscribe(mqtt.Filter{Topic: p.opts.Subscribe, QoS: 1})
	case p.opts.Publish != "":
		kind = mqtt.Ack
		id, _, err = s.Publish(mqtt.Message{Topic: p.opts.Publish, QoS: 1, Payload: []byte("pingreq: this must be refused")})
	default:
		return errAccepted
	}
	if err != nil {
		return err
	}
	e, err := s.Await(until, func(e *mqtt.Event) bool { return e.Kind == kind && e.ID == id })
	switch {
	case err != nil:
		return err
	case e.Kind != kind:
		return s.Fail(disconnect.DeadlineAck)
	case kind == mqtt.Suback && len(e.Codes) > 0 && e.Codes[0] >= 0x80:
		return client.RefusedBy(s, disconnect.Suback, e.Codes[0], e.Reason)
	case kind == mqtt.Ack && e.Code >= 0x80:
		return client.RefusedBy(s, disconnect.Puback, e.Code, e.Reason)
	case kind == mqtt.Ack && s.Version() == mqtt.V311:
		return errCannotRefuse
	}
	return errAccepted
}

// judge sets the outcome from the broker's reaction.
func (p *probe) judge(r *synthetic.Report, err error) {
	end, isEnd := errors.AsType[*mqtt.End](err)
	want := p.opts.expected()
	switch {
	case errors.Is(err, errAccepted):
		r.Fail(disconnect.UnexpectedAcceptance, "accepted, but a refusal with %s was expected", strings.Join(want, " or "))
	case errors.Is(err, errCannotRefuse):
		r.Outcome, r.Detail = synthetic.Unsupported, err.Error()
	case !isEnd:
		r.Conclude(err)
	case slices.Contains(want, string(end.Reason)):
		r.Outcome, r.Detail = synthetic.Success, "refused as expected: "+end.Ending.String()
		r.TLS = end.TLS
	case unreachable(end):
		r.Outcome, r.Detail = synthetic.Inconclusive, "the broker could not be asked: "+end.Ending.String()
	default:
		r.Fail(disconnect.WrongRefusal, "refused with %s, but %s was expected", end.Ending.String(), strings.Join(want, " or "))
	}
}

// unreachable reports whether the broker neither accepted nor refused, because it did not answer or
// had no capacity.
func unreachable(e *mqtt.End) bool {
	switch e.Reason {
	case disconnect.ConnectionRefused, disconnect.NetworkTimeout, disconnect.NetworkUnreachable, disconnect.DNSError,
		disconnect.ConnackTimeout, disconnect.HandshakeTimeout, disconnect.ServerBusy, disconnect.ServerShutdown,
		disconnect.ConnectionReset, disconnect.ClientDisconnect, disconnect.AckTimeout:
		return true
	}
	return e.Local()
}
