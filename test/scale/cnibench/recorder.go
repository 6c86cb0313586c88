package cnibench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/scale/cnibench/record"
)

const pluginDir = "/opt/cni/bin"

// recorder reads what cnirec writes on one node.
type recorder struct {
	file string
	// plugin is the executable that the container runtime calls.
	plugin string
	// skip is how many calls were there when the current phase began.
	skip int
}

// installRecorder puts cnirec in the place of the plugin on a node. containerd looks the plugin up by name at each
// call, so that nothing has to be restarted.
func installRecorder(ctx context.Context, lab *cluster.Lab, root, node string) (*recorder, error) {
	plugin, err := lab.Path(node, filepath.Join(pluginDir, names.CNIPlugin))
	if err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", plugin+".new", "./scale/cmd/cnirec")
	build.Dir = filepath.Join(root, "test")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the recorder: %w: %s", err, out)
	}
	if err := os.Link(plugin, plugin+record.Suffix); err != nil {
		return nil, fmt.Errorf("install the recorder: %w", err)
	}
	// Renaming over it leaves no moment without a plugin.
	if err := os.Rename(plugin+".new", plugin); err != nil {
		return nil, fmt.Errorf("install the recorder: %w", err)
	}
	file, err := lab.Path(node, record.File)
	if err != nil {
		return nil, err
	}
	return &recorder{file: file, plugin: plugin}, nil
}

// asideSuffix is of the recorder while it is suspended.
const asideSuffix = ".aside"

// suspend puts the plugin itself back: the recorder costs a process at each call.
func (r *recorder) suspend() error {
	if err := os.Link(r.plugin, r.plugin+asideSuffix); err != nil {
		return fmt.Errorf("suspend the recorder: %w", err)
	}
	if err := os.Link(r.plugin+record.Suffix, r.plugin+".new"); err != nil {
		return fmt.Errorf("suspend the recorder: %w", err)
	}
	return os.Rename(r.plugin+".new", r.plugin)
}

// resume takes suspend back.
func (r *recorder) resume() error { return os.Rename(r.plugin+asideSuffix, r.plugin) }

func (r *recorder) all() ([]record.Call, error) {
	data, err := os.ReadFile(r.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("records of CNI calls: %w", err)
	}
	var calls []record.Call
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		var c record.Call
		if err := json.Unmarshal(s.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("records of CNI calls: %w", err)
		}
		calls = append(calls, c)
	}
	return calls, nil
}

// begin starts a phase: calls until now do not count.
func (r *recorder) begin() error {
	calls, err := r.all()
	r.skip = len(calls)
	return err
}

// durations returns those of a command's successful calls in this phase. A failed ADD is an error: its time says
// nothing.
func (r *recorder) durations(command string) ([]time.Duration, error) {
	calls, err := r.all()
	if err != nil {
		return nil, err
	}
	return durations(calls[r.skip:], command)
}

func durations(calls []record.Call, command string) ([]time.Duration, error) {
	var out []time.Duration
	for _, c := range calls {
		if c.Command != command {
			continue
		}
		if c.Status != 0 {
			return nil, fmt.Errorf("%s for sandbox %s failed with status %d", c.Command, c.Container, c.Status)
		}
		out = append(out, c.Duration)
	}
	return out, nil
}

// wait returns the durations of a command in this phase once there are n of them.
func (r *recorder) wait(ctx context.Context, command string, n int) ([]time.Duration, error) {
	for {
		out, err := r.durations(command)
		if err != nil || len(out) >= n {
			return out, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d of %d calls of %s were recorded: %w", len(out), n, command, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond): // the file is written inside the node
		}
	}
}
