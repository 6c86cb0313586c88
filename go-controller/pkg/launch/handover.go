package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

const (
	handOverPause = 250 * time.Millisecond
	// handOverCalm is how many times in turn all must be well: the node agent may have been told to end at the same time.
	handOverCalm = 4
)

// HandOver is for a container that is to end: it waits until the next one of the same program is there to take its place, and a node
// agent beside it. With the userspace datapath the host has no network without them, and nobody could send them. It returns an error when
// ctx ends first; the container ends all the same. With the kernel's datapath, and without the external bridge, there is nothing to wait for.
func (c *Config) HandOver(ctx context.Context, program string) error {
	if !c.userspace(ctx) {
		return nil
	}
	last := ""
	for calm := 0; ; {
		err := c.successor(program)
		if err == nil {
			err = c.agentServes(ctx)
		}
		if calm++; err != nil {
			calm = 0
			if text := err.Error(); text != last {
				klog.InfoS("Waiting before the end", "program", program, "reason", text)
				last = text
			}
		}
		if calm == handOverCalm {
			return nil
		}
		if !retry.Sleep(ctx, handOverPause) {
			return fmt.Errorf("%s ends though the host may lose its network: %w", program, errors.Join(err, ctx.Err()))
		}
	}
}

// userspace tells whether packets stop, and the host's with them, when ovs-vswitchd ends.
func (c *Config) userspace(ctx context.Context) bool {
	datapath, err := output(ctx, "ovs-vsctl", "--db=unix:"+c.socket(), "--timeout=3", "get", "Bridge", names.ExternalBridge, "datapath_type")
	return err == nil && datapath == ovs.Netdev
}

// announce tells those who look for a successor that this process waits, until it becomes the program or ends.
func (c *Config) announce(program string) error {
	fd, err := c.openNext(program)
	if err != nil {
		return err
	}
	if err := flock(fd, unix.LOCK_SH); err != nil {
		return fmt.Errorf("announce that the next %s is there: %w", program, err)
	}
	return nil
}

func (c *Config) successor(program string) error {
	fd, err := c.openNext(program)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return errors.New("no other container is there to take its place")
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("look for the next %s: %w", program, err)
	}
	return nil
}

// openNext opens what those who wait have a shared lock on.
func (c *Config) openNext(program string) (int, error) {
	path := c.hidden(program, "next")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0, fmt.Errorf("lock %s: %w", path, err)
	}
	return fd, nil
}

func (c *Config) agentServes(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.AgentSocket)
	if err != nil {
		return fmt.Errorf("the node agent: %w", err)
	}
	return conn.Close()
}
