package cni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
)

// check compares the sandbox's attachment with what ADD made of it.
func (s *Server) check(_ context.Context, r *request, t *stages) error {
	if r.prev == nil {
		return failed(stageRequest, coded(types.ErrInvalidNetworkConfig, "CHECK without prevResult"), "")
	}
	return t.time(stageCheck, func() error {
		info, network, err := s.networkOf(r.pod)
		if err != nil {
			return failed(stageCheck, fmt.Errorf("pod %s: %w", r.pod, err), "see: kubectl -n "+r.pod.Namespace+" get pod "+r.pod.Name+" -o yaml")
		}
		a := s.plan(r, info, network).within(r.prev)
		differences, err := s.plumbing.Differences(a.veth)
		if err != nil {
			return failed(stageCheck, err, "")
		}
		differences = append(differences, s.portDifferences(a)...)
		differences = append(differences, resultDifferences(r.prev, network)...)
		if len(differences) > 0 {
			slices.Sort(differences)
			return failed(stageCheck, coded(protocol.ErrCheck, "pod %s: %s", r.pod, strings.Join(differences, "; ")), "delete the pod to have it attached anew")
		}
		return nil
	})
}

func (s *Server) portDifferences(a attachment) []string {
	port, ok := s.ports.Get(a.port.Name)
	if !ok {
		return []string{"port " + a.port.Name + " is gone from the Open vSwitch database"}
	}
	var out []string
	for _, d := range port.Differences(a.port) {
		out = append(out, "port "+port.Name+" "+d)
	}
	if port.Error != "" {
		out = append(out, "port "+port.Name+" has error "+port.Error)
	}
	if !port.Installed() {
		out = append(out, "port "+port.Name+" has no flows (ovn-installed is not set)")
	}
	return out
}

// resultDifferences compares the addresses that ADD returned with the annotation.
func resultDifferences(prev *types100.Result, network annotations.PodNetwork) []string {
	had := map[netip.Addr]bool{}
	for _, ip := range prev.IPs {
		if a, ok := netip.AddrFromSlice(ip.Address.IP); ok {
			had[a.Unmap()] = true
		}
	}
	var out []string
	for _, p := range network.Addresses {
		if !had[p.Addr()] {
			out = append(out, "the pod's annotation has address "+p.Addr().String()+", which ADD did not return")
		}
	}
	return out
}

// status tells whether an ADD could succeed now.
func (s *Server) status() error {
	err := s.Check()
	if err == nil && !s.ports.HasBridge() {
		err = notReady("%s", "there is no bridge br-int; see: ovs-vsctl show")
	}
	if err == nil && s.opts.Ready != nil {
		err = s.opts.Ready()
	}
	if err != nil {
		return coded(types.ErrPluginNotAvailable, "node agent: %w", err)
	}
	return nil
}

// Check tells whether the server works: nil, or what is missing.
func (s *Server) Check() error {
	select {
	case <-s.serving:
	default:
		return notReady("the CNI server has not started yet")
	}
	var errs []error
	if !s.ports.Connected() {
		errs = append(errs, notReady("no connection to the Open vSwitch database"))
	}
	if !s.pods.synced() {
		errs = append(errs, notReady("the node's pods are not known yet"))
	}
	return errors.Join(errs...)
}
