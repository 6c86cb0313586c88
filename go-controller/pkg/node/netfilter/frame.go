package netfilter

import (
	"fmt"
	"net/netip"
	"strconv"

	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// setName is the map or set that holds the rules of a kind.
func setName(k Kind, v4 bool) string {
	return names.NFTMap([...]string{
		NodePort: names.NFTMapNodePorts, ExternalIP: names.NFTMapExternalIPs,
		LocalNodePort: names.NFTMapETPNodePorts, LocalExternalIP: names.NFTMapETPExternalIPs,
		Internal: names.NFTMapITP, MarkInternal: names.NFTSetITPMark, KeepSource: names.NFTSetKeepSource,
	}[k], v4)
}

func objectType(k Kind) string {
	if k.hasTarget() {
		return "map"
	}
	return "set"
}

// dnatPriority is that of destination NAT, as a number: nft knows the name in prerouting only.
const dnatPriority knftables.BaseChainPriority = "-100"

// frame is the part of the table that does not change with services.
func frame(f Facts) nft.Table {
	t := nft.Table{Family: knftables.InetFamily, Name: names.NFTTable, Shared: true}
	for k := range kinds {
		for _, v4 := range []bool{true, false} {
			if k.hasTarget() {
				t.Maps = append(t.Maps, knftables.Map{Name: setName(k, v4), Type: keyType(k, v4) + " : " + addressType(v4) + " . inet_service"})
			} else {
				t.Sets = append(t.Sets, knftables.Set{Name: setName(k, v4), Type: keyType(k, v4)})
			}
		}
	}
	base := func(name string, kind knftables.BaseChainType, hook knftables.BaseChainHook, priority knftables.BaseChainPriority, rules ...string) {
		t.Chains = append(t.Chains, nft.Chain{Name: name, Type: kind, Hook: hook, Priority: priority, Rules: rules})
	}
	base(names.NFTChainServicesPrerouting, knftables.NATType, knftables.PreroutingHook, dnatPriority,
		// What comes by the management port comes from pods: the policy Local is for those outside.
		fmt.Sprintf("iifname != %q jump %s", names.ManagementPort, names.NFTChainServicesETP), "jump "+names.NFTChainServices)
	base(names.NFTChainServicesOutput, knftables.NATType, knftables.OutputHook, dnatPriority,
		"jump "+names.NFTChainServicesITP, "jump "+names.NFTChainServices)
	base(names.NFTChainServicesITPMark, knftables.RouteType, knftables.OutputHook, knftables.ManglePriority, both(func(v4 bool) string {
		return fmt.Sprintf("%s @%s meta mark set 0x%x", keyExpression(MarkInternal, v4), setName(MarkInternal, v4), names.ServiceMark)
	})...)
	base(names.NFTChainManagementSNAT, knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority, managementRules(f)...)
	t.Chains = append(t.Chains,
		nft.Chain{Name: names.NFTChainServicesETP, Rules: dnat(LocalExternalIP, LocalNodePort)},
		nft.Chain{Name: names.NFTChainServicesITP, Rules: dnat(Internal)},
		nft.Chain{Name: names.NFTChainServices, Rules: dnat(ExternalIP, NodePort)})
	return t
}

func managementRules(f Facts) []string {
	out := []string{fmt.Sprintf("oifname != %q return", names.ManagementPort)}
	out = append(out, both(func(v4 bool) string {
		return fmt.Sprintf("%s daddr %s return", ipName(v4), names.MasqueradeHostLocal(v4))
	})...)
	out = append(out, both(func(v4 bool) string {
		return fmt.Sprintf("%s @%s return", keyExpression(KeepSource, v4), setName(KeepSource, v4))
	})...)
	for _, s := range f.Subnets {
		v4 := s.Addr().Is4()
		// What others send through this host is not the node's own, which policies of its pods let in.
		out = append(out, fmt.Sprintf("%[1]s daddr %[2]s fib saddr type != local snat %[1]s to %[3]s", ipName(v4), s, names.MasqueradeForwarded(v4)),
			fmt.Sprintf("snat %s to %s", ipName(v4), addr.Management(s)))
	}
	return out
}

func dnat(in ...Kind) []string {
	var out []string
	for _, k := range in {
		local := "fib daddr type local "
		if k.hasDest() {
			local = ""
		}
		out = append(out, both(func(v4 bool) string {
			return fmt.Sprintf("%sdnat %s to %s map @%s", local, ipName(v4), keyExpression(k, v4), setName(k, v4))
		})...)
	}
	return out
}

func both(rule func(v4 bool) string) []string { return []string{rule(true), rule(false)} }

func ipName(v4 bool) string {
	if v4 {
		return "ip"
	}
	return "ip6"
}

func addressType(v4 bool) string {
	if v4 {
		return "ipv4_addr"
	}
	return "ipv6_addr"
}

func keyType(k Kind, v4 bool) string {
	if k.hasDest() {
		return addressType(v4) + " . inet_proto . inet_service"
	}
	return "inet_proto . inet_service"
}

func keyExpression(k Kind, v4 bool) string {
	if k.hasDest() {
		return ipName(v4) + " daddr . meta l4proto . th dport"
	}
	return "meta l4proto . th dport"
}

// element is the rule of a key as an element.
func element(k Key, to netip.AddrPort) *knftables.Element {
	e := &knftables.Element{}
	if k.Kind.hasDest() {
		e.Key = append(e.Key, k.Dest.String())
	}
	e.Key = append(e.Key, k.Protocol.String(), strconv.Itoa(int(k.Port)))
	if !k.Kind.hasTarget() {
		e.Set = setName(k.Kind, k.V4)
		return e
	}
	e.Map = setName(k.Kind, k.V4)
	e.Value = []string{to.Addr().String(), strconv.Itoa(int(to.Port()))}
	return e
}

// parseElement is the inverse of element; false for what element does not make.
func parseElement(kind Kind, v4 bool, e *knftables.Element) (Key, netip.AddrPort, bool) {
	k := Key{Kind: kind, V4: v4}
	parts := e.Key
	var errDest, errTo error
	if kind.hasDest() && len(parts) > 0 {
		k.Dest, errDest = netip.ParseAddr(parts[0])
		parts = parts[1:]
	}
	if errDest != nil || len(parts) != 2 {
		return k, netip.AddrPort{}, false
	}
	protocol, known := parseProtocol(parts[0])
	port, errPort := strconv.ParseUint(parts[1], 10, 16)
	k.Protocol, k.Port = protocol, uint16(port)
	var to netip.AddrPort
	if kind.hasTarget() {
		if len(e.Value) != 2 {
			return k, to, false
		}
		var a netip.Addr
		a, errTo = netip.ParseAddr(e.Value[0])
		p, err := strconv.ParseUint(e.Value[1], 10, 16)
		if err != nil {
			return k, to, false
		}
		to = netip.AddrPortFrom(a, uint16(p))
	}
	return k, to, known && errPort == nil && errTo == nil
}
