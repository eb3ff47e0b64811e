package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 3 * time.Minute // RabbitMQ takes 10 s on an idle machine
	stopTimeout  = 2 * time.Minute
	pollInterval = 20 * time.Millisecond
	startTries   = 5 // attempts to start a broker whose port another process took
)

// errPortTaken is returned for a program that ended because one of its ports was in use.
var errPortTaken = errors.New("a port is in use")

// Command describes a program to start.
type Command struct {
	// Name is the name of the program in messages; empty: the name of its file.
	Name string
	Path string
	Args []string
	// Env is the whole environment, besides PATH, HOME, TMPDIR and LANG.
	Env []string
	// Dir is the working directory and HOME; empty: a temporary directory.
	Dir string
	// Namespace is the network namespace to run in; nil: the current one.
	Namespace *Namespace
	// ReadyLog are texts that the program prints before it serves, or when it does.
	ReadyLog []string
	// ReadyAddrs are TCP addresses (host:port) that accept connections once the program serves.
	// Each attempt leaves traces in the program's output and counters, so use ReadyLog where that
	// is enough.
	ReadyAddrs []string
}

// Daemon is a long-lived program that belongs to a test. It runs in a process group of its own.
// When the test ends, it is killed with everything that it started. If the test has failed, the end
// of the program's output goes to the test's log.
type Daemon struct {
	t       testing.TB
	command Command
	marker  string
	logPath string

	mu      sync.Mutex
	running *process
}

// process is one life of a daemon.
type process struct {
	cmd    *exec.Cmd
	exited <-chan struct{} // closed once the process has been waited for
}

// Start starts a program and returns once it is ready. A program that ends or does not become ready
// fails the test.
func Start(t testing.TB, c Command) *Daemon {
	t.Helper()
	d, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// startWithPorts starts a program whose ports are chosen by configure. If another process took one
// of the ports, it tries again with other ports.
func startWithPorts(t testing.TB, configure func() Command) *Daemon {
	t.Helper()
	var err error
	for range startTries {
		var d *Daemon
		if d, err = start(t, configure()); err == nil {
			return d
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	t.Fatal(err)
	return nil
}

func start(t testing.TB, c Command) (*Daemon, error) {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Name == "" {
		c.Name = filepath.Base(c.Path)
	}
	d := &Daemon{
		t:       t,
		command: c,
		marker:  newMarker(),
		logPath: filepath.Join(t.TempDir(), "log"),
	}
	t.Cleanup(func() {
		d.Kill()
		if t.Failed() {
			t.Logf("the end of the output of %s:\n%s", d.command.Name, tail(d.Log(), 40))
		}
	})
	if err := d.launch(); err != nil {
		d.Kill()
		return nil, err
	}
	return d, nil
}

// PID returns the process id of the program; after its end, the id of its last life.
func (d *Daemon) PID() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running == nil {
		return 0
	}
	return d.running.cmd.Process.Pid
}

// Done is closed when the program has ended, by itself or not. Each start has its own channel.
func (d *Daemon) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return d.running.exited
}

// Log returns everything that the program has written to its standard output and error, over all
// its lives.
func (d *Daemon) Log() string {
	b, err := os.ReadFile(d.logPath)
	if err != nil && !os.IsNotExist(err) {
		d.t.Errorf("reading the output of %s: %v", d.command.Name, err)
	}
	return string(b)
}

// WaitLog returns once the program has printed text. If it does not, the test fails.
func (d *Daemon) WaitLog(text string) {
	d.t.Helper()
	deadline := time.Now().Add(readyTimeout)
	for !strings.Contains(d.Log(), text) {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s did not print %q within %v", d.command.Name, text, readyTimeout)
		}
		time.Sleep(pollInterval)
	}
}

// Signal sends a signal to the program itself, not to its children.
func (d *Daemon) Signal(sig os.Signal) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running == nil {
		d.t.Fatalf("%s: signal %v: the program was never started", d.command.Name, sig)
	}
	if err := d.running.cmd.Process.Signal(sig); err != nil {
		d.t.Fatalf("%s: signal %v: %v", d.command.Name, sig, err)
	}
}

// Suspend stops the program (SIGSTOP), and returns once all its threads have stopped. The kernel
// still acknowledges what arrives for it. Linux only.
func (d *Daemon) Suspend() {
	d.t.Helper()
	d.Signal(sigstop)
	deadline := time.Now().Add(stopTimeout)
	for !suspended(d.PID()) {
		if time.Now().After(deadline) {
			d.t.Fatalf("%s does not stand still within %v of SIGSTOP", d.command.Name, stopTimeout)
		}
		time.Sleep(pollInterval)
	}
}

// Resume continues a suspended program (SIGCONT).
func (d *Daemon) Resume() {
	if p := d.current(); p != nil {
		resume(p.cmd.Process)
	}
}

// Stop asks the program to end (SIGTERM), also when it is suspended, and waits until it has ended.
// A program that does not obey is killed and fails the test.
func (d *Daemon) Stop() {
	d.t.Helper()
	p := d.current()
	if p == nil {
		return
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		resume(p.cmd.Process)
	}
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		d.t.Errorf("%s did not end within %v of SIGTERM", d.command.Name, stopTimeout)
	}
	d.Kill()
}

// Kill ends the program at once (SIGKILL), with everything that it started, and waits until they
// are gone. The kernel then closes its connections: idle ones with a FIN, those with unread data
// with a RST.
func (d *Daemon) Kill() {
	if p := d.current(); p != nil {
		p.cmd.Process.Kill() // an error means that it has ended
		<-p.exited
	}
	if err := killMarked(d.marker); err != nil {
		d.t.Errorf("%s: %v", d.command.Name, err)
	}
}

// Restart starts the program again with the same configuration, ports and data, and returns once it
// is ready. It first stops a program that still runs.
func (d *Daemon) Restart() {
	d.t.Helper()
	d.Stop()
	if err := d.launch(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *Daemon) current() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

// launch starts one life of the program and waits until it is ready.
func (d *Daemon) launch() error {
	log, err := os.OpenFile(d.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	printed, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}

	cmd := exec.Command(d.command.Path, d.command.Args...)
	cmd.Dir = d.command.Dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin",
		"HOME=" + d.command.Dir,
		"TMPDIR=" + os.TempDir(),
		"LANG=C.UTF-8",
		d.marker,
	}, d.command.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	exited, err := spawn(cmd, d.command.Namespace)
	if err != nil {
		return fmt.Errorf("starting %s: %w", d.command.Name, err)
	}
	p := &process{cmd: cmd, exited: exited}
	d.mu.Lock()
	d.running = p
	d.mu.Unlock()
	return d.waitReady(p, int(printed))
}

// waitReady waits until the program serves. Output of earlier lives does not count.
func (d *Daemon) waitReady(p *process, printed int) error {
	deadline := time.Now().Add(readyTimeout)
	for {
		output := d.Log()[printed:]
		select {
		case <-p.exited:
			err := fmt.Errorf("%s ended before it was ready (%v):\n%s", d.command.Name, p.cmd.ProcessState, tail(output, 20))
			lower := strings.ToLower(output)
			if strings.Contains(lower, "address already in use") || strings.Contains(lower, "eaddrinuse") ||
				strings.Contains(lower, "cannot bind socket") {
				err = errors.Join(errPortTaken, err)
			}
			return err
		default:
		}
		missing := d.missing(output)
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %s; its output:\n%s", d.command.Name, readyTimeout, missing, tail(output, 20))
		}
		time.Sleep(pollInterval)
	}
}

// missing returns what the program lacks to be ready, "" if nothing.
func (d *Daemon) missing(output string) string {
	for _, text := range d.command.ReadyLog {
		if !strings.Contains(output, text) {
			return fmt.Sprintf("it has not printed %q", text)
		}
	}
	for _, address := range d.command.ReadyAddrs {
		conn, err := d.dial(address)
		if err != nil {
			return err.Error()
		}
		conn.Close()
	}
	return ""
}

func (d *Daemon) dial(address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if ns := d.command.Namespace; ns != nil {
		return ns.DialContext(ctx, "tcp", address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// newMarker returns an environment variable that identifies a program's descendants, also those
// that have left its process group.
func newMarker() string { return "TEST_LAB=" + rand.Text() }

// killMarked kills every process that has the marker in its environment, until none is left.
func killMarked(marker string) error {
	deadline := time.Now().Add(stopTimeout)
	for {
		pids := marked(marker)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err == nil {
				p.Kill() // an error means that it has ended
			}
		}
		time.Sleep(pollInterval)
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
