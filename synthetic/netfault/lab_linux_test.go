package netfault

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pingreq/pingreq/test/lab"
)

// loopbacks are the addresses of the loopback interface.
func loopbacks(t *testing.T, f func(t *testing.T, l net.Listener)) {
	for name, address := range map[string]string{"IPv4": "127.0.0.1:0", "IPv6": "[::1]:0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "IPv6" {
				lab.RequireIPv6(t)
			}
			f(t, listen(t, "tcp", address))
		})
	}
}

// requireDeaf skips or fails a test if this process lacks the privilege.
func requireDeaf(t testing.TB) {
	t.Helper()
	if Supported(Deaf) != nil {
		lab.RequireNetAdmin(t)
	}
}

// unprivileged calls f on a thread that is not root's and has no capability. inside is the network
// namespace of that thread, or nil for this one. f must not end its goroutine.
func unprivileged(t testing.TB, inside func(func()), f func()) {
	t.Helper()
	const nobody = 65534
	run := func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with its goroutine
		if os.Geteuid() == 0 {
			// Raw system calls, because those of package syscall change every thread.
			for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
				if _, _, errno := unix.RawSyscall(call, nobody, nobody, nobody); errno != 0 {
					t.Errorf("becoming nobody: %v", errno)
					return
				}
			}
		}
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
			t.Errorf("giving up all capabilities: %v", err)
			return
		}
		f()
	}
	if inside != nil {
		inside(run)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	<-done
}

// routed is a client and a broker with a router between them, over IPv4 and IPv6.
type routed struct {
	*lab.RoutedNetwork
	broker4, broker6, client4 netip.Addr
}

func newRouted(t testing.TB) routed {
	t.Helper()
	n := lab.NewRoutedNetwork(t)
	r := routed{RoutedNetwork: n, broker4: n.Broker.Addr, client4: n.Client.Addr, broker6: netip.MustParseAddr("fd00:2::2")}
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		return routed{RoutedNetwork: n, broker4: n.Broker.Addr, client4: n.Client.Addr}
	}
	add := func(n *lab.Namespace, iface, addr string) {
		n.Run("ip", "address", "add", addr+"/64", "dev", iface, "nodad")
	}
	add(n.Client, n.Client.Interface, "fd00:1::2")
	add(n.Router, "client", "fd00:1::1")
	add(n.Router, "broker", "fd00:2::1")
	add(n.Broker, n.Broker.Interface, r.broker6.String())
	n.Client.Run("ip", "route", "add", "default", "via", "fd00:1::1")
	n.Broker.Run("ip", "route", "add", "default", "via", "fd00:2::1")
	n.Router.Do(func() {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0); err != nil {
			t.Errorf("the router cannot forward IPv6: %v", err)
		}
	})
	return r
}

// listenIn listens inside a namespace.
func listenIn(t testing.TB, n *lab.Namespace, address string) net.Listener {
	t.Helper()
	l, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func facts(t testing.TB, c net.Conn) Facts {
	t.Helper()
	f, err := ReadFacts(c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// unheard waits until c has retransmitted unacknowledged data twice.
func unheard(t testing.TB, c net.Conn) {
	t.Helper()
	eventually(t, "it is sent again twice", func() bool {
		f := facts(t, c)
		return f.Unacked > 0 && f.Retransmits >= 2
	})
}

// states returns the states of the connections between two ports that the kernel has in a
// namespace, as seen from the first port. nil is this namespace.
func states(t testing.TB, n *lab.Namespace, local, remote net.Addr) (found []State) {
	t.Helper()
	look := func() {
		for _, table := range []string{"tcp", "tcp6"} {
			text, err := os.ReadFile(filepath.Join("/proc/thread-self/net", table))
			if os.IsNotExist(err) && table == "tcp6" {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			for line := range strings.Lines(string(text)) {
				// The fields are number, local address:port, remote address:port and state.
				fields := strings.Fields(line)
				if len(fields) < 4 || !ends(fields[1], local) || !ends(fields[2], remote) {
					continue
				}
				var s State
				if _, err := fmt.Sscanf(fields[3], "%x", &s); err != nil {
					t.Error(err)
				}
				found = append(found, s)
			}
		}
	}
	if n == nil {
		look()
	} else {
		n.Do(look)
	}
	return found
}

func ends(field string, addr net.Addr) bool {
	return strings.HasSuffix(field, fmt.Sprintf(":%04X", addr.(*net.TCPAddr).Port))
}

// settings are the options that a fault changes.
type settings struct{ Keepalive, UserTimeout, Linger, TTL, Hops int }

func settingsOf(t testing.TB, c net.Conn) (s settings) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		get := func(level, opt int) int {
			v, err := unix.GetsockoptInt(int(fd), level, opt)
			if err != nil {
				v = -1 // an IPv6 option of an IPv4 socket
			}
			return v
		}
		s = settings{
			Keepalive: get(unix.SOL_SOCKET, unix.SO_KEEPALIVE), UserTimeout: get(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT),
			TTL: get(unix.IPPROTO_IP, unix.IP_TTL), Hops: get(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS),
		}
		if l, err := unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER); err != nil || l.Onoff == 0 {
			s.Linger = -1
		} else {
			s.Linger = int(l.Linger)
		}
	}); err != nil {
		t.Fatal(err)
	}
	return s
}
