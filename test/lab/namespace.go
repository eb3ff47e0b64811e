package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Namespace is a network namespace with its own interfaces, routes and firewall. It has no name on
// the machine and lives as long as this process needs it. When the test ends in any way, the kernel
// removes it with all its interfaces.
type Namespace struct {
	// Interface is the interface that leads out of the namespace. It exists only in the namespace.
	Interface string
	// Addr is the address of that interface.
	Addr netip.Addr
	// Gateway is the address at the other end of the wire.
	Gateway netip.Addr

	t      testing.TB
	handle *os.File // refers to the namespace
	routed bool     // the default route leads to Gateway
}

// NewNamespace returns a network namespace that a wire connects with the current one. The test
// reaches what listens on Addr, and programs inside reach the test at Gateway. It needs root
// (CAP_SYS_ADMIN and CAP_NET_ADMIN). Without, the test is skipped, or fails if components are
// required.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	RequireNetAdmin(t)
	outside, err := currentNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { outside.Close() })
	n := isolated(t)
	n.Interface = "veth0"
	n.Gateway, n.Addr = wire(t, &Namespace{t: t, handle: outside}, n, "", n.Interface)
	return n
}

// RoutedNetwork is three namespaces in a row, none of them connected with the machine's network.
// Client and broker reach each other through a router, as over the Internet. So a TTL of 1 does not
// arrive, and faults can be in the middle.
type RoutedNetwork struct {
	Client, Broker *Namespace
	// Router forwards IPv4; its interfaces are named client and broker.
	Router *Namespace
}

// NewRoutedNetwork returns a client, a router and a broker namespace. It needs what NewNamespace
// needs.
func NewRoutedNetwork(t testing.TB) *RoutedNetwork {
	t.Helper()
	r := &RoutedNetwork{Client: isolated(t), Router: isolated(t), Broker: isolated(t)}
	for name, n := range map[string]*Namespace{"client": r.Client, "broker": r.Broker} {
		n.Interface = "veth0"
		n.Gateway, n.Addr = wire(t, r.Router, n, name, n.Interface)
		n.routed = true
		n.Run("ip", "route", "add", "default", "via", n.Gateway.String())
	}
	r.Router.Do(func() {
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			t.Errorf("the router cannot forward: %v", err)
		}
	})
	return r
}

// Cut makes the router silently drop all TCP segments to and from a port, in both directions, until
// heal is called.
func (r *RoutedNetwork) Cut(port int) (heal func()) {
	r.Router.t.Helper()
	there := r.Router.rule("FORWARD", "--dport", port, "DROP")
	back := r.Router.rule("FORWARD", "--sport", port, "DROP")
	return func() { there(); back() }
}

// largePacket is the size in bytes from which a black hole drops packets.
const largePacket = 1000

// LoseLarge makes the router silently drop large TCP segments to a port ("--dport") or from it
// ("--sport"), and no small ones, as a link with a small MTU does if ICMP is filtered.
func (r *RoutedNetwork) LoseLarge(port int, which string) {
	r.Router.t.Helper()
	for _, n := range []*Namespace{r.Client, r.Broker} { // or the router would see several segments as one
		n.Run("ip", "link", "set", "dev", n.Interface, "gso_max_segs", "1")
	}
	r.Router.Run("iptables", "-w", "-I", "FORWARD", "-p", "tcp", which, strconv.Itoa(port), "-m", "length", "--length", fmt.Sprintf("%d:65535", largePacket), "-j", "DROP")
}

// ForgetIdle makes the router forget each TCP connection that carries no segment for some time, in
// whole seconds. The connection tracking of NATs and firewalls does the same. From then on the
// router silently drops all segments of the connection, in both directions and for good. New
// connections pass. Connections from before ForgetIdle are forgotten at once.
func (r *RoutedNetwork) ForgetIdle(after time.Duration) {
	r.Router.t.Helper()
	r.forgetIdle(after, "DROP")
}

// ResetIdle is ForgetIdle with a router that answers the segments of a forgotten connection with a
// RST, as some cloud balancers do.
func (r *RoutedNetwork) ResetIdle(after time.Duration) {
	r.Router.t.Helper()
	r.forgetIdle(after, "REJECT", "--reject-with", "tcp-reset")
}

func (r *RoutedNetwork) forgetIdle(after time.Duration, target ...string) {
	t := r.Router.t
	t.Helper()
	// The rule comes first, because with it the kernel begins to track the namespace's connections.
	rule := []string{"-w", "-I", "FORWARD", "-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID", "-j"}
	r.Router.Run("iptables", append(rule, target...)...)
	for name, value := range map[string]int{
		"nf_conntrack_tcp_timeout_established": int(after / time.Second),
		"nf_conntrack_tcp_loose":               0, // a segment in mid-stream makes no new entry
	} {
		r.Router.Do(func() {
			if err := os.WriteFile("/proc/sys/net/netfilter/"+name, []byte(strconv.Itoa(value)), 0); err != nil {
				t.Errorf("the router cannot track connections: %v", err)
			}
		})
	}
}

// Do calls f on a thread inside the namespace and returns when f does. Sockets that f opens stay in
// the namespace. Goroutines that f starts run outside. f must not call FailNow of a test.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	if err := n.inside(f); err != nil {
		n.t.Fatal(err)
	}
}

// DialContext connects from inside the namespace to an IP address and port, or to a unix socket.
func (n *Namespace) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	var err error
	if entered := n.inside(func() {
		conn, err = (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, address)
	}); entered != nil {
		return nil, entered
	}
	return conn, err
}

// Listen listens inside the namespace. Its connections have no TCP keepalive, which would reset the
// idle time that a path measures.
func (n *Namespace) Listen(network, address string) (net.Listener, error) {
	var l net.Listener
	var err error
	if entered := n.inside(func() {
		l, err = (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), network, address)
	}); entered != nil {
		return nil, entered
	}
	return l, err
}

// Start starts a long-lived program inside the namespace.
func (n *Namespace) Start(c Command) *Daemon {
	n.t.Helper()
	c.Namespace = n
	return Start(n.t, c)
}

// Run runs a program inside the namespace until it ends, and returns its output. If the program
// fails, the test fails.
func (n *Namespace) Run(program string, args ...string) string {
	n.t.Helper()
	path := Require(n.t, program)
	var output []byte
	var err error
	n.Do(func() { output, err = exec.Command(path, args...).CombinedOutput() })
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, output)
	}
	return string(output)
}

// DropPort makes the namespace silently drop incoming TCP segments to a port, until heal is called.
// Segments from the port still leave.
func (n *Namespace) DropPort(port int) (heal func()) {
	n.t.Helper()
	return n.rule("INPUT", "--dport", port, "DROP")
}

// RejectPort makes the namespace answer incoming TCP segments to a port with a RST, until heal is
// called.
func (n *Namespace) RejectPort(port int) (heal func()) {
	n.t.Helper()
	return n.rule("INPUT", "--dport", port, "REJECT", "--reject-with", "tcp-reset")
}

// rule inserts a firewall rule for a TCP port at the beginning of a chain, and returns a function
// that removes it.
func (n *Namespace) rule(chain, which string, port int, target ...string) (remove func()) {
	n.t.Helper()
	rule := append([]string{chain, "-p", "tcp", which, strconv.Itoa(port), "-j"}, target...)
	n.Run("iptables", append([]string{"-w", "-I"}, rule...)...)
	return func() {
		n.t.Helper()
		n.Run("iptables", append([]string{"-w", "-D"}, rule...)...)
	}
}

// LinkDown pulls the cable: the interface goes down, and the other end loses its carrier.
func (n *Namespace) LinkDown() {
	n.t.Helper()
	n.Run("ip", "link", "set", n.Interface, "down")
}

// LinkUp puts the cable back, and restores the routes that disappeared with it.
func (n *Namespace) LinkUp() {
	n.t.Helper()
	n.Run("ip", "link", "set", n.Interface, "up")
	if n.routed {
		n.Run("ip", "route", "replace", "default", "via", n.Gateway.String())
	}
}

// isolated returns a namespace that has only a loopback interface.
func isolated(t testing.TB) *Namespace {
	t.Helper()
	RequireNetAdmin(t)
	handle, err := createNamespace()
	if err != nil {
		unavailable(t, "network namespaces are not possible here: %v", err)
	}
	t.Cleanup(func() { handle.Close() })
	n := &Namespace{t: t, handle: handle}
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

// wire connects two namespaces by a pair of interfaces and returns their addresses. If the name of
// the first interface is empty, it gets one that is unique on the machine.
func wire(t testing.TB, a, b *Namespace, nameA, nameB string) (addrA, addrB netip.Addr) {
	t.Helper()
	subnet := reserveSubnet(t)
	if nameA == "" {
		nameA = fmt.Sprintf("pingreq%d", subnet)
	}
	// 10.83.0.0/16 holds 16384 networks of four addresses: network, a, b, broadcast.
	base := subnet * 4
	addrA = netip.AddrFrom4([4]byte{10, 83, byte(base >> 8), byte(base + 1)})
	addrB = netip.AddrFrom4([4]byte{10, 83, byte(base >> 8), byte(base + 2)})

	a.Run("ip", "link", "add", nameA, "type", "veth", "peer", "name", nameB,
		"netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), b.handle.Fd()))
	// Deleting one end deletes both at once. The removal of a namespace by the kernel takes longer.
	t.Cleanup(func() { a.Run("ip", "link", "delete", nameA) })
	for _, end := range []struct {
		n    *Namespace
		name string
		addr netip.Addr
	}{{a, nameA, addrA}, {b, nameB, addrB}} {
		end.n.Run("ip", "address", "add", end.addr.String()+"/30", "dev", end.name)
		end.n.Run("ip", "link", "set", end.name, "up")
	}
	return addrA, addrB
}

// reserveSubnet returns the number of a /30 network that no other test has.
func reserveSubnet(t testing.TB) int {
	t.Helper()
	for range 500 {
		subnet := rand.IntN(1 << 14)
		if release, ok := reserve(fmt.Sprintf("subnet/%d", subnet)); ok {
			t.Cleanup(release)
			return subnet
		}
	}
	t.Fatal("no free network in 10.83.0.0/16")
	return 0
}
