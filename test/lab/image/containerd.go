package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// storeConfig is for the containerd that imports: no CRI, since it runs nothing.
const storeConfig = `version = 3
root = "%[1]s"
state = "%[2]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.blockfile"]
[grpc]
  address = "%[2]s/containerd.sock"
[ttrpc]
  address = "%[2]s/containerd.sock.ttrpc"
`

// daemon is a running containerd.
type daemon struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process has ended
	err  error         // valid then
}

// startContainerd runs containerd with its data in root and the rest in run, in a mount
// namespace of its own, so that nothing of it can be left mounted, and returns when
// it serves. It is killed when ctx ends.
func startContainerd(ctx context.Context, executable, root, run, log string) (*daemon, error) {
	config := filepath.Join(run, "config.toml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(storeConfig, root, run)), 0o644); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	// containerd tells systemd, or whoever made this socket, that it serves: sd_notify(3).
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(run, "notify"), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer notify.Close()
	cmd := exec.CommandContext(ctx, executable, "--config", config)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(run, "notify"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: syscall.CLONE_NEWNS}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	d := &daemon{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		d.err = cmd.Wait()
		close(d.done)
	}()
	select {
	case <-ready(notify):
		return d, nil
	case <-d.done:
		return nil, fmt.Errorf("containerd ended before it was ready: %w (log: %s)", errors.Join(ctx.Err(), d.err), log)
	}
}

// ready returns a channel that is closed when READY=1 arrives at the socket.
func ready(notify *net.UnixConn) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				return // closed: nobody waits any more
			}
			if strings.Contains(string(buf[:n]), "READY=1") {
				close(c)
				return
			}
		}
	}()
	return c
}

// stop ends containerd and waits for that; it may be called again.
func (d *daemon) stop() error {
	// SIGTERM lets containerd close its databases.
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop containerd: %w", err)
	}
	<-d.done
	if d.err != nil {
		return fmt.Errorf("containerd ended: %w (log: %s)", d.err, d.log)
	}
	return nil
}
