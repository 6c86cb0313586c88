package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/scale/load"
)

// check compares what the pods were told with what the northbound database holds: every pod has an address
// of its own from its node's subnet, and a logical port with just that address.
func (r *run) check(ctx context.Context) error {
	subnets, err := nodeSubnets(r.nodes.Objects())
	if err != nil {
		return err
	}
	ports, err := r.podPorts(ctx)
	if err != nil {
		return err
	}
	pods := r.pods.Objects()
	if len(pods) != r.Pods || len(ports) != r.Pods {
		return fmt.Errorf("there are %d pods and %d logical ports of pods, want %d", len(pods), len(ports), r.Pods)
	}
	taken := map[netip.Addr]string{}
	for i := range r.Pods {
		object := load.Pod(i, r.Nodes)
		key := names.ObjectName(object.Namespace, object.Name)
		network, err := annotations.ParsePodNetwork(map[string]string{names.PodNetworksAnnotation: pods[key].Value})
		if err != nil {
			return fmt.Errorf("pod %s: %w", key, err)
		}
		address := network.Addresses[0].Addr()
		if other, ok := taken[address]; ok {
			return fmt.Errorf("pods %s and %s both have %s", key, other, address)
		}
		taken[address] = key
		if subnet := subnets[object.Spec.NodeName]; !subnet.Contains(address) {
			return fmt.Errorf("pod %s has %s, outside %s of its node", key, address, subnet)
		}
		want := network.MAC.String() + " " + address.String()
		if got := ports[names.PodLogicalPort(object.Namespace, object.Name)]; got != want {
			return fmt.Errorf("pod %s has %q, its logical port has %q", key, want, got)
		}
	}
	return nil
}

func nodeSubnets(nodes map[string]load.Seen) (map[string]netip.Prefix, error) {
	out := map[string]netip.Prefix{}
	taken := map[netip.Prefix]string{}
	for name, seen := range nodes {
		subnets, err := annotations.ParseNodeSubnets(map[string]string{names.NodeSubnetsAnnotation: seen.Value})
		if err != nil {
			return nil, fmt.Errorf("node %s: %w", name, err)
		}
		if other, ok := taken[subnets[0]]; ok {
			return nil, fmt.Errorf("nodes %s and %s both have %s", name, other, subnets[0])
		}
		out[name], taken[subnets[0]] = subnets[0], name
	}
	return out, nil
}

// podPorts returns the addresses of the pods' logical ports by name.
func (r *run) podPorts(ctx context.Context) (map[string]string, error) {
	rows, err := r.cluster.nb.Rows(ctx, "Logical_Switch_Port", "name", "addresses", "port_security")
	if err != nil {
		return nil, err
	}
	ports := map[string]string{}
	for _, row := range rows {
		name, _ := row["name"].(string)
		if !strings.HasPrefix(name, "load-") {
			continue
		}
		addresses, ok := row["addresses"].(string) // a set of one
		if !ok || addresses != row["port_security"] {
			return nil, fmt.Errorf("logical port %s has addresses %v and port security %v, want one that is the same", name, row["addresses"], row["port_security"])
		}
		ports[name] = addresses
	}
	return ports, nil
}

func (r *run) portsGone(ctx context.Context) error {
	for {
		ports, err := r.podPorts(ctx)
		if err != nil {
			return err
		}
		if len(ports) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d logical ports of deleted pods are left: %w", len(ports), context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
