package lab

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// RequireNetAdmin skips or fails a test that needs CAP_NET_ADMIN and CAP_SYS_ADMIN, which root has:
// for namespaces, firewall rules and filters on sockets.
func RequireNetAdmin(t testing.TB) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatalf("reading the capabilities of this process: %v", err)
	}
	const needed = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_SYS_ADMIN
	if data[0].Effective&needed != needed {
		unavailable(t, "this test needs CAP_NET_ADMIN and CAP_SYS_ADMIN; run it as root")
	}
}

// onThread calls f on a thread that ends with f, so f may change the thread's namespace for good.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := fmt.Errorf("the function ended its goroutine")
		defer func() { result <- err }()
		runtime.LockOSThread() // never unlocked
		err = f()
	}()
	return <-result
}

func createNamespace() (handle *os.File, err error) {
	err = onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		handle, err = currentNamespace()
		return err
	})
	return handle, err
}

// currentNamespace returns a reference to the network namespace of the calling thread.
func currentNamespace() (*os.File, error) { return os.Open("/proc/thread-self/ns/net") }

// enter moves the calling thread into the namespace. The thread must be locked and must not be used
// again.
func (n *Namespace) enter() error {
	return os.NewSyscallError("setns", unix.Setns(int(n.handle.Fd()), unix.CLONE_NEWNET))
}

func (n *Namespace) inside(f func()) error {
	return onThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		f()
		return nil
	})
}
