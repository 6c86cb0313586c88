package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/lab/cgroup"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// lifecycleLimit bounds switching a machine on or off.
const lifecycleLimit = 30 * time.Second

// StopNode cuts a node's power: its processes, network and mounts are gone, its
// disks stay. Stopping a node that does not run is success.
func (l *Lab) StopNode(ctx context.Context, node string) error {
	if err := l.checkNode(node); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lifecycleLimit)
	defer cancel()
	if err := l.hypervisor().Do(ctx, "POST", "/machines/"+node+"/stop", nil); err != nil {
		return err
	}
	// Containers' groups would be in the way of the next life's.
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	return cgroup.Remove(ctx, hs, l.cfg.Cgroup()+"/"+node)
}

// StartNode switches a node on that was stopped, or killed.
func (l *Lab) StartNode(ctx context.Context, node string) error {
	if err := l.StopNode(ctx, node); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lifecycleLimit)
	defer cancel()
	return l.startMachine(ctx, node)
}

// RebootNode is a power cycle.
func (l *Lab) RebootNode(ctx context.Context, node string) error { return l.StartNode(ctx, node) }

// AddNode makes a new node and starts it. It is registered some seconds later.
func (l *Lab) AddNode(ctx context.Context, node string) error {
	n, err := plan.NodeNumber(node)
	if err != nil {
		return err
	}
	unlock, err := lock(l.cfg.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if slices.Contains(l.cfg.Nodes, n) {
		return fmt.Errorf("lab %q has a %s already", l.cfg.Name, node)
	}
	l.cfg.Nodes = append(l.cfg.Nodes, n)
	if err := l.cfg.Validate(); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	if err := l.prepare(node, image.Store{Dir: l.cfg.ImageStore}); err != nil {
		return err
	}
	if err := l.startMachine(ctx, node); err != nil {
		return err
	}
	return l.announceHosts()
}

// RemoveNode stops a node, deletes its Node object and throws its disks away.
func (l *Lab) RemoveNode(ctx context.Context, node string) error {
	if err := l.checkNode(node); err != nil {
		return err
	}
	unlock, err := lock(l.cfg.Name)
	if err != nil {
		return err
	}
	defer unlock()
	if err := l.StopNode(ctx, node); err != nil {
		return err
	}
	client, err := l.Client()
	if err != nil {
		return err
	}
	if err := client.CoreV1().Nodes().Delete(ctx, node, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete node %s: %w", node, err)
	}
	n, err := plan.NodeNumber(node)
	if err != nil {
		return err
	}
	l.cfg.Nodes = slices.DeleteFunc(l.cfg.Nodes, func(o int) bool { return o == n })
	if err := l.save(); err != nil {
		return err
	}
	return removeAll(l.cfg.MachineDir(node))
}

func (l *Lab) checkNode(node string) error {
	if _, err := plan.NodeNumber(node); err != nil {
		return err
	}
	return l.checkMachine(node)
}

// announceHosts renews /etc/hosts of the machines that run.
func (l *Lab) announceHosts() error {
	for _, name := range l.cfg.Machines() {
		path, err := l.Path(name, "/etc/hosts")
		if err != nil {
			continue
		}
		if err := os.WriteFile(path, []byte(l.cfg.Hosts()), 0o644); err != nil {
			return fmt.Errorf("hosts of %s: %w", name, err)
		}
	}
	return nil
}

// LoadImages imports an archive of images (OCI layout or docker save) into every
// node that runs.
func (l *Lab) LoadImages(ctx context.Context, archive string) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, node := range l.Nodes() {
		if _, err := l.PID(node); err != nil {
			continue
		}
		g.Go(func() error { return l.loadImage(ctx, node, archive) })
	}
	return g.Wait()
}

func (l *Lab) loadImage(ctx context.Context, node, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	log, err := os.Create(filepath.Join(filepath.Dir(l.LogFile(node, "image-load")), "image-load.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	argv := []string{"ctr", "-n", "k8s.io", "images", "import", "--local", "-"}
	if err := l.Run(ctx, node, IO{Stdin: f, Stdout: log, Stderr: log}, argv...); err != nil {
		return &StepError{Step: "load images into " + node, LogFile: log.Name(), Err: err}
	}
	return nil
}
