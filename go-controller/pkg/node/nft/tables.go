package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Masquerade is the table that gives pods' traffic the address of the host when it leaves through one of the
// host's devices: nobody out there knows the way back to a pod. Traffic to the cluster's own networks, and what
// goes back into the cluster through the management port, keeps its source.
func Masquerade(nodeSubnets, clusterSubnets []netip.Prefix) Table {
	var rules []string
	for _, subnet := range sorted(nodeSubnets) {
		family := "ip6"
		if subnet.Addr().Is4() {
			family = "ip"
		}
		for _, cluster := range sorted(clusterSubnets) {
			if cluster.Addr().Is4() == subnet.Addr().Is4() {
				rules = append(rules, fmt.Sprintf("%s saddr %s %s daddr %s return", family, subnet, family, cluster))
			}
		}
		rules = append(rules, fmt.Sprintf("%s saddr %s oifname != %q masquerade", family, subnet, names.ManagementPort))
	}
	return Table{Family: knftables.InetFamily, Name: names.NFTTable, Shared: true, Chains: []Chain{{
		Name: "pod-masquerade", Type: knftables.NATType, Hook: knftables.PostroutingHook, Priority: knftables.SNATPriority, Rules: rules,
	}}}
}

// ToServices is the chain that gives what leaves the host for services the source by which services know the host:
// packets of programs that have chosen another one, and of others that the host forwards. What it forwards for the gateway
// router gets the host's address. Without services it has no rules.
func ToServices(serviceCIDRs []netip.Prefix) Chain {
	var rules []string
	for _, cidr := range sorted(serviceCIDRs) {
		family := "ip6"
		if cidr.Addr().Is4() {
			family = "ip"
		}
		host := names.MasqueradeHost(cidr.Addr().Is4())
		rules = append(rules, fmt.Sprintf("oifname %q %s daddr %s %s saddr != %s snat %s to %s", names.ExternalBridge, family, cidr, family, host, family, host))
		forwarded := fmt.Sprintf("%s saddr %s masquerade", family, names.MasqueradeOVN(cidr.Addr().Is4()))
		if !slices.Contains(rules, forwarded) {
			rules = append(rules, forwarded)
		}
	}
	return Chain{
		Name: "to-services", Type: knftables.NATType, Hook: knftables.PostroutingHook, Priority: knftables.SNATPriority, Rules: rules,
	}
}

// Uplink is the table that drops, in the host's stack, what arrives on a NIC that the userspace datapath reads.
// Open vSwitch gets its copy before this hook.
func Uplink(nic string) Table {
	return Table{Family: knftables.NetDevFamily, Name: names.NFTUplinkTable, Chains: []Chain{{
		Name: "ingress", Type: knftables.FilterType, Hook: knftables.IngressHook, Priority: knftables.FilterPriority, Device: nic,
		Rules: []string{"drop"},
	}}}
}

func sorted(prefixes []netip.Prefix) []netip.Prefix {
	return slices.SortedFunc(slices.Values(prefixes), netip.Prefix.Compare)
}
