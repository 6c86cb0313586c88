package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
)

// rollbackTimeout bounds the removal of what a failed ADD has made.
const rollbackTimeout = 10 * time.Second

// add makes the sandbox's attachment, or finds it made.
func (s *Server) add(ctx context.Context, r *request, t *stages) (json.RawMessage, error) {
	var a attachment
	err := t.time(stageAnnotation, func() error {
		info, network, err := s.awaitNetwork(ctx, r.pod)
		a = s.plan(r, info, network)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.checkForeign(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go s.supervise(ctx, r.pod, a.network, cancel)

	if !s.isMade(a) {
		if err := s.attach(ctx, a, t); err != nil {
			s.rollback(ctx, r, a, err)
			return nil, err
		}
	} else if err := s.awaitFlows(ctx, a, t); err != nil {
		return nil, err
	}
	return r.encode(a.result(r.prev))
}

// checkForeign refuses a second attachment of a sandbox: its port and veth are named after the sandbox.
func (s *Server) checkForeign(r *request) error {
	port, ok := s.ports.Get(r.hostName())
	if !ok || ownPort(port, r) {
		return nil
	}
	return failed(stagePort, coded(types.ErrInvalidEnvironmentVariables,
		"port %s belongs to interface %s of sandbox %s", port.Name, port.PodInterface(), port.Sandbox()), "see: ovs-vsctl list Interface "+port.Name)
}

// isMade tells whether an earlier ADD for the sandbox did all but wait for the flows.
func (s *Server) isMade(a attachment) bool {
	port, ok := s.ports.Get(a.port.Name)
	if !ok || len(port.Differences(a.port)) > 0 {
		return false
	}
	differences, err := s.plumbing.Differences(a.veth)
	return err == nil && len(differences) == 0
}

// attach makes veth and port. ovn-controller binds the port while the pod's end is being configured.
func (s *Server) attach(ctx context.Context, a attachment, t *stages) error {
	if _, ok := s.ports.Get(a.port.Name); ok {
		// Left by an ADD that was cut. Its veth is made anew, so ovs-vswitchd must let go of the old one.
		if err := t.time(stagePort, func() error { return s.removePorts(ctx, a.port.Name) }); err != nil {
			return err
		}
	}
	if _, reused := s.removed.LoadAndDelete(a.port.Name); reused {
		err := t.time(stagePort, func() error {
			return failed(stagePort, s.ports.Sync(ctx), "see: ovs-vsctl show, and ovs-vswitchd's log")
		})
		if err != nil {
			return err
		}
	}
	err := t.time(stageVeth, func() error {
		if err := s.unplug.withdraw(a.veth.HostName); err != nil {
			return failed(stageVeth, err, "")
		}
		return failed(stageVeth, s.plumbing.Create(a.veth), "see: ip -d link show "+a.veth.HostName)
	})
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error {
		return t.time(stagePod, func() error {
			return failed(stagePod, s.plumbing.Configure(a.veth), "see: nsenter --net="+a.veth.Netns+" ip addr")
		})
	})
	g.Go(func() error {
		err := t.time(stagePort, func() error {
			return failed(stagePort, s.ports.Add(ctx, a.port), "are ovsdb-server and the node agent's bridge there? see: ovs-vsctl show")
		})
		if err != nil {
			return err
		}
		return s.awaitFlows(ctx, a, t)
	})
	return g.Wait()
}

func (s *Server) awaitFlows(ctx context.Context, a attachment, t *stages) error {
	return t.time(stageFlows, func() error {
		return failed(stageFlows, s.ports.WaitInstalled(ctx, a.port.Name), "see: ovs-vsctl list Interface "+a.port.Name+", and ovn-controller's log")
	})
}

// rollback removes what a failed ADD has made. When the agent stops there is none: the shim asks the next agent again,
// which goes on from there.
func (s *Server) rollback(ctx context.Context, r *request, a attachment, cause error) {
	if errors.Is(cause, errShutdown) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	err := errors.Join(s.removePorts(ctx, a.port.Name), s.plumbing.Delete(a.veth.HostName))
	if err != nil {
		klog.ErrorS(err, "Could not undo a failed ADD; the runtime's DEL or GC will", "pod", r.pod, "sandbox", r.ContainerID)
	}
}

// reuseTime is how long ovs-vswitchd may take to let go of the device of a port that was removed. It then gives the device of that name
// the flags back that it found, which takes a new one down.
const reuseTime = time.Minute

// removePorts removes ports, and remembers their names for a while: before the same sandbox is attached again,
// ovs-vswitchd must have let go of the old veth.
func (s *Server) removePorts(ctx context.Context, portNames ...string) error {
	for _, name := range portNames {
		if _, ok := s.ports.Get(name); ok {
			s.removed.Store(name, nil)
			time.AfterFunc(reuseTime, func() { s.removed.Delete(name) })
		}
	}
	return failed(stagePort, s.ports.Remove(ctx, portNames...), "is ovsdb-server running? see: ovs-vsctl show")
}

// plumbing makes, checks and removes veth pairs.
type plumbing interface {
	Create(v plumb.Veth) error
	Configure(v plumb.Veth) error
	Differences(v plumb.Veth) ([]string, error)
	Delete(hostName string) error
	HostEnds() (map[string]string, error)
}

// kernel is the plumbing of this machine.
type kernel struct{}

func (kernel) Create(v plumb.Veth) error                  { return plumb.Create(v) }
func (kernel) Configure(v plumb.Veth) error               { return plumb.Configure(v) }
func (kernel) Differences(v plumb.Veth) ([]string, error) { return plumb.Differences(v) }
func (kernel) Delete(hostName string) error               { return plumb.Delete(hostName) }
func (kernel) HostEnds() (map[string]string, error)       { return plumb.HostEnds() }

// errNotReady is wrapped by what STATUS reports.
var errNotReady = errors.New("not ready")

func notReady(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errNotReady, fmt.Errorf(format, args...))
}
