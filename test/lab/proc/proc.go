// Package proc identifies and ends processes safely: by process id and start
// time, so that a recycled id is never mistaken for the process that was meant.
package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Identity names one process for ever: an id is reused, an id together with a
// start time is not.
type Identity struct {
	// PID is the process id as the writer of this record saw it in /proc.
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot, field 22 of
	// /proc/PID/stat (see proc_pid_stat(5)).
	Start uint64 `json:"start"`
}

// Stat holds the fields of /proc/PID/stat that the lab needs.
type Stat struct {
	// State is the one letter state: R, S, D, Z, ...
	State string
	// Start is the start time in clock ticks since boot.
	Start uint64
	// RSS is the resident set size in bytes.
	RSS int64
}

// ReadStat reads /proc/pid/stat.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, err
	}
	return parseStat(string(b))
}

// parseStat parses a stat line. The command name, field 2, may hold blanks and
// brackets: fields are counted from the last closing bracket.
func parseStat(line string) (Stat, error) {
	i := strings.LastIndexByte(line, ')')
	if i < 0 {
		return Stat{}, fmt.Errorf("process status line without a command name: %q", line)
	}
	f := strings.Fields(line[i+1:])
	if len(f) < 22 {
		return Stat{}, fmt.Errorf("process status line with %d fields after the name, want 22 or more", len(f))
	}
	start, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("start time %q: %w", f[19], err)
	}
	pages, err := strconv.ParseInt(f[21], 10, 64)
	if err != nil {
		return Stat{}, fmt.Errorf("resident set size %q: %w", f[21], err)
	}
	return Stat{State: f[0], Start: start, RSS: pages * int64(os.Getpagesize())}, nil
}

// Self returns the identity of the calling process as the mounted /proc shows
// it. Right after a clone into a new pid namespace that is still the outer
// /proc, and so this is the id by which the outside knows the process.
func Self() (Identity, error) {
	link, err := os.Readlink("/proc/self")
	if err != nil {
		return Identity{}, err
	}
	pid, err := strconv.Atoi(link)
	if err != nil {
		return Identity{}, fmt.Errorf("/proc/self leads to %q: %w", link, err)
	}
	return Of(pid)
}

// Of returns the identity of a process that exists now.
func Of(pid int) (Identity, error) {
	st, err := ReadStat(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: st.Start}, nil
}

// Alive tells whether exactly this process exists and is not a zombie.
func (id Identity) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	st, err := ReadStat(id.PID)
	return err == nil && st.Start == id.Start && st.State != "Z" && st.State != "X"
}

// Kill sends SIGKILL to exactly this process and waits until it has gone, or
// for ctx. A process that no longer exists is success.
func (id Identity) Kill(ctx context.Context) error {
	if id.PID <= 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", id.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	// The descriptor pins the process: after this check no reuse is possible.
	if !id.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	return waitPidfd(ctx, fd, id.PID)
}

func waitPidfd(ctx context.Context, fd, pid int) error {
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 50)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("process %d did not end: %w", pid, context.Cause(ctx))
		}
	}
}

// WriteFile stores an identity as JSON, atomically.
func (id Identity) WriteFile(path string) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// ReadFile reads what WriteFile stored.
func ReadFile(path string) (Identity, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Identity{}, err
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil {
		return Identity{}, fmt.Errorf("process identity in %s: %w", path, err)
	}
	return id, nil
}

// WaitGone waits until none of the given processes is alive, or for ctx.
func WaitGone(ctx context.Context, ids []Identity) error {
	for {
		var left []int
		for _, id := range ids {
			if id.Alive() {
				left = append(left, id.PID)
			}
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v still run: %w", left, context.Cause(ctx))
		case <-time.After(10 * time.Millisecond):
		}
	}
}
