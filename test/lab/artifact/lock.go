package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lockRetry is the pause between two tries for a lock another process holds.
const lockRetry = 200 * time.Millisecond

// lock takes an exclusive lock on the file path, which it creates, and returns the
// function that releases it. The kernel releases it too when the process dies, so
// a lock never outlives its owner. waiting is called once, with the holder's
// process id, when somebody else has it.
func lock(ctx context.Context, path string, waiting func(holder string)) (func(), error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("lock folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for told := false; ; told = true {
		// flock(2) has no event to wait for that a context could end; hence the tries.
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !told {
			waiting(lockHolder(path))
		}
		select {
		case <-ctx.Done():
			err := fmt.Errorf("waiting for process %s, which holds %s: %w", lockHolder(path), path, context.Cause(ctx))
			return nil, errors.Join(err, f.Close())
		case <-time.After(lockRetry):
		}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(fmt.Sprint(os.Getpid())), 0) // only for people who wait
	}
	return func() { _ = f.Close() }, nil
}

// lockHolder returns what the holder of the lock wrote about itself.
func lockHolder(path string) string {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}
