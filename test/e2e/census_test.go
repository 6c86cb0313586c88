//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// census lists by kind what pods leave traces in: databases, devices, namespaces.
type census map[string][]string

// takeCensus counts everything that comes and goes with pods and nodes.
func (e *env) takeCensus() (census, error) {
	c := census{}
	add := func(kind, machine string, argv ...string) error {
		out, err := e.Exec(e.ctx, machine, argv...)
		if err != nil {
			return err
		}
		c[kind] = strings.Fields(out)
		return nil
	}
	column := func(table, col string) []string { return []string{"--bare", "--columns=" + col, "list", table} }
	for kind, argv := range map[string][]string{
		"logical switch":      append([]string{"ovn-nbctl"}, column("Logical_Switch", "name")...),
		"logical switch port": append([]string{"ovn-nbctl"}, column("Logical_Switch_Port", "name")...),
		"logical router port": append([]string{"ovn-nbctl"}, column("Logical_Router_Port", "name")...),
		"static route":        append([]string{"ovn-nbctl"}, column("Logical_Router_Static_Route", "ip_prefix,nexthop")...),
		"gateway chassis":     append([]string{"ovn-nbctl"}, column("Gateway_Chassis", "name")...),
		"address set":         append([]string{"ovn-nbctl"}, column("Address_Set", "name")...),
		"port binding":        append([]string{"ovn-sbctl"}, column("Port_Binding", "logical_port")...),
		"chassis":             append([]string{"ovn-sbctl"}, column("Chassis", "hostname")...),
		"private chassis":     append([]string{"ovn-sbctl"}, column("Chassis_Private", "name")...),
		"encapsulation":       append([]string{"ovn-sbctl"}, column("Encap", "ip")...),
	} {
		if err := add(kind, plan.ControlPlane, argv...); err != nil {
			return nil, err
		}
	}
	for _, n := range e.Nodes() {
		if err := add("OVS port of "+n, n, append([]string{"ovs-vsctl"}, column("Interface", "name")...)...); err != nil {
			return nil, err
		}
		pid, err := e.PID(n)
		if err != nil {
			return nil, err
		}
		if c["veth of "+n], err = veths(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
			return nil, err
		}
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/netns/*", pid))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			c["network namespace of "+n] = append(c["network namespace of "+n], filepath.Base(f))
		}
	}
	for _, list := range c {
		slices.Sort(list)
	}
	return c, nil
}

func veths(ns string) ([]string, error) {
	var out []string
	err := netns.Do(ns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() == "veth" {
				out = append(out, l.Attrs().Name)
			}
		}
		return nil
	})
	return out, err
}

// mustCensus is takeCensus for a moment at which it must work.
func (e *env) mustCensus() census {
	e.Helper()
	c, err := e.takeCensus()
	e.must(err)
	return c
}

// diff says what is more or less than before.
func (c census) diff(before census) string {
	var out []string
	kinds := map[string]bool{}
	for k := range c {
		kinds[k] = true
	}
	for k := range before {
		kinds[k] = true
	}
	for k := range kinds {
		more, less := without(c[k], before[k]), without(before[k], c[k])
		if len(more) > 0 {
			out = append(out, fmt.Sprintf("%d more of %s: %v", len(more), k, more[:min(5, len(more))]))
		}
		if len(less) > 0 {
			out = append(out, fmt.Sprintf("%d fewer of %s: %v", len(less), k, less[:min(5, len(less))]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// without returns the elements of a that b lacks, counting repetitions.
func without(a, b []string) []string {
	left := map[string]int{}
	for _, x := range b {
		left[x]++
	}
	var out []string
	for _, x := range a {
		if left[x] > 0 {
			left[x]--
			continue
		}
		out = append(out, x)
	}
	return out
}

// checkAddressesUnique looks for two pods with one address, in Kubernetes' and in OVN's view, and for
// pods whose logical port has other addresses than the pod.
func (e *env) checkAddressesUnique() {
	e.Helper()
	owner := map[netip.Addr]string{}
	for _, obj := range e.seen.pods.List() {
		p := obj.(*corev1.Pod)
		if p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" || p.DeletionTimestamp != nil {
			continue
		}
		net, err := annotations.ParsePodNetwork(p.Annotations)
		if err != nil {
			continue
		}
		for _, a := range net.Addresses {
			if other, taken := owner[a.Addr()]; taken {
				e.Errorf("%s/%s and %s both have %s", p.Namespace, p.Name, other, a.Addr())
			}
			owner[a.Addr()] = p.Namespace + "/" + p.Name
		}
	}
	seen := map[string]bool{}
	for _, word := range strings.Fields(e.nb("--bare", "--columns=addresses", "list", "Logical_Switch_Port")) {
		if _, err := netip.ParseAddr(word); err != nil {
			continue
		}
		if seen[word] {
			e.Errorf("two logical switch ports have %s", word)
		}
		seen[word] = true
	}
}
