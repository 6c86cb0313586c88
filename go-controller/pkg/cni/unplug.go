package cni

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

const (
	// unplugGrace is for the kernel, which removes a veth with the sandbox's network namespace: those of many sandboxes
	// at once and for the price of one, while a request to delete a veth waits for all of the kernel's readers and
	// makes everybody else wait who configures the network.
	unplugGrace = time.Second
	// unplugRetryFirst and unplugRetryLast are the pauses between tries to delete a veth: doubled from the first to the last.
	unplugRetryFirst = 100 * time.Millisecond
	unplugRetryLast  = 30 * time.Second
)

// unplugger deletes the veths of sandboxes whose DEL has been answered already: their ports are gone, so nothing can be
// sent through them. Each has an empty file, named like the veth, in a folder that does not outlive the boot, and so do
// veths not: what an agent has not come to, the next one deletes.
type unplugger struct {
	folder string
	delete func(hostName string) error
	grace  time.Duration
	wake   chan struct{}

	// work is held while a veth is being deleted.
	work sync.Mutex
	// mu guards pending, the names of the veths to delete. It is never held for long.
	mu      sync.Mutex
	pending map[string]struct{}
}

func newUnplugger(folder string, grace time.Duration, remove func(hostName string) error) *unplugger {
	return &unplugger{folder: folder, delete: remove, grace: grace, wake: make(chan struct{}, 1), pending: map[string]struct{}{}}
}

// load takes over what the last agent has left.
func (u *unplugger) load() error {
	if err := os.MkdirAll(u.folder, 0o700); err != nil {
		return fmt.Errorf("folder of veths to delete: %w", err)
	}
	entries, err := os.ReadDir(u.folder)
	if err != nil {
		return fmt.Errorf("folder of veths to delete: %w", err)
	}
	for _, e := range entries {
		u.put(e.Name())
	}
	return nil
}

// add has a veth deleted soon. After an error it is not.
func (u *unplugger) add(hostName string) error {
	f, err := os.OpenFile(u.file(hostName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("remember a veth to delete: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("remember a veth to delete: %w", err)
	}
	u.put(hostName)
	return nil
}

func (u *unplugger) put(hostName string) {
	u.mu.Lock()
	u.pending[hostName] = struct{}{}
	u.mu.Unlock()
	u.wakeUp()
}

// withdraw is for a sandbox that is attached again: when it returns, nobody deletes a veth of that name any more.
func (u *unplugger) withdraw(hostName string) error {
	if !u.isPending(hostName) {
		return nil
	}
	u.work.Lock()
	defer u.work.Unlock()
	return u.forget(hostName)
}

func (u *unplugger) isPending(hostName string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.pending[hostName]
	return ok
}

func (u *unplugger) forget(hostName string) error {
	if err := os.Remove(u.file(hostName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget a veth to delete: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.pending, hostName)
	return nil
}

func (u *unplugger) file(hostName string) string {
	return filepath.Join(u.folder, filepath.Base(hostName))
}

// run deletes until ctx ends.
func (u *unplugger) run(ctx context.Context) {
	pause := unplugRetryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-u.wake:
		}
		if !retry.Sleep(ctx, u.grace) {
			return
		}
		err := u.deleteAll(ctx)
		if err == nil {
			pause = unplugRetryFirst
			continue
		}
		klog.ErrorS(err, "Could not delete veths of sandboxes that are gone; see: ip -d link show", "retryIn", pause)
		if !retry.Sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, unplugRetryLast)
		u.wakeUp()
	}
}

func (u *unplugger) wakeUp() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

func (u *unplugger) deleteAll(ctx context.Context) error {
	u.mu.Lock()
	names := make([]string, 0, len(u.pending))
	for name := range u.pending {
		names = append(names, name)
	}
	u.mu.Unlock()
	var errs []error
	for _, name := range names {
		if ctx.Err() != nil {
			return nil
		}
		errs = append(errs, u.deleteOne(name))
	}
	return errors.Join(errs...)
}

func (u *unplugger) deleteOne(hostName string) error {
	u.work.Lock()
	defer u.work.Unlock()
	if !u.isPending(hostName) { // withdrawn meanwhile
		return nil
	}
	if err := u.delete(hostName); err != nil {
		return err
	}
	return u.forget(hostName)
}
