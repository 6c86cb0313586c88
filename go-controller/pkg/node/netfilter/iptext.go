package netfilter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Tables of iptables with rules of ours.
const (
	natTable    = "nat"
	mangleTable = "mangle"
)

// place is a chain of a table.
type place struct{ table, chain string }

// chainSpec is one of our chains: where it is jumped to from, and its rules. All rules are as `iptables -S` prints them.
type chainSpec struct {
	place
	// jumps are rules in the kernel's own chains, in the order of the specs.
	jumps []string
	// fixed come first, in this order; the others in any.
	fixed []string
	rules []string
	// optional chains exist only while they have rules.
	optional bool
}

// hookChains are the kernel's own chains that have jumps to ours.
var hookChains = []place{
	{natTable, "PREROUTING"}, {natTable, "OUTPUT"}, {natTable, "POSTROUTING"}, {mangleTable, "OUTPUT"},
}

// chainSpecs renders the rules of a family.
func chainSpecs(f Facts, l *Ledger, v4 bool) []chainSpec {
	specs := frameSpecs(f, v4)
	if l == nil {
		return specs
	}
	byPlace := map[place]*chainSpec{}
	for i := range specs {
		byPlace[specs[i].place] = &specs[i]
	}
	for _, k := range l.Keys() {
		if k.V4 == v4 {
			to, _ := l.Get(k)
			spec := byPlace[placeOf(k.Kind)]
			spec.rules = append(spec.rules, ruleText(k, to))
		}
	}
	for i := range specs { // what is kept as it is must be so before the source is rewritten
		if specs[i].chain == names.IPTChainSNATManagement {
			specs[i].fixed = slices.Concat(specs[i].fixed[:1], specs[i].rules, specs[i].fixed[1:])
			specs[i].rules = nil
		}
	}
	return slices.DeleteFunc(specs, func(c chainSpec) bool { return c.optional && len(c.rules) == 0 })
}

func placeOf(k Kind) place {
	switch k {
	case NodePort:
		return place{natTable, names.IPTChainNodePort}
	case ExternalIP:
		return place{natTable, names.IPTChainExternalIP}
	case LocalNodePort, LocalExternalIP:
		return place{natTable, names.IPTChainETP}
	case Internal:
		return place{natTable, names.IPTChainITP}
	case MarkInternal:
		return place{mangleTable, names.IPTChainITP}
	}
	return place{natTable, names.IPTChainSNATManagement}
}

// frameSpecs are the chains without the rules of services.
func frameSpecs(f Facts, v4 bool) []chainSpec {
	spec := func(k Kind, hooks ...string) chainSpec {
		out := chainSpec{place: placeOf(k)}
		for _, hook := range hooks {
			out.jumps = append(out.jumps, fmt.Sprintf("-A %s -j %s", hook, out.chain))
		}
		return out
	}
	etp := spec(LocalNodePort, "PREROUTING")
	// What comes by the management port comes from pods: the policy Local is for those outside.
	etp.fixed = []string{fmt.Sprintf("-A %s -i %s -j RETURN", etp.chain, names.ManagementPort)}
	internal := spec(Internal, "OUTPUT")
	internal.optional = true
	snat := spec(KeepSource)
	snat.jumps = []string{fmt.Sprintf("-A POSTROUTING -o %s -j %s", names.ManagementPort, snat.chain)}
	host := names.MasqueradeHostLocal(v4)
	snat.fixed = []string{fmt.Sprintf("-A %s -d %s -j RETURN", snat.chain, netip.PrefixFrom(host, host.BitLen()))}
	for _, s := range f.Subnets {
		if s.Addr().Is4() != v4 {
			continue
		}
		// What others send through this host is not the node's own, which policies of its pods let in.
		snat.fixed = append(snat.fixed,
			fmt.Sprintf("-A %s -d %s -m addrtype ! --src-type LOCAL -j SNAT --to-source %s", snat.chain, s, names.MasqueradeForwarded(v4)),
			fmt.Sprintf("-A %s -j SNAT --to-source %s", snat.chain, addr.Management(s)))
	}
	return []chainSpec{
		etp, internal, spec(ExternalIP, "PREROUTING", "OUTPUT"), spec(NodePort, "PREROUTING", "OUTPUT"), snat, spec(MarkInternal, "OUTPUT"),
	}
}

// ruleText is a rule as `iptables -S` prints it.
func ruleText(k Key, to netip.AddrPort) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-A %s ", placeOf(k.Kind).chain)
	if k.Kind.hasDest() {
		fmt.Fprintf(&b, "-d %s ", netip.PrefixFrom(k.Dest, k.Dest.BitLen()))
	}
	fmt.Fprintf(&b, "-p %s ", k.Protocol)
	if !k.Kind.hasDest() {
		b.WriteString("-m addrtype --dst-type LOCAL ")
	}
	fmt.Fprintf(&b, "-m %s --dport %d -j ", k.Protocol, k.Port)
	switch k.Kind {
	case MarkInternal:
		fmt.Fprintf(&b, "MARK --set-xmark 0x%x/0xffffffff", names.ServiceMark)
	case KeepSource:
		b.WriteString("RETURN")
	default:
		fmt.Fprintf(&b, "DNAT --to-destination %s", to)
	}
	return b.String()
}

// parseRule is the inverse of ruleText; false for what ruleText does not write.
func parseRule(p place, text string, v4 bool) (Key, netip.AddrPort, bool) {
	k := Key{V4: v4}
	var to netip.AddrPort
	fields := strings.Fields(text)
	for i := 0; i+1 < len(fields); i++ {
		value := fields[i+1]
		switch fields[i] {
		case "-d":
			prefix, _ := netip.ParsePrefix(value)
			k.Dest = prefix.Addr()
		case "-p":
			k.Protocol, _ = parseProtocol(value)
		case "--dport":
			port, _ := strconv.ParseUint(value, 10, 16)
			k.Port = uint16(port)
		case "--to-destination":
			to, _ = netip.ParseAddrPort(value)
		}
	}
	for k.Kind = range kinds {
		if placeOf(k.Kind) == p && k.Kind.hasDest() == k.Dest.IsValid() && k.Protocol != 0 && ruleText(k, to) == text {
			return k, to, true
		}
	}
	return k, to, false
}
