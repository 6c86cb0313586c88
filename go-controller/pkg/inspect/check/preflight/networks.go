package preflight

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// proxies: ovnkube serves services itself. Two that translate the same addresses get into each other's way.
func proxies(c *cluster) []check.Finding {
	f := check.Finding{Check: "kube-proxy", State: check.OK, Detail: "not there as a DaemonSet"}
	if err := c.unread["daemonsets"]; err != nil {
		f.State, f.Detail, f.Next = check.Warn, err.Error(), "kubectl get daemonsets -A"
		return []check.Finding{f}
	}
	for _, d := range c.daemonSets {
		if d.Name == "kube-proxy" || d.Labels["k8s-app"] == "kube-proxy" {
			f.State, f.Detail = check.Warn, fmt.Sprintf("DaemonSet %s/%s serves services", d.Namespace, d.Name)
			f.Next = fmt.Sprintf("kubectl -n %s delete daemonset %s, and on each node kube-proxy --cleanup", d.Namespace, d.Name)
		}
	}
	return []check.Finding{f}
}

// plugins are other networks, by the beginnings of the names of their DaemonSets and of their annotations on nodes.
func plugins() map[string]struct{ daemonSets, annotations []string } {
	return map[string]struct{ daemonSets, annotations []string }{
		"flannel":        {[]string{"kube-flannel"}, []string{"flannel.alpha.coreos.com/"}},
		"Calico":         {[]string{"calico-node", "canal"}, []string{"projectcalico.org/"}},
		"Cilium":         {[]string{"cilium"}, []string{"network.cilium.io/", "io.cilium.network"}},
		"Antrea":         {[]string{"antrea-agent"}, []string{"node.antrea.io/"}},
		"Weave Net":      {[]string{"weave-net"}, nil},
		"kube-router":    {[]string{"kube-router"}, []string{"kube-router.io/"}},
		"Kube-OVN":       {[]string{"kube-ovn", "ovs-ovn"}, []string{"ovn.kubernetes.io/"}},
		"OpenShift SDN":  {[]string{"sdn"}, nil},
		"OVN-Kubernetes": {[]string{"ovnkube-node", "ovnkube-db", "ovnkube-master"}, []string{names.NodeSubnetsAnnotation}},
		"kindnet":        {[]string{"kindnet"}, nil},
		"AWS VPC CNI":    {[]string{"aws-node"}, nil},
		"Azure CNI":      {[]string{"azure-cni", "azure-cns"}, nil},
	}
}

// others finds networks that are there, or have been.
func others(c *cluster) []check.Finding {
	var out []check.Finding
	for name, marks := range plugins() {
		var there []string
		for _, d := range c.daemonSets {
			ours := d.Labels[names.PodNameLabel] == names.PodName
			if !ours && slices.ContainsFunc(marks.daemonSets, func(beginning string) bool { return strings.HasPrefix(d.Name, beginning) }) {
				there = append(there, d.Namespace+"/"+d.Name)
			}
		}
		annotated := slices.ContainsFunc(c.nodes, func(n corev1.Node) bool {
			for key := range n.Annotations {
				if slices.ContainsFunc(marks.annotations, func(beginning string) bool { return strings.HasPrefix(key, beginning) }) {
					return true
				}
			}
			return false
		})
		switch {
		case len(there) > 0:
			out = append(out, check.Finding{Check: "another network: " + name, State: check.Fail, Detail: "DaemonSets " + some(there),
				Next: "a cluster has one default network: remove it, with its files in /etc/cni/net.d and its rules on the nodes"})
		case annotated:
			out = append(out, check.Finding{Check: "another network: " + name, State: check.Warn, Detail: "its annotations are on nodes",
				Next: "look for its files in /etc/cni/net.d and its rules on the nodes"})
		}
	}
	if c.unread["daemonsets"] == nil && len(out) == 0 {
		return []check.Finding{{Check: "another network", State: check.OK, Detail: "none is known to be there"}}
	}
	slices.SortFunc(out, func(a, b check.Finding) int { return strings.Compare(a.Check, b.Check) })
	return out
}

// named is a network with what it is for.
type named struct {
	what   string
	prefix netip.Prefix
}

// networks looks for two that have addresses in common.
func networks(c *cluster) []check.Finding {
	var all []named
	for what, list := range map[string][]netip.Prefix{
		"pods (--cluster-subnets)": c.Pods, "services": c.Services, "join subnet": c.Join,
		"masquerade subnet": {names.MasqueradeSubnet(true), names.MasqueradeSubnet(false)},
	} {
		for _, p := range list {
			all = append(all, named{what, p})
		}
	}
	slices.SortFunc(all, func(a, b named) int { return strings.Compare(a.what+a.prefix.String(), b.what+b.prefix.String()) })
	var bad []string
	for i, a := range all {
		for _, b := range all[:i] {
			if a.prefix.Overlaps(b.prefix) {
				bad = append(bad, fmt.Sprintf("%s %s and %s %s", b.what, b.prefix, a.what, a.prefix))
			}
		}
		for _, n := range c.nodes {
			for _, address := range addresses(n) {
				if a.prefix.Contains(address) {
					bad = append(bad, fmt.Sprintf("%s %s and node %s %s", a.what, a.prefix, n.Name, address))
				}
			}
		}
	}
	f := check.Finding{Check: "networks do not overlap", State: check.OK, Detail: fmt.Sprintf("pods %s, services %s", join(c.Pods), join(c.Services))}
	if len(bad) > 0 {
		f.State, f.Detail, f.Next = check.Fail, some(bad), "choose others: --cluster-subnets, --gateway-v4-join-subnet, --gateway-v6-join-subnet"
	}
	return []check.Finding{f}
}

// families: whatever family pods have, nodes and services need, too.
func families(c *cluster) []check.Finding {
	f := check.Finding{Check: "address families", State: check.OK}
	var bad, have []string
	for _, family := range []struct {
		v4   bool
		name string
	}{{true, "IPv4"}, {false, "IPv6"}} {
		of := func(p netip.Prefix) bool { return p.Addr().Is4() == family.v4 }
		services := slices.ContainsFunc(c.services, of)
		if !slices.ContainsFunc(c.Pods, of) {
			if services {
				bad = append(bad, "services have "+family.name+", pods would not")
			}
			continue
		}
		have = append(have, family.name)
		if !services && len(c.services) > 0 {
			bad = append(bad, "pods would have "+family.name+", services do not")
		}
		for _, n := range c.nodes {
			if !slices.ContainsFunc(addresses(n), func(a netip.Addr) bool { return a.Is4() == family.v4 }) {
				bad = append(bad, "node "+n.Name+" has no "+family.name+" address")
			}
		}
	}
	f.Detail = strings.Join(have, ", ")
	if len(bad) > 0 {
		f.State, f.Detail, f.Next = check.Fail, some(bad), "give --cluster-subnets the families that the cluster has, or the nodes addresses (kubelet --node-ip)"
	}
	return []check.Finding{f}
}

func addresses(n corev1.Node) []netip.Addr {
	var out []netip.Addr
	for _, na := range n.Status.Addresses {
		if a, err := netip.ParseAddr(na.Address); err == nil && na.Type == corev1.NodeInternalIP {
			out = append(out, a)
		}
	}
	return out
}

func join(list []netip.Prefix) string {
	if len(list) == 0 {
		return "unknown"
	}
	var out []string
	for _, p := range list {
		out = append(out, p.String())
	}
	return strings.Join(out, ",")
}
