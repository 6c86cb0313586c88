package cni

import (
	"net"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/ovsport"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// attachment is all that ADD makes for a sandbox.
type attachment struct {
	veth    plumb.Veth
	port    ovsport.Port
	network annotations.PodNetwork
}

// plan says what the sandbox's attachment is to be.
func (s *Server) plan(r *request, info podInfo, network annotations.PodNetwork) attachment {
	a := attachment{
		network: network,
		veth: plumb.Veth{
			HostName:  r.hostName(),
			Sandbox:   r.ContainerID,
			Pod:       r.pod.String(),
			Netns:     r.Netns,
			PodName:   r.IfName,
			MAC:       network.MAC,
			MTU:       s.opts.MTU,
			Addresses: network.Addresses,
			Userspace: s.opts.Userspace,
		},
		port: ovsport.Port{
			Name:               r.hostName(),
			LogicalPort:        names.PodLogicalPort(r.pod.Namespace, r.pod.Name),
			LogicalPortVersion: info.UID,
			MAC:                network.MAC.String(),
			Sandbox:            r.ContainerID,
			PodInterface:       r.IfName,
		},
	}
	for _, p := range network.Addresses {
		a.port.Addresses = append(a.port.Addresses, p.String())
	}
	for _, gw := range network.Gateways {
		a.veth.Routes = append(a.veth.Routes, plumb.Route{Destination: addr.Any(gw), NextHop: gw})
	}
	for _, r := range network.Routes {
		a.veth.Routes = append(a.veth.Routes, plumb.Route{Destination: r.Destination, NextHop: r.NextHop})
	}
	return a
}

// result describes the attachment to the runtime, after what earlier plugins of the list have made.
func (a attachment) result(prev *types100.Result) *types100.Result {
	out := &types100.Result{CNIVersion: types100.ImplementedSpecVersion}
	if prev != nil {
		*out = *prev
		out.CNIVersion = types100.ImplementedSpecVersion
	}
	out.Interfaces = append(out.Interfaces,
		&types100.Interface{Name: a.veth.HostName, Mtu: a.veth.MTU},
		&types100.Interface{Name: a.veth.PodName, Mac: a.veth.MAC.String(), Mtu: a.veth.MTU, Sandbox: a.veth.Netns})
	inPod := len(out.Interfaces) - 1
	for _, p := range a.network.Addresses {
		ip := &types100.IPConfig{Interface: types100.Int(inPod), Address: ipNet(p)}
		if gw, ok := addr.Pick(a.network.Gateways, p.Addr(), func(g netip.Addr) netip.Addr { return g }); ok {
			ip.Gateway = gw.AsSlice()
		}
		out.IPs = append(out.IPs, ip)
	}
	for _, r := range a.veth.Routes {
		out.Routes = append(out.Routes, &types.Route{Dst: ipNet(r.Destination), GW: r.NextHop.AsSlice()})
	}
	return out
}

// within leaves of the attachment's routes those that a result lists: a later plugin of the list may have
// changed the others (CNI specification, "CHECK").
func (a attachment) within(result *types100.Result) attachment {
	if result == nil {
		return a
	}
	listed := map[string]bool{}
	for _, r := range result.Routes {
		listed[r.Dst.String()+" "+r.GW.String()] = true
	}
	var kept []plumb.Route
	for _, r := range a.veth.Routes {
		dst := ipNet(r.Destination)
		if listed[dst.String()+" "+r.NextHop.String()] {
			kept = append(kept, r)
		}
	}
	a.veth.Routes = kept
	return a
}

func ipNet(p netip.Prefix) net.IPNet {
	return net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
