package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// IO are the standard files of a command; nil ones are empty or thrown away.
type IO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ExecError is returned for a command that ran and failed.
type ExecError struct {
	Machine string
	Argv    []string
	// Stderr is what it wrote there, when Exec collected it.
	Stderr string
	Err    error
}

// Error returns the machine, the command, how it ended and what it said.
func (e *ExecError) Error() string {
	s := fmt.Sprintf("on %s: %s: %v", e.Machine, strings.Join(e.Argv, " "), e.Err)
	if msg := strings.TrimSpace(e.Stderr); msg != "" {
		s += ": " + msg
	}
	return s
}

// Unwrap returns the cause, an *exec.ExitError for a status other than 0.
func (e *ExecError) Unwrap() error { return e.Err }

// Exec runs a command inside a machine ("cp", "outside", "node1", …) with its
// files, processes and network, and returns its standard output.
func (l *Lab) Exec(ctx context.Context, name string, argv ...string) (string, error) {
	var out, errOut bytes.Buffer
	err := l.Run(ctx, name, IO{Stdout: &out, Stderr: &errOut}, argv...)
	return out.String(), withStderr(err, errOut.String())
}

func withStderr(err error, text string) error {
	if ee, ok := err.(*ExecError); ok { //nolint:errorlint // Run returns it unwrapped
		ee.Stderr = text
	}
	return err
}

// Run is Exec with standard files of the caller's choice. When ctx ends the
// command is killed.
func (l *Lab) Run(ctx context.Context, name string, files IO, argv ...string) error {
	cmd, err := l.start(ctx, name, files, argv)
	if err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return &ExecError{Machine: name, Argv: argv, Err: err}
	}
	return nil
}

// Process is a command that runs inside a machine.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // valid after done
}

// Start is Run without waiting for the end. It ends with the machine at the
// latest, or when ctx ends.
func (l *Lab) Start(ctx context.Context, name string, files IO, argv ...string) (*Process, error) {
	cmd, err := l.start(ctx, name, files, argv)
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	// Always waited for, whether or not the caller does: a machine's pid namespace
	// cannot end before the parents of all its processes have taken notice.
	go func() {
		defer close(p.done)
		if err := cmd.Wait(); err != nil {
			p.err = &ExecError{Machine: name, Argv: argv, Err: err}
		}
	}()
	return p, nil
}

// PID returns the process's id as the host sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process.
func (p *Process) Kill() error { return p.cmd.Process.Kill() }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

func (l *Lab) start(ctx context.Context, name string, files IO, argv []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("no command given for machine %s", name)
	}
	pid, err := l.PID(name)
	if err != nil {
		return nil, err
	}
	spec, err := machine.ReadSpec(l.cfg.MachineDir(name))
	if err != nil {
		return nil, err
	}
	cmd := command(ctx, files, argv)
	cmd.Env = append(spec.Env, "TERM="+os.Getenv("TERM"))
	if err := netns.Start(pid, netns.All, cmd); err != nil {
		return nil, &ExecError{Machine: name, Argv: argv, Err: err}
	}
	return cmd, nil
}

// command builds a command whose path is looked up later, inside the machine.
func command(ctx context.Context, files IO, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Path, cmd.Err = argv[0], nil
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.Stdin, files.Stdout, files.Stderr
	return cmd
}

// RunNet runs a program of the host, with the host's files and processes and the
// caller's environment, in the network of a machine.
func (l *Lab) RunNet(ctx context.Context, name string, files IO, argv ...string) error {
	return l.runNet(ctx, name, files, nil, argv)
}

func (l *Lab) runNet(ctx context.Context, name string, files IO, env, argv []string) error {
	if len(argv) == 0 {
		return fmt.Errorf("no command given for the network of %s", name)
	}
	pid, err := l.PID(name)
	if err != nil {
		return err
	}
	cmd := command(ctx, files, argv)
	cmd.Env = append(os.Environ(), env...)
	if cmd.Dir, err = os.Getwd(); err != nil {
		return err
	}
	if err := netns.Start(pid, netns.NetworkOnly, cmd); err != nil {
		return &ExecError{Machine: name, Argv: argv, Err: err}
	}
	if err := cmd.Wait(); err != nil {
		return &ExecError{Machine: name, Argv: argv, Err: err}
	}
	return nil
}

// Outside runs a command on the host on the underlay that is not part of the
// cluster, and returns its standard output.
func (l *Lab) Outside(ctx context.Context, argv ...string) (string, error) {
	return l.Exec(ctx, plan.Outside, argv...)
}

// RunKubectl runs kubectl with the host's files and the administrator's rights.
func (l *Lab) RunKubectl(ctx context.Context, files IO, args ...string) error {
	argv := append([]string{l.cfg.Binaries["kubectl"]}, args...)
	return l.runNet(ctx, plan.ControlPlane, files, []string{
		"KUBECONFIG=" + l.Kubeconfig(), "KUBECACHEDIR=" + filepath.Join(l.cfg.Dir, "kube-cache")}, argv)
}

// Kubectl runs kubectl and returns its standard output.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	err := l.RunKubectl(ctx, IO{Stdout: &out, Stderr: &errOut}, args...)
	return out.String(), withStderr(err, errOut.String())
}
