package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pingreq/pingreq/synthetic/disconnect"
	"github.com/pingreq/pingreq/synthetic/internal/aside"
)

// Dial connects, phase by phase, and returns once the broker has accepted the connection. The
// deadline of ctx limits the whole attempt. The error is an [*End] with the complete account of the
// attempt; only for invalid options it is a plain error.
func Dial(ctx context.Context, o Options) (*Session, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	a := &attempt{o: o, account: Account{Start: time.Now()}, phase: disconnect.PhaseTCP}
	a.mark = a.account.Start
	var s *Session
	var err error
	aside.Run(func() { s, err = a.run(ctx) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// attempt is a connection attempt in progress.
type attempt struct {
	o       Options
	account Account
	phase   disconnect.Phase // the phase that runs now
	mark    time.Time        // when that phase began
	// stream has its wire from the moment a socket is open, and its Conn from the moment MQTT can
	// be sent over it.
	stream stream
	frames *framer // nil until CONNECT is sent
	// httpStatus is the HTTP status of a refused websocket upgrade or proxy CONNECT.
	httpStatus int
	held       *Lease // the descriptors of the lookup, then of the socket
	// connectSize is the size of our CONNECT in bytes.
	connectSize int
}

// leave ends the running phase. The next phase begins at the same moment, so that the phases add up
// to the total.
func (a *attempt) leave(now time.Time) {
	if now.Before(a.mark) { // the server answered before we asked
		now = a.mark
	}
	if last := len(a.account.Phases) - 1; last >= 0 && a.account.Phases[last].Phase == a.phase {
		a.account.Phases[last].Duration += now.Sub(a.mark)
	} else {
		a.account.Phases = append(a.account.Phases, PhaseTime{a.phase, now.Sub(a.mark)})
	}
	a.mark = now
}

func (a *attempt) run(ctx context.Context) (s *Session, err error) {
	conn, err := a.socket(ctx)
	if err != nil {
		a.held.Release()
		return nil, a.fail(ctx, err)
	}
	now := time.Now()
	a.stream.wire = &wire{Conn: conn, open: a.o.Open, intake: newIntake(a.o.Inbound, a.o.Paced, now), lease: a.held, opened: now,
		heard: a.o.Heard.of(remoteName(conn, a.o.URL))}
	a.o.Open.add(a.stream.wire)
	a.account.Remote = remoteName(conn, a.o.URL)
	// From here on, the end of ctx sets a deadline in the past on the socket.
	stop := context.AfterFunc(ctx, func() {
		a.stream.wire.hurry.Store(true)
		_ = conn.SetDeadline(past)
	})
	returned := false
	defer func() {
		stopped := stop()
		if !returned { // a panic
			a.close()
			return
		}
		if !stopped && err == nil { // ctx ended at the last moment and has set its deadline
			s.Disconnect(0)
			s, err = nil, a.fail(ctx, ctx.Err())
		}
	}()
	s, err = a.greet(ctx)
	returned = true
	return s, err
}

// greet does everything that comes after the socket is open.
func (a *attempt) greet(ctx context.Context) (*Session, error) {
	if err := a.upgrade(ctx); err != nil {
		f := a.fail(ctx, err)
		a.close()
		return nil, f
	}
	a.phase = disconnect.PhaseMQTT
	s, end := a.hello(ctx)
	if end != nil {
		a.close()
		return nil, end
	}
	return s, nil
}

// close closes the connection of an attempt that failed, and gives back the memory that was taken for
// a large CONNACK.
func (a *attempt) close() {
	a.stream.close()
	if a.frames != nil {
		_ = a.frames.charge(0)
	}
}

// socket resolves the name and connects, through the proxy if there is one.
func (a *attempt) socket(ctx context.Context) (net.Conn, error) {
	u := a.o.URL
	d := net.Dialer{KeepAlive: -1, ControlContext: a.o.TCP.control()}
	if k := a.o.TCP.Keepalive; k > 0 {
		d.KeepAlive, d.KeepAliveConfig = 0, net.KeepAliveConfig{Enable: true, Idle: k, Interval: k, Count: 3}
	}
	dial := a.o.DialSocket
	if dial == nil {
		dial = d.DialContext
	}
	if u.Scheme == "unix" {
		if err := a.lease(ctx, 1); err != nil {
			return nil, err
		}
		conn, err := dial(ctx, "unix", u.Path)
		if err == nil {
			a.leave(time.Now())
		}
		return conn, err
	}
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = Schemes()[u.Scheme]
	}
	hopHost, hopPort := host, port
	if p := a.o.Proxy; p != nil {
		if hopHost, hopPort = p.Hostname(), p.Port(); hopPort == "" {
			hopPort = map[string]string{"http": "80"}[p.Scheme]
			if hopPort == "" {
				hopPort = "1080"
			}
		}
	}
	if a.o.Proxy != nil && a.o.Address.IsValid() {
		host = a.o.Address.String()
	}
	addrs, err := a.resolve(ctx, hopHost)
	if err != nil {
		return nil, err
	}
	if err := a.lease(ctx, 1); err != nil {
		return nil, err
	}
	if a.o.Source.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: a.o.Source.AsSlice(), Zone: a.o.Source.Zone()}
	}
	conn, err := dialFirst(ctx, dial, addrs, hopPort)
	if err != nil {
		return nil, err
	}
	a.leave(time.Now())
	if t, ok := conn.(*net.TCPConn); ok {
		// This fails only on a dead socket. The next write then returns a better error.
		_ = t.SetNoDelay(a.o.TCP.NoDelay)
	}
	if a.o.Proxy != nil {
		a.phase = disconnect.PhaseProxy
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
		status, err := viaProxy(ctx, conn, a.o.Proxy, net.JoinHostPort(host, port))
		a.httpStatus = status
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		a.leave(time.Now())
	}
	return conn, nil
}

// resolve looks up host. Resolving is a phase of its own, which is skipped if host is an address.
func (a *attempt) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a.o.Address.IsValid() && a.o.Proxy == nil {
		return []netip.Addr{a.o.Address}, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	a.phase = disconnect.PhaseResolve
	if err := a.lease(ctx, lookupSockets); err != nil {
		return nil, err
	}
	addrs, err := resolve(ctx, a.o.Resolver, host, a.o.IPFamily)
	if err != nil {
		return nil, err
	}
	a.leave(time.Now())
	a.phase = disconnect.PhaseTCP
	return addrs, nil
}

// lookupSockets is how many sockets one lookup opens at once, for the two address families.
const lookupSockets = 2

// lease makes the attempt hold n descriptors of the limit in the options.
func (a *attempt) lease(ctx context.Context, n int64) (err error) {
	if a.held != nil {
		a.held.keep(n)
		return nil
	}
	a.held, err = a.o.Sockets.take(ctx, n)
	a.mark = time.Now() // waiting is no part of a phase
	return err
}

// Resolve looks up the addresses of the host, as [Dial] does.
func (o *Options) Resolve(ctx context.Context) ([]netip.Addr, error) {
	l, err := o.Sockets.take(ctx, lookupSockets)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	return resolve(ctx, o.Resolver, o.URL.Hostname(), o.IPFamily)
}

// resolve looks up the addresses of a host. If family is "ipv4" or "ipv6", it returns only
// addresses of that family.
func resolve(ctx context.Context, r *net.Resolver, host, family string) ([]netip.Addr, error) {
	network := map[string]string{"ipv4": "ip4", "ipv6": "ip6"}[family]
	if network == "" {
		network = "ip"
	}
	addrs, err := r.LookupNetIP(ctx, network, host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// dialFirst tries the addresses one after the other. Each of them gets an equal share of the time
// that is left. If all fail, the error of the first one is returned.
func dialFirst(ctx context.Context, dial DialFunc, addrs []netip.Addr, port string) (net.Conn, error) {
	var first error
	for i, addr := range addrs {
		try, cancel := ctx, context.CancelFunc(func() {})
		if dl, ok := ctx.Deadline(); ok && i < len(addrs)-1 {
			share := time.Until(dl) / time.Duration(len(addrs)-i)
			try, cancel = context.WithTimeout(ctx, max(share, 2*time.Second))
		}
		conn, err := dial(try, "tcp", net.JoinHostPort(addr.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// upgrade does the TLS handshake and the websocket upgrade, as the URL's scheme requires.
func (a *attempt) upgrade(ctx context.Context) error {
	scheme := a.o.URL.Scheme
	var conn net.Conn = a.stream.wire
	if scheme == "mqtts" || scheme == "wss" {
		a.phase = disconnect.PhaseTLS
		t, err := a.handshake()
		if err != nil {
			return err
		}
		conn = t
		a.leave(time.Now())
	}
	if scheme == "ws" || scheme == "wss" {
		a.phase = disconnect.PhaseWebsocket
		ws, status, err := wsDial(conn, a.stream.wire, a.o.URL, a.o.WSHeader)
		if err != nil {
			a.httpStatus = status
			return err
		}
		a.stream.Conn, a.stream.ws = ws, ws
		if err := ctx.Err(); err != nil { // the upgrade clears the deadline when it ends
			return err
		}
		a.leave(time.Now())
		return nil
	}
	a.stream.Conn = conn
	return nil
}

// handshake does the TLS handshake. It keeps the facts of the server's certificates even if they do
// not verify.
func (a *attempt) handshake() (*tls.Conn, error) {
	cfg := &tls.Config{}
	if a.o.TLS != nil {
		cfg = a.o.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = a.o.URL.Hostname()
	}
	facts := &TLSFacts{}
	a.account.TLS = facts
	own := cfg.Certificates
	cfg.GetClientCertificate = func(info *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		facts.ClientCertAsked = true
		for i := range own {
			if err := info.SupportsCertificate(&own[i]); err != nil && len(own) > 1 {
				continue
			}
			if leaf := own[i].Leaf; leaf != nil {
				facts.ClientCertExpiry, facts.ClientCertLifetime = leaf.NotAfter, leaf.NotAfter.Sub(leaf.NotBefore)
			}
			return &own[i], nil
		}
		return &tls.Certificate{}, nil
	}
	var chains [][]*x509.Certificate
	if a.o.VerifyCommonName && !cfg.InsecureSkipVerify {
		cfg.InsecureSkipVerify = true // VerifyConnection does it
		cfg.VerifyConnection = func(st tls.ConnectionState) (err error) {
			chains, err = verifyCommonName(cfg, st.PeerCertificates)
			return err
		}
	}
	t := tls.Client(a.stream.wire, cfg)
	err := t.Handshake()      // HandshakeContext would close the socket, and TCP_INFO would be lost
	st := t.ConnectionState() // also set if the handshake failed late
	if chains == nil {
		chains = st.VerifiedChains
	}
	sent := st.PeerCertificates
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		sent, chains = bad.UnverifiedCertificates, nil
	}
	facts.noteCertificates(sent, chains)
	if err != nil {
		return nil, err
	}
	facts.Version, facts.Cipher, facts.ALPN, facts.Resumed = tls.VersionName(st.Version), tls.CipherSuiteName(st.CipherSuite), st.NegotiatedProtocol, st.DidResume
	if st.CurveID != 0 {
		facts.Curve = st.CurveID.String()
	}
	return t, nil
}

// fail returns the End of an attempt that failed in the running phase.
func (a *attempt) fail(ctx context.Context, err error) *End {
	ob := disconnect.Observation{HTTPStatus: a.httpStatus}
	if n := len(a.account.Phases); n > 0 && a.account.Phases[n-1].Phase == disconnect.PhaseTLS && isRemoteAlert(err) {
		// TLS 1.3: the server checks our certificate only after our side of the handshake is done.
		a.phase = disconnect.PhaseTLS
	}
	// The end of ctx appears as a timeout of the socket.
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		ob.Intended = true
	case isTimeout(err) || ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, net.ErrClosed)):
		switch a.phase {
		case disconnect.PhaseTLS, disconnect.PhaseWebsocket:
			ob.Deadline = disconnect.DeadlineHandshake
		case disconnect.PhaseMQTT:
			ob.Deadline = disconnect.DeadlineConnack
		default:
			ob.Deadline = disconnect.DeadlineDial
		}
	}
	ob.Err = err
	if op, ok := errors.AsType[*net.OpError](err); ok && a.phase == disconnect.PhaseTCP && op.Addr != nil {
		ob.When.OthersAnswered = a.o.Heard.since(op.Addr.String(), a.account.Start)
	}
	if ob.Deadline != disconnect.DeadlineNone {
		ob.LocalFault = a.o.Late != nil && a.o.Late(a.mark) > LateTolerance ||
			a.stream.wire != nil && unread(a.stream.wire.Conn) > 0 // the answer is here, and we did not read it
	}
	return a.end(ob)
}

// end adds to an observation what the attempt has measured, and returns the End.
func (a *attempt) end(ob disconnect.Observation) *End {
	now := time.Now()
	ob.Phase, ob.Version = a.phase, byte(a.o.Version)
	complete(&ob, &a.account, a.o.URL.Scheme, &a.stream)
	if a.frames != nil {
		ob.BytesReceived, ob.First = a.frames.total, a.frames.first()
		if !a.account.LastSent.IsZero() {
			ob.When.Sent, ob.When.SentSize, ob.When.SentAgo = disconnect.Connect, a.connectSize, now.Sub(a.account.LastSent)
		}
	}
	a.leave(now)
	return &End{Ending: disconnect.Classify(ob), Account: a.account, Time: now, Err: ob.Err}
}

// complete adds to observation and account what the connection itself has measured.
func complete(ob *disconnect.Observation, acc *Account, transport string, t *stream) {
	ob.Transport = transport
	ob.TLS = transport == "mqtts" || transport == "wss"
	if t.wire == nil {
		return
	}
	st := t.stats()
	acc.BytesSent, acc.BytesReceived, acc.LastReceived = st.bytesWritten, st.bytesRead, st.readAt
	acc.TCP = tcpFacts(t.wire.Conn)
	ob.TCP, ob.RawEOF = acc.TCP, st.eof
	now := time.Now()
	ob.When.Age, ob.When.Received = now.Sub(t.wire.opened), st.bytesRead
	if !st.readAt.IsZero() {
		ob.When.Silence = now.Sub(st.readAt)
	}
	ended := errors.Is(ob.Err, io.EOF) || errors.Is(ob.Err, io.ErrUnexpectedEOF)
	if c, ok := errors.AsType[*websocket.CloseError](ob.Err); ok {
		if c.Code != websocket.CloseAbnormalClosure {
			ob.WebsocketCode = c.Code
		}
		ended = c.Code == websocket.CloseAbnormalClosure
	}
	ob.CloseNotify = ob.TLS && ended && !st.eof
}

// isRemoteAlert reports whether err is an alert that the TLS peer sent.
func isRemoteAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// isTimeout reports whether err is one of our deadlines. It is false for the kernel's ETIMEDOUT,
// although that also reports itself as a timeout.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func remoteName(c net.Conn, u *url.URL) string {
	if u.Scheme == "unix" {
		return u.Path
	}
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return u.Host
}
