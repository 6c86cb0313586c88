//go:build integration

package cni

import (
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNetnsOf runs f on a thread in the namespace. Sockets that f opens stay there.
func inNetnsOf(path string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open(path)
		if err != nil {
			result <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

// setTxChecksumForTest switches the offload on again.
func setTxChecksumForTest(name string) error {
	return exec.Command("ethtool", "-K", name, "tx", "on").Run()
}
