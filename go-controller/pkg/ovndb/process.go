package ovndb

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

// exitTimeout bounds the orderly end of a server, with its leadership handed over.
const exitTimeout = 4 * time.Second

// process is a child that dies with this process.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // readable once ended is closed
}

// startProcess starts a program whose messages go to our standard error. The kernel sends the parent-death signal when the thread that
// started the child ends, so that thread is kept for as long as the child runs.
func startProcess(program string, args []string) (*process, error) {
	cmd := exec.Command(program, args...) //nolint:noctx // a context would kill it; see stopServer
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	// A group of its own: what the terminal sends to us must not end the server before it is asked to.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		if p.err == nil {
			p.err = fmt.Errorf("%s ended by itself", program)
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// stopServer ends a server in order: asked to exit, it hands its leadership over first. A signal would not make it do so.
func stopServer(ctx context.Context, control string, server *process) {
	ctx, cancel := context.WithTimeout(ctx, exitTimeout)
	defer cancel()
	if _, err := Command(ctx, control, "exit"); err != nil {
		klog.ErrorS(err, "The database server does not exit when asked; ending it", "control", control)
		server.signal(syscall.SIGTERM)
	}
	select {
	case <-server.ended:
	case <-ctx.Done():
		server.signal(syscall.SIGKILL)
		<-server.ended
	}
}
