package preflight

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

const installed = names.Namespace

// few is how many of many things are named.
const few = 4

func some(all []string) string {
	if len(all) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:few], ", "), len(all)-few)
	}
	return strings.Join(all, ", ")
}

// Versions that are needed. ValidatingAdmissionPolicy, which the manifests use, is v1 since Kubernetes 1.30; connection tracking with NAT in the kernel's
// own Open vSwitch, all that OVN asks of it, is complete since Linux 4.6, and 4.18 is what distributions that are still kept up begin with.
const (
	oldestMinor  = 30
	kernelMajor  = 4
	kernelMinor  = 18
	oldestKernel = "4.18"
)

func kubernetesVersion(c *cluster) []check.Finding {
	f := check.Finding{Check: "Kubernetes", State: check.OK, Detail: c.version.GitVersion}
	minor, err := strconv.Atoi(strings.TrimRight(c.version.Minor, "+"))
	switch {
	case err != nil:
		f.State, f.Next = check.Warn, fmt.Sprintf("see that it is 1.%d or later", oldestMinor)
	case c.version.Major == "1" && minor < oldestMinor:
		f.State, f.Next = check.Fail, fmt.Sprintf("upgrade to 1.%d or later: ValidatingAdmissionPolicy v1 is needed", oldestMinor)
	}
	return []check.Finding{f}
}

func rights(c *cluster) []check.Finding {
	f := check.Finding{Check: "your rights", State: check.OK, Detail: "enough to install, and for kubectl ovn"}
	switch {
	case c.unread["rights"] != nil:
		f.State, f.Detail, f.Next = check.Warn, c.unread["rights"].Error(), "install as a cluster administrator"
	case len(c.refused) > 0:
		f.State, f.Detail, f.Next = check.Fail, "you may not: "+some(c.refused), "install as a cluster administrator"
	}
	return []check.Finding{f}
}

// kernels judges operating systems, and the age of kernels.
func kernels(c *cluster) []check.Finding {
	f := check.Finding{Check: "nodes' kernels", State: check.OK}
	var foreign, old []string
	seen := map[string]bool{}
	for _, n := range c.nodes {
		info := n.Status.NodeInfo
		seen[cmp.Or(info.KernelVersion, "unknown")] = true
		switch {
		case info.OperatingSystem != "" && info.OperatingSystem != "linux":
			foreign = append(foreign, n.Name+" ("+info.OperatingSystem+")")
		case older(info.KernelVersion):
			old = append(old, n.Name+" ("+info.KernelVersion+")")
		}
	}
	f.Detail = some(slices.Sorted(maps.Keys(seen)))
	switch {
	case len(foreign) > 0:
		f.State, f.Detail, f.Next = check.Fail, "not Linux: "+some(foreign), "keep such nodes out of the cluster: there is no agent for them"
	case len(old) > 0:
		f.State, f.Detail, f.Next = check.Fail, "too old: "+some(old), "Linux "+oldestKernel+" or later is needed"
	}
	return []check.Finding{f}
}

// older tells whether a kernel is too old; what cannot be read is not.
func older(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < kernelMajor || major == kernelMajor && minor < kernelMinor
}

// modules cannot be seen by the API; it says how to see them.
func modules(*cluster) []check.Finding {
	return []check.Finding{{Check: "kernel modules", State: check.Skip, Detail: "the API does not tell", Next: "on each node: modprobe -an openvswitch geneve nf_conntrack"}}
}

// readiness: nodes without a network are NotReady for its lack alone, and nodes that are Ready have one.
func readiness(c *cluster) []check.Finding {
	f := check.Finding{Check: "nodes wait for a network", State: check.OK, Detail: fmt.Sprintf("%d nodes", len(c.nodes))}
	var ready, sick []string
	for _, n := range c.nodes {
		for _, condition := range n.Status.Conditions {
			switch {
			case condition.Type != corev1.NodeReady:
			case condition.Status == corev1.ConditionTrue:
				ready = append(ready, n.Name)
			case !strings.Contains(condition.Message, "NetworkPluginNotReady") && !strings.Contains(strings.ToLower(condition.Message), "cni"):
				sick = append(sick, n.Name)
			}
		}
	}
	switch {
	case len(c.nodes) == 0:
		f.State, f.Detail, f.Next = check.Fail, "there are no nodes", "join nodes first"
	case len(sick) > 0:
		f.State, f.Detail, f.Next = check.Warn, "not Ready for other reasons: "+some(sick), "kubectl describe node "+sick[0]
	case len(ready) > 0:
		f.State, f.Detail = check.Warn, "have a network configuration already: "+some(ready)
		f.Next = "remove what is in /etc/cni/net.d of the nodes when the other network is gone"
	}
	return []check.Finding{f}
}

func mtu(c *cluster) []check.Finding {
	return []check.Finding{{Check: "nodes' MTU", State: check.Skip, Detail: "the API does not tell",
		Next: fmt.Sprintf("ip link: %d or more between nodes, for --mtu %d in tunnels; kubectl ovn check tries it once installed", c.MTU+100, c.MTU)}}
}
