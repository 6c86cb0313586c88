// Package census lists what pods, services, policies and nodes leave traces in: databases, devices, network namespaces, and
// the switch. Two lists, from before and after, show what has leaked.
package census

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/netns"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// Census lists by kind.
type Census map[string][]string

// Take counts everything that comes and goes with pods and nodes.
func Take(ctx context.Context, l *cluster.Lab) (Census, error) {
	c := Census{}
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
		if err := c.add(ctx, l, kind, plan.ControlPlane, argv...); err != nil {
			return nil, err
		}
	}
	for _, n := range l.Nodes() {
		if err := c.add(ctx, l, "OVS port of "+n, n, append([]string{"ovs-vsctl"}, column("Interface", "name")...)...); err != nil {
			return nil, err
		}
		if err := c.namespaces(l, n); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// TakeAll is Take, and what comes and goes with services and policies, and what the switches hold.
func TakeAll(ctx context.Context, l *cluster.Lab) (Census, error) {
	c, err := Take(ctx, l)
	if err != nil {
		return nil, err
	}
	for kind, of := range map[string][2]string{
		"load balancer": {"Load_Balancer", "name"}, "group of load balancers": {"Load_Balancer_Group", "name"}, "port group": {"Port_Group", "name"},
		"access control list": {"ACL", "priority,direction"}, "translation": {"NAT", "type,logical_ip"}, "policy of routing": {"Logical_Router_Policy", "priority"},
	} {
		argv := []string{"ovn-nbctl", "--bare", "--columns=" + of[1], "list", of[0]}
		if err := c.add(ctx, l, kind, plan.ControlPlane, argv...); err != nil {
			return nil, err
		}
	}
	for _, n := range l.Nodes() {
		err := errors.Join(
			c.add(ctx, l, "flow table of "+n, n, "sh", "-c", countFlows),
			c.add(ctx, l, "conntrack zone of "+n, n, "sh", "-c", zones),
			c.add(ctx, l, "address of "+n, n, "sh", "-c", "ip -o addr show scope global | awk '{print $2\"=\"$4}'"),
			c.add(ctx, l, "rule of "+n, n, "sh", "-c", "nft -a list ruleset | grep -c handle"),
		)
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

const (
	// countFlows counts the flows of each table, and the groups. What is learned from traffic comes with it and goes by age: neighbours
	// of routers (br-int, tables 66 and 67) and the host's requests (br-ex, table 5).
	countFlows = `for b in br-int br-ex; do
  ovs-ofctl dump-flows --no-stats $b | sed -n 's/.*table=\([0-9]*\),.*/\1/p; t; s/^ *cookie.*/0/p' | sort | uniq -c | awk -v b=$b '{print b"/"$2":"$1}' | grep -vE '^br-int/6[67]:|^br-ex/5:'
  echo $b/groups:$(ovs-ofctl -O OpenFlow15 dump-groups $b | grep -c group_id)
done`
	// zones lists the ports and routers that have a zone of the connection tracker.
	zones = `ovs-vsctl --bare --columns=external_ids list bridge br-int | tr ' ' '\n' | sed -n 's/^ct-zone-\(.*\)=.*/\1/p'`
)

func (c Census) add(ctx context.Context, l *cluster.Lab, kind, machine string, argv ...string) error {
	out, err := l.Exec(ctx, machine, argv...)
	if err != nil {
		return err
	}
	c[kind] = strings.Fields(out)
	slices.Sort(c[kind])
	return nil
}

// namespaces lists a node's network namespaces and its ends of pods' veths.
func (c Census) namespaces(l *cluster.Lab, node string) error {
	pid, err := l.PID(node)
	if err != nil {
		return err
	}
	if c["veth of "+node], err = veths(fmt.Sprintf("/proc/%d/ns/net", pid)); err != nil {
		return err
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/root/run/netns/*", pid))
	if err != nil {
		return err
	}
	kind := "network namespace of " + node
	for _, f := range files {
		c[kind] = append(c[kind], filepath.Base(f))
	}
	slices.Sort(c[kind])
	return nil
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
	slices.Sort(out)
	return out, err
}

// Diff says what is more or less than before.
func (c Census) Diff(before Census) string {
	var out []string
	kinds := maps.Clone(c)
	maps.Copy(kinds, before)
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
