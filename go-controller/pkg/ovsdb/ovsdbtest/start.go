//go:build integration

package ovsdbtest

import (
	"os/exec"
	"runtime"
	"syscall"
)

// start starts cmd so that it dies with the test, and returns a channel that closes when it has ended.
//
// The kernel sends the parent-death signal when the thread that started the child ends, so that thread
// is kept for as long as the child runs.
func start(cmd *exec.Cmd) (<-chan struct{}, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(ended)
	}()
	return ended, <-started
}
