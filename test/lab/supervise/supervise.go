// Package supervise keeps the components of one lab machine running: it starts
// them when what they need is there, restarts them when they end, writes their
// logs and answers for them on a unix socket.
package supervise

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// Component is a long-running process.
type Component struct {
	// Name is unique within the machine: "kubelet".
	Name string `json:"name"`
	// Argv is the command; Argv[0] must be a path.
	Argv []string `json:"argv"`
	// Env is added to the machine's environment.
	Env []string `json:"env,omitempty"`
	// Root is a directory to chroot into, or empty.
	Root string `json:"root,omitempty"`
	// Gates must be open before Before and Argv are run.
	Gates []Gate `json:"gates,omitempty"`
	// Before is run ahead of every start.
	Before []Command `json:"before,omitempty"`
	// StopWith is a command that asks the component to end; without it, or when
	// it fails, SIGTERM does.
	StopWith *Command `json:"stopWith,omitempty"`
}

// States of a component.
const (
	StateWaiting = "waiting" // for a gate
	StateRunning = "running"
	StateBackoff = "back-off" // ended, to be started again
	StateStopped = "stopped"  // by request
)

// Status is what a supervisor knows about one component.
type Status struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Detail says what it waits for, or how it ended last.
	Detail string `json:"detail,omitempty"`
	// PID as the machine's own pid namespace counts; 0 when it does not run.
	PID int `json:"pid"`
	// Restarts counts starts after the first one.
	Restarts int `json:"restarts"`
	// Since is when the state was entered.
	Since time.Time `json:"since"`
	// RSS is the resident set size in bytes.
	RSS int64 `json:"rss"`
}

// Back-off between restarts: doubled from the first to the last, and reset once
// a process has lived long enough to count as healthy.
const (
	backoffFirst   = 100 * time.Millisecond
	backoffLast    = 3 * time.Second
	backoffHealthy = 10 * time.Second
	stopGrace      = 5 * time.Second
)

// Supervisor runs components.
type Supervisor struct {
	reaper *Reaper
	env    []string
	logDir string

	mu    sync.Mutex
	units map[string]*unit
	order []string
	wg    sync.WaitGroup
}

// New returns a supervisor whose components get the environment env and write
// to logDir/NAME.log.
func New(reaper *Reaper, env []string, logDir string) *Supervisor {
	return &Supervisor{reaper: reaper, env: env, logDir: logDir, units: map[string]*unit{}}
}

// unit is a component together with the goroutine that keeps it running.
type unit struct {
	Component
	sup *Supervisor
	// wake ends a back-off at once.
	wake chan struct{}

	mu     sync.Mutex
	status Status
	// want says whether the component should run.
	want bool
	// starts counts the processes started so far.
	starts int
	// changed is closed and replaced at every change of status.
	changed chan struct{}
}

// Add starts keeping a component running, until ctx ends.
func (s *Supervisor) Add(ctx context.Context, c Component) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.units[c.Name]; ok {
		return fmt.Errorf("component %s exists already", c.Name)
	}
	u := &unit{Component: c, sup: s, want: true, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	u.status = Status{Name: c.Name, State: StateWaiting, Since: time.Now()}
	s.units[c.Name] = u
	s.order = append(s.order, c.Name)
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		u.run(ctx)
	}()
	return nil
}

// Wait returns when all components' goroutines have ended.
func (s *Supervisor) Wait() { s.wg.Wait() }

// Status lists the components in the order in which they were added.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, 0, len(s.order))
	for _, n := range s.order {
		u := s.units[n]
		u.mu.Lock()
		out = append(out, u.status)
		u.mu.Unlock()
	}
	return out
}

func (s *Supervisor) unit(name string) (*unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u, ok := s.units[name]
	if ok {
		return u, nil
	}
	known := append([]string(nil), s.order...)
	sort.Strings(known)
	return nil, fmt.Errorf("no component %q here; there are: %s", name, strings.Join(known, ", "))
}

func (u *unit) set(state, detail string, pid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.change(state, detail, pid)
}

// change is set for those who hold the lock.
func (u *unit) change(state, detail string, pid int) {
	u.status.State, u.status.Detail, u.status.PID = state, detail, pid
	u.status.Since = time.Now()
	close(u.changed)
	u.changed = make(chan struct{})
}

func (u *unit) wanted() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.want
}

// run is the life of a component: wait, start, wait for its end, back off.
func (u *unit) run(ctx context.Context) {
	backoff := backoffFirst
	for ctx.Err() == nil {
		if !u.wanted() {
			u.set(StateStopped, "by request", 0)
			select {
			case <-u.wake:
			case <-ctx.Done():
			}
			continue
		}
		began := time.Now()
		detail := u.once(ctx)
		if time.Since(began) > backoffHealthy {
			backoff = backoffFirst
		}
		if ctx.Err() != nil || !u.wanted() {
			backoff = backoffFirst
			continue
		}
		u.set(StateBackoff, detail, 0)
		klog.InfoS("Component ended", "component", u.Name, "how", detail, "restartIn", backoff)
		select {
		case <-time.After(backoff):
		case <-u.wake:
		case <-ctx.Done():
		}
		backoff = min(2*backoff, backoffLast)
	}
}

// once waits for the gates, runs the process and returns how it ended.
func (u *unit) once(ctx context.Context) string {
	for _, g := range u.Gates {
		u.set(StateWaiting, g.String(), 0)
		if err := u.waitGate(ctx, g); err != nil {
			return err.Error()
		}
	}
	log, err := os.OpenFile(filepath.Join(u.sup.logDir, u.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	for _, c := range u.Before {
		if out, err := u.sup.reaper.Output(ctx, c, u.environ()); err != nil {
			fmt.Fprintf(log, "before start: %v\n%s", err, out)
			return "before start: " + err.Error()
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err.Error()
	}
	defer null.Close()
	pid, done, err := u.sup.reaper.Start(u.Argv, &syscall.ProcAttr{
		Env:   u.environ(),
		Dir:   "/",
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true, Chroot: u.Root},
	})
	if err != nil {
		fmt.Fprintln(log, err)
		return err.Error()
	}
	u.started(pid)
	if !u.wanted() {
		// Stop came while it was being started and knew no process to end.
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	ws := <-done
	fmt.Fprintf(log, "-- %s %s: %s\n", time.Now().Format(time.RFC3339), u.Name, statusText(ws))
	return statusText(ws)
}

// waitGate waits for a gate, or until the component is told to stop.
func (u *unit) waitGate(ctx context.Context, g Gate) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	end := make(chan error, 1)
	go func() { end <- g.Wait(ctx) }()
	for {
		select {
		case err := <-end:
			return err
		case <-u.wake:
			if !u.wanted() {
				cancel()
				return <-end
			}
		}
	}
}

func (u *unit) environ() []string { return append(append([]string(nil), u.sup.env...), u.Env...) }

func (u *unit) started(pid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.starts++
	u.status.Restarts = u.starts - 1
	u.change(StateRunning, "", pid)
}
