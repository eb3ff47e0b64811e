//go:build !linux

package lab

import (
	"os"
	"os/exec"
	"syscall"
)

func spawn(cmd *exec.Cmd, _ *Namespace) (<-chan struct{}, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait() // the result is in cmd.ProcessState
	}()
	return exited, nil
}

// sigstop is a signal that this system does not have: sending it fails.
const sigstop = syscall.Signal(-1)

func suspended(int) bool { return false }

func resume(*os.Process) {}

// marked finds a program's descendants on Linux only.
func marked(string) []int { return nil }
