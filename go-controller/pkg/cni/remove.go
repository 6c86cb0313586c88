package cni

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
)

func ownPort(port ovsport.Status, r *request) bool {
	return port.Sandbox() == r.ContainerID && port.PodInterface() == r.IfName
}

// del removes the sandbox's attachment. What is gone already is fine; the pod need not be known. The port goes before the
// answer, which cuts the sandbox off; the veth soon after it, for the kernel may keep its deletion waiting.
func (s *Server) del(ctx context.Context, r *request, t *stages) error {
	port, ok := s.ports.Get(r.hostName())
	if ok && !ownPort(port, r) {
		// Another interface of the sandbox, or another sandbox: this one was never attached.
		return nil
	}
	if err := t.time(stagePort, func() error { return s.removePorts(ctx, r.hostName()) }); err != nil {
		return err
	}
	return t.time(stageVeth, func() error {
		err := s.unplug.add(r.hostName())
		if err == nil {
			return nil
		}
		klog.ErrorS(err, "A veth is deleted at once", "veth", r.hostName())
		return failed(stageVeth, s.plumbing.Delete(r.hostName()), "see: ip -d link show "+r.hostName())
	})
}

// gc removes the ports and veths of all sandboxes but the valid ones.
func (s *Server) gc(ctx context.Context, r *request, t *stages) error {
	stale := func(sandbox string) bool { return sandbox != "" && !r.valid[sandbox] && !s.sandboxes.busy(sandbox) }
	var ports []string
	for _, port := range s.ports.List() {
		if stale(port.Sandbox()) {
			ports = append(ports, port.Name)
		}
	}
	var errs []error
	errs = append(errs, t.time(stagePort, func() error { return s.removePorts(ctx, ports...) }))
	errs = append(errs, t.time(stageVeth, func() error { return s.collectVeths(stale) }))
	if len(ports) > 0 {
		klog.InfoS("Removed ports of sandboxes that the runtime no longer has", "ports", ports)
	}
	return errors.Join(errs...)
}

func (s *Server) collectVeths(stale func(sandbox string) bool) error {
	ends, err := s.plumbing.HostEnds()
	if err != nil {
		return failed(stageVeth, err, "")
	}
	var errs []error
	for name, sandbox := range ends {
		if stale(sandbox) {
			errs = append(errs, failed(stageVeth, s.plumbing.Delete(name), "see: ip -d link show "+name))
		}
	}
	return errors.Join(errs...)
}

// removeOrphans removes ports whose veth is gone: after a reboot the database still has the ports of
// pods that are no more.
func (s *Server) removeOrphans(ctx context.Context) error {
	ends, err := s.plumbing.HostEnds()
	if err != nil {
		return err
	}
	var orphans []string
	for _, port := range s.ports.List() {
		if _, ok := ends[port.Name]; !ok {
			orphans = append(orphans, port.Name)
		}
	}
	if len(orphans) == 0 {
		return nil
	}
	if err := s.removePorts(ctx, orphans...); err != nil {
		return fmt.Errorf("remove ports without veth: %w", err)
	}
	klog.InfoS("Removed ports whose veth is gone", "ports", orphans)
	return nil
}
