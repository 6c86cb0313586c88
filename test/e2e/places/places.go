// Package places finds the networks of a lab's machines and pods, so that packets can be sent from inside them.
package places

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// Machine returns the network of a machine.
func Machine(l *cluster.Lab, name string) (traffic.Place, error) {
	pid, err := l.PID(name)
	if err != nil {
		return traffic.Place{}, err
	}
	p := traffic.Place{Name: name, NetNS: fmt.Sprintf("/proc/%d/ns/net", pid)}
	switch name {
	case plan.ControlPlane:
		p.Addresses = l.Family().ControlPlane()
	case plan.Outside:
		p.Addresses = l.Family().OutsideServer()
	default:
		p.Addresses, err = l.NodeAddrs(name)
	}
	return p, err
}

// Pods returns the networks of pods; it finds them by the pods' addresses. A pod in its node's network has the node's.
func Pods(l *cluster.Lab, pods ...*corev1.Pod) ([]traffic.Place, error) {
	index := map[string]map[netip.Addr]string{}
	var out []traffic.Place
	for _, p := range pods {
		node := p.Spec.NodeName
		if p.Spec.HostNetwork {
			place, err := Machine(l, node)
			if err != nil {
				return nil, err
			}
			place.Name = p.Name
			out = append(out, place)
			continue
		}
		if index[node] == nil {
			var err error
			if index[node], err = namespaces(l, node); err != nil {
				return nil, err
			}
		}
		place, err := find(index[node], p)
		if err != nil {
			return nil, err
		}
		out = append(out, place)
	}
	return out, nil
}

func find(index map[netip.Addr]string, p *corev1.Pod) (traffic.Place, error) {
	addresses := PodAddresses(p)
	for _, a := range addresses[:min(1, len(addresses))] {
		if path, ok := index[a]; ok {
			return traffic.Place{Name: p.Name, NetNS: path, Addresses: addresses}, nil
		}
	}
	return traffic.Place{}, fmt.Errorf("pod %s/%s is %s: no network namespace on %s has its address %v",
		p.Namespace, p.Name, p.Status.Phase, p.Spec.NodeName, addresses)
}

// PodAddresses are a pod's addresses as Kubernetes shows them.
func PodAddresses(p *corev1.Pod) []netip.Addr {
	var out []netip.Addr
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// namespaces returns the pods' network namespaces on a node by the addresses of their eth0.
func namespaces(l *cluster.Lab, node string) (map[netip.Addr]string, error) {
	dir, err := l.Path(node, "/run/netns")
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]string{}
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || st.Mode().IsRegular() && st.Size() > 0 {
			continue
		}
		addresses, err := Addresses(f, "eth0")
		if err != nil {
			continue // a sandbox that is being made or removed
		}
		for _, a := range addresses {
			out[a.Addr()] = f
		}
	}
	return out, nil
}

// Addresses returns the addresses of a device in a network namespace, but for link-local ones.
func Addresses(ns, device string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	err := netns.Do(ns, func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, a := range addresses {
			ip, ok := netip.AddrFromSlice(a.IP)
			ones, _ := a.Mask.Size()
			if ok && !ip.Unmap().IsLinkLocalUnicast() {
				out = append(out, netip.PrefixFrom(ip.Unmap(), ones))
			}
		}
		return nil
	})
	return out, err
}
