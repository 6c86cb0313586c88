package openflow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	program = "ovs-ofctl"
	// runDir is where ovs-vswitchd has its sockets, if nothing else is known.
	runDir = "/var/run/openvswitch"
	// openflow is the version from which on there are bundles.
	openflow = "--protocols=OpenFlow14"
	// timeout is how long, in seconds, an answer of ovs-vswitchd may take.
	timeout = "--timeout=10"
	// slowTimeout is for what reads or writes all flows of a bridge, of which there may be hundreds of thousands.
	slowTimeout = "--timeout=60"
	// differs is how diff-flows ends when there is a difference.
	differs = 2
)

// Bridge reaches the flows of a bridge.
type Bridge struct {
	Name string
	// Socket is the bridge's OpenFlow socket, such as /run/openvswitch/br-ex.mgmt.
	Socket string
	// Cookie is on all flows of ours.
	Cookie uint64
}

// SocketBeside returns the OpenFlow socket of a bridge whose database is at endpoint.
func SocketBeside(endpoint, bridge string) string {
	dir := runDir
	if path, ok := strings.CutPrefix(endpoint, "unix:"); ok {
		dir = filepath.Dir(path)
	}
	return filepath.Join(dir, bridge+".mgmt")
}

func (b Bridge) target() string { return "unix:" + b.Socket }

// compare returns what has to change so that the flows are the only ones on the bridge that have its cookie.
func (b Bridge) compare(ctx context.Context, flows []rendered) ([]Change, error) {
	diff, err := b.diff(ctx, flows)
	if err != nil {
		return nil, err
	}
	return changes(diff, b.Cookie)
}

// apply makes changes, in one bundle.
func (b Bridge) apply(ctx context.Context, todo []Change) error {
	if len(todo) == 0 {
		return nil
	}
	var in bytes.Buffer
	for _, c := range todo {
		fmt.Fprintln(&in, c)
	}
	if _, err := run(ctx, &in, openflow, timeout, "--bundle", "add-flows", b.target(), "-"); err != nil {
		return fmt.Errorf("change %d flows of %s: %w", len(todo), b.Name, err)
	}
	return nil
}

// diff lets Open vSwitch compare.
func (b Bridge) diff(ctx context.Context, flows []rendered) ([]byte, error) {
	var in bytes.Buffer
	for _, f := range flows {
		fmt.Fprintln(&in, f.text)
	}
	out, err := run(ctx, &in, openflow, timeout, "--no-names", "diff-flows", b.target(), "/dev/stdin")
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == differs {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("compare the flows of %s: %w", b.Name, err)
	}
	return out, nil
}

func run(ctx context.Context, in io.Reader, args ...string) ([]byte, error) {
	var out bytes.Buffer
	_, err := execute(ctx, in, &out, args...)
	return out.Bytes(), err
}

// runInto is run with the output into a file, which the program writes itself. It returns the processor's time that it took.
func runInto(ctx context.Context, out *os.File, args ...string) (time.Duration, error) {
	return execute(ctx, nil, out, args...)
}

func execute(ctx context.Context, in io.Reader, out io.Writer, args ...string) (cost time.Duration, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &complaint
	err = cmd.Run()
	if err != nil && complaint.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(complaint.Bytes()))
	}
	if s := cmd.ProcessState; s != nil {
		cost = s.UserTime() + s.SystemTime()
	}
	return cost, err
}
