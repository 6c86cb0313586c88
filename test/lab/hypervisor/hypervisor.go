// Package hypervisor is the process that holds a lab together: PID 1 of a pid
// namespace in which all machines' namespaces are nested. It starts machines,
// plugs their network cables and notices their end; when it dies, the kernel
// ends everything in the lab.
package hypervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/test/lab/cgroup"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/proc"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// CloneFlags are the namespaces that the process must be started with. It stays
// in the network namespace of the host, where it neither has nor makes devices.
const CloneFlags = unix.CLONE_NEWPID | unix.CLONE_NEWNS

// Hub is the machine that holds the underlay bridge; the others plug into it.
const Hub = "cp"

// Files of the lab's directory.
const (
	socketFile   = "lab.sock"
	identityFile = "lab-init.json"
	procDir      = "proc"
)

// SocketPath is where the hypervisor of the lab in dir answers.
func SocketPath(dir string) string { return filepath.Join(dir, socketFile) }

// IdentityPath is where the hypervisor of the lab in dir says who it is.
func IdentityPath(dir string) string { return filepath.Join(dir, identityFile) }

// Status is what the hypervisor knows about a machine.
type Status struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	// Ended says how it ended last.
	Ended string `json:"ended,omitempty"`
}

// running is a machine's init.
type running struct {
	pid  int
	done chan struct{} // closed when it has ended
	how  string        // valid after done
}

type hypervisor struct {
	dir    string
	reaper *supervise.Reaper

	// hubPID is the id of the hub's init, once it has been started.
	hubPID atomic.Value

	mu       sync.Mutex
	machines map[string]*running
}

// Run is the life of the hypervisor of the lab in dir, in the cgroup group. It
// returns only an error, or nil after ctx ended.
func Run(ctx context.Context, dir, group string) error {
	// Before anything else: whoever wants to end this lab must find it.
	self, err := proc.Self()
	if err != nil {
		return err
	}
	if err := self.WriteFile(IdentityPath(dir)); err != nil {
		return err
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	if err := cgroup.Join(hs, group); err != nil {
		return err
	}
	if err := mountProc(filepath.Join(dir, procDir)); err != nil {
		return err
	}
	h := &hypervisor{dir: dir, reaper: supervise.NewReaper(), machines: map[string]*running{}}
	go h.reaper.Run(ctx)
	sock := SocketPath(dir)
	_ = os.Remove(sock)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", sock)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	srv := &http.Server{Handler: h.handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// mountProc mounts this pid namespace's /proc in a place of its own. /proc
// itself stays the host's: machines find their host-wide id there.
func mountProc(dir string) error {
	// A slave hears when the host unmounts something, and lets go of it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts from the host: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", dir, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

func (h *hypervisor) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(h.status())
	})
	mux.HandleFunc("POST /machines/{name}/{verb}", func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.PathValue("verb") {
		case "start":
			err = h.start(r.Context(), r.PathValue("name"))
		case "stop":
			err = h.stop(r.Context(), r.PathValue("name"))
		default:
			err = fmt.Errorf("cannot %q a machine", r.PathValue("verb"))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return mux
}

func (h *hypervisor) status() []Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := []Status{}
	for name, m := range h.machines {
		st := Status{Name: name, Running: true}
		select {
		case <-m.done:
			st.Running, st.Ended = false, m.how
		default:
		}
		out = append(out, st)
	}
	return out
}

// start starts a machine and returns when its network is wired.
func (h *hypervisor) start(ctx context.Context, name string) error {
	spec, err := machine.ReadSpec(filepath.Join(h.dir, name))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if m, ok := h.machines[name]; ok {
		select {
		case <-m.done:
		default:
			return fmt.Errorf("machine %s runs already", name)
		}
	}
	began := time.Now()
	m, ours, err := h.spawn(spec)
	if err != nil {
		return fmt.Errorf("machine %s: %w", name, err)
	}
	defer ours.Close()
	if err := h.connect(ctx, spec, m, ours); err != nil {
		_ = syscall.Kill(m.pid, syscall.SIGKILL)
		<-m.done
		return fmt.Errorf("machine %s (init %s): %w", name, m.how, err)
	}
	h.machines[name] = m
	if name == Hub {
		h.hubPID.Store(m.pid)
	}
	klog.InfoS("Machine started", "machine", name, "took", time.Since(began))
	return nil
}

// spawn starts a machine's init. The returned file speaks to it.
func (h *hypervisor) spawn(spec *machine.Spec) (*running, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socket pair: %w", err)
	}
	// A blocking socket would hold a read despite its deadline.
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "wired"), os.NewFile(uintptr(pair[1]), "wired")
	defer theirs.Close()
	if err := os.MkdirAll(spec.Path(machine.LogDir), 0o755); err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	log, err := os.OpenFile(spec.Path(machine.LogDir, "init.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	defer null.Close()
	pid, done, err := h.reaper.Start(
		[]string{"/proc/self/exe", "machine-enter", "--dir", spec.Dir, "--machine", spec.Name},
		&syscall.ProcAttr{
			Dir:   "/",
			Env:   spec.Env,
			Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), theirs.Fd()},
			Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: machine.CloneFlags},
		})
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	m := &running{pid: pid, done: make(chan struct{})}
	go func() {
		ws := <-done
		h.unplug(spec)
		m.how = fmt.Sprintf("exit status %d", ws.ExitStatus())
		if ws.Signaled() {
			m.how = "killed by " + unix.SignalName(ws.Signal())
		}
		klog.InfoS("Machine ended", "machine", spec.Name, "how", m.how)
		close(m.done)
	}()
	return m, ours, nil
}

// connect waits until the init has its namespaces prepared, wires its network
// and lets it go on.
func (h *hypervisor) connect(ctx context.Context, spec *machine.Spec, m *running, ours *os.File) error {
	if dl, ok := ctx.Deadline(); ok {
		if err := ours.SetDeadline(dl); err != nil {
			return err
		}
	} else if err := ours.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	var b [1]byte
	if _, err := ours.Read(b[:]); err != nil {
		return fmt.Errorf("init did not prepare its namespaces: %w", err)
	}
	hub := ""
	if spec.Network.Bridge == "" {
		hm, ok := h.machines[Hub]
		if !ok {
			return fmt.Errorf("no machine %s to plug into", Hub)
		}
		hub = h.netns(hm.pid)
	}
	if err := wire(spec.Name, spec.Network, h.netns(m.pid), hub); err != nil {
		return err
	}
	if _, err := ours.Write(b[:]); err != nil {
		return fmt.Errorf("init ended while its network was wired: %w", err)
	}
	return nil
}

// unplug pulls the cable of a machine that has ended. The kernel does so too,
// but takes its time; until then the dead machine's kernel answers.
func (h *hypervisor) unplug(spec *machine.Spec) {
	hub, _ := h.hubPID.Load().(int)
	if spec.Network.Bridge != "" || hub == 0 {
		return
	}
	if err := unplug(spec.Name, h.netns(hub)); err != nil {
		klog.InfoS("Cable stays", "machine", spec.Name, "reason", err)
	}
}

func (h *hypervisor) netns(pid int) string {
	return filepath.Join(h.dir, procDir, fmt.Sprint(pid), "ns/net")
}

// stop is a power cut. Stopping what does not run is success.
func (h *hypervisor) stop(ctx context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.machines[name]
	if !ok {
		return nil
	}
	select {
	case <-m.done:
		return nil
	default:
	}
	if err := syscall.Kill(m.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop machine %s: %w", name, err)
	}
	select {
	case <-m.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine %s does not end: %w", name, context.Cause(ctx))
	}
}
