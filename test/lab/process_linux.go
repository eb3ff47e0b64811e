package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// spawn starts cmd in a process group of its own and waits for it. The channel is closed when cmd
// has ended. The kernel kills the program when the thread that started it ends (Pdeathsig). So the
// goroutine keeps its thread until then, and moves it into the namespace if there is one.
func spawn(cmd *exec.Cmd, ns *Namespace) (<-chan struct{}, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		// Never unlocked: the runtime ends the thread with the goroutine.
		runtime.LockOSThread()
		if ns != nil {
			if err := ns.enter(); err != nil {
				started <- err
				return
			}
		}
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait() // the result is in cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		<-exited
		return nil, err
	}
	return exited, nil
}

const sigstop = syscall.SIGSTOP

// suspended reports whether all threads of a process are stopped.
func suspended(pid int) bool {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		// pid (name) state …; the name may hold anything.
		if _, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" ")); !ok || rest[0] != 'T' {
			return false
		}
	}
	return len(paths) > 0
}

// resume continues a suspended process, so that it handles its pending signals.
func resume(p *os.Process) {
	p.Signal(syscall.SIGCONT) // an error means that it has ended
}

// marked returns the processes that have the marker in their environment.
func marked(marker string) []int {
	// A process of another user cannot be read, and one that has ended has no environment.
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			if string(entry) != marker {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
