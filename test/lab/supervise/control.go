package supervise

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Kill sends SIGKILL to a component's process; it is started again as after any
// other end.
func (s *Supervisor) Kill(name string) error {
	u, err := s.unit(name)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.status.PID == 0 {
		return fmt.Errorf("%s does not run: it is %s (%s)", name, u.status.State, u.status.Detail)
	}
	if err := syscall.Kill(u.status.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	return nil
}

// Crash sends SIGKILL to a component's process and leaves it stopped, as a machine that goes down does.
func (s *Supervisor) Crash(ctx context.Context, name string) error {
	u, err := s.unit(name)
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.want = false
	u.mu.Unlock()
	if err := s.Kill(name); err != nil {
		return err
	}
	u.poke()
	if err := u.await(ctx, func(st Status) bool { return st.State == StateStopped }); err != nil {
		return fmt.Errorf("crash %s: %w", name, err)
	}
	return nil
}

// Stop asks a component to end, kills it when it does not, and leaves it
// stopped.
func (s *Supervisor) Stop(ctx context.Context, name string) error {
	u, err := s.unit(name)
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.want = false
	pid := u.status.PID
	u.mu.Unlock()
	u.poke()
	if pid != 0 {
		u.askToEnd(ctx, pid)
	}
	grace, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	stopped := func(st Status) bool { return st.State == StateStopped }
	if u.await(grace, stopped) == nil {
		return nil
	}
	if pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := u.await(ctx, stopped); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return nil
}

// askToEnd tells the process to end in the way that the component prefers.
func (u *unit) askToEnd(ctx context.Context, pid int) {
	if u.StopWith != nil {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if _, err := u.sup.reaper.Output(ctx, *u.StopWith, u.environ()); err == nil {
			return
		}
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
}

// Start makes a stopped component run again and waits until its process has
// been started. A component that waits for a gate counts as started.
func (s *Supervisor) Start(ctx context.Context, name string) error {
	u, err := s.unit(name)
	if err != nil {
		return err
	}
	u.mu.Lock()
	u.want = true
	u.mu.Unlock()
	u.poke()
	err = u.await(ctx, func(st Status) bool {
		return st.State == StateRunning || (st.State == StateWaiting && st.Detail != "")
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// Restart is Stop and Start.
func (s *Supervisor) Restart(ctx context.Context, name string) error {
	if err := s.Stop(ctx, name); err != nil {
		return err
	}
	return s.Start(ctx, name)
}

// poke wakes the component's goroutine from a back-off, a stop or a gate.
func (u *unit) poke() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// await waits until the status satisfies ok.
func (u *unit) await(ctx context.Context, ok func(Status) bool) error {
	for {
		u.mu.Lock()
		st, changed := u.status, u.changed
		u.mu.Unlock()
		if ok(st) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("it is %s (%s): %w", st.State, st.Detail, context.Cause(ctx))
		}
	}
}
