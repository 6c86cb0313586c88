//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/lab/netns"
)

// bridge is a bridge as `ovs-vsctl show` prints it.
type bridge struct {
	failMode, datapath string
	ports              map[string]ovsPort
}

type ovsPort struct{ kind, options, err string }

// parseShow reads the output of `ovs-vsctl show`.
func parseShow(text string) map[string]bridge {
	out := map[string]bridge{}
	var br, prt string
	for _, line := range strings.Split(text, "\n") {
		key, val, _ := strings.Cut(strings.TrimSpace(line), " ")
		val = strings.Trim(strings.TrimSpace(val), `"`)
		switch strings.TrimSuffix(key, ":") {
		case "Bridge":
			br = val
			out[br] = bridge{ports: map[string]ovsPort{}}
		case "fail_mode":
			b := out[br]
			b.failMode = val
			out[br] = b
		case "datapath_type":
			b := out[br]
			b.datapath = val
			out[br] = b
		case "Port":
			prt = val
			out[br].ports[prt] = ovsPort{}
		case "type", "options", "error":
			p := out[br].ports[prt]
			switch key {
			case "type:":
				p.kind = val
			case "options:":
				p.options = val
			default:
				p.err = val
			}
			out[br].ports[prt] = p
		}
	}
	return out
}

func testOperatorsView(e *env) {
	pods := map[string]string{}
	for _, n := range e.Nodes() {
		pods[n] = "pod-" + n
		e.create(newPod(e.ns, pods[n], onNode(n), pausing))
	}
	for _, n := range e.Nodes() {
		e.ready(pods[n])
		e.checkOpenVSwitch(n)
		e.checkManagementPort(n)
		e.checkRoutes(n)
		e.checkPodPort(n, pods[n])
	}
	e.checkNorthbound(pods)
}

var tunnelName = regexp.MustCompile(`^ovn-[0-9a-f]{6}-0$`)

// checkOpenVSwitch looks at `ovs-vsctl show`.
func (e *env) checkOpenVSwitch(node string) {
	e.Helper()
	text := e.on(node, "ovs-vsctl", "show")
	show := parseShow(text)
	if node == e.Nodes()[0] {
		e.Logf("ovs-vsctl show on %s:\n%s", node, text)
	}
	ex, ok := show[names.ExternalBridge]
	if _, nic := ex.ports["eth0"]; !ok || !nic || ex.ports[names.ExternalBridge].kind != "internal" {
		e.Errorf("%s: %s lacks the NIC or its internal port: %+v", node, names.ExternalBridge, ex)
	}
	in := show[names.IntegrationBridge]
	if in.failMode != "secure" {
		e.Errorf("%s: fail_mode of %s is %q, want secure", node, names.IntegrationBridge, in.failMode)
	}
	if ex.datapath != in.datapath {
		e.Errorf("%s: bridges have datapath types %q and %q", node, ex.datapath, in.datapath)
	}
	for _, p := range []string{names.IntegrationBridge, names.ManagementPort} {
		if in.ports[p].kind != "internal" {
			e.Errorf("%s: port %s is %+v, want an internal one", node, p, in.ports[p])
		}
	}
	for name, b := range show {
		for p, port := range b.ports {
			if port.err != "" {
				e.Errorf("%s: port %s of %s has an error: %s", node, p, name, port.err)
			}
		}
	}
	e.checkTunnels(node, in)
}

// checkTunnels wants one Geneve port to each other node.
func (e *env) checkTunnels(node string, in bridge) {
	e.Helper()
	var got, want []string
	for name, p := range in.ports {
		if p.kind != "geneve" {
			continue
		}
		if !tunnelName.MatchString(name) {
			e.Errorf("%s: tunnel is named %q, want ovn-, six hexadecimal digits, -0", node, name)
		}
		for _, opt := range []string{`csum="true"`, "key=flow"} {
			if !strings.Contains(p.options, opt) {
				e.Errorf("%s: options of tunnel %s are %s, without %s", node, name, p.options, opt)
			}
		}
		if m := regexp.MustCompile(`remote_ip="([^"]+)"`).FindStringSubmatch(p.options); m != nil {
			got = append(got, m[1])
		}
	}
	for _, other := range e.Nodes() {
		if other != node {
			want = append(want, e.machine(other).Addresses[0].String())
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.Errorf("%s: tunnels lead to %v, want %v", node, got, want)
	}
}

// subnets are a node's, from its annotation.
func (e *env) subnets(node string) []netip.Prefix {
	e.Helper()
	n := e.seen.node(node)
	if n == nil {
		e.Fatalf("node %s does not exist", node)
	}
	s, err := annotations.ParseNodeSubnets(n.Annotations)
	e.must(err)
	return s
}

// host returns the n-th address of a subnet.
func host(subnet netip.Prefix, n int) netip.Addr {
	a := subnet.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// checkManagementPort looks at what `ip addr show ovn-k8s-mp0` shows.
func (e *env) checkManagementPort(node string) {
	e.Helper()
	ns := e.machine(node).NetNS
	mtu, err := linkMTU(ns, names.ManagementPort)
	e.must(err)
	if mtu != podMTU {
		e.Errorf("%s: MTU of %s is %d, want %d", node, names.ManagementPort, mtu, podMTU)
	}
	got, err := places.Addresses(ns, names.ManagementPort)
	e.must(err)
	var want []netip.Prefix
	for _, s := range e.subnets(node) {
		want = append(want, netip.PrefixFrom(host(s, 2), s.Bits()))
	}
	sortPrefixes(got)
	sortPrefixes(want)
	if !slices.Equal(got, want) {
		e.Errorf("%s: %s has %v, want the second address of each subnet: %v", node, names.ManagementPort, got, want)
	}
}

func sortPrefixes(p []netip.Prefix) {
	slices.SortFunc(p, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
}

// linkMTU returns the MTU of a device.
func linkMTU(ns, device string) (int, error) {
	var mtu int
	err := netns.Do(ns, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		mtu = l.Attrs().MTU
		return nil
	})
	return mtu, err
}

// route is a line of `ip route`.
type route struct{ dst, via, dev string }

// routes returns the main routing table of a network namespace.
func routes(ns string, is4 bool) ([]route, error) {
	var out []route
	family := netlink.FAMILY_V6
	if is4 {
		family = netlink.FAMILY_V4
	}
	err := netns.Do(ns, func() error {
		list, err := netlink.RouteList(nil, family)
		if err != nil {
			return err
		}
		for _, r := range list {
			x := route{dst: "default"}
			if r.Dst != nil {
				if ones, _ := r.Dst.Mask.Size(); ones > 0 {
					x.dst = r.Dst.String()
				}
			}
			if r.Gw != nil {
				x.via = r.Gw.String()
			}
			if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
				x.dev = l.Attrs().Name
			}
			out = append(out, x)
		}
		return nil
	})
	return out, err
}

// clusterCIDRs are the lab's pod networks.
func (e *env) clusterCIDR(is4 bool) netip.Prefix {
	for _, s := range e.Family().Cluster() {
		p := netip.MustParsePrefix(s[:strings.LastIndex(s, "/")])
		if p.Addr().Is4() == is4 {
			return p
		}
	}
	return netip.Prefix{}
}

// checkRoutes looks at `ip route` and at where the node's own address is.
func (e *env) checkRoutes(node string) {
	e.Helper()
	m := e.machine(node)
	for _, is4 := range e.families() {
		var subnet netip.Prefix
		for _, s := range e.subnets(node) {
			if s.Addr().Is4() == is4 {
				subnet = s
			}
		}
		e.must(e.wantRoutes(node, is4,
			route{"default", e.machine("cp").Address(is4).String(), names.ExternalBridge},
			route{e.clusterCIDR(is4).String(), host(subnet, 1).String(), names.ManagementPort},
			route{subnet.Masked().String(), "", names.ManagementPort},
			route{names.MasqueradeHostAddress(is4).Masked().String(), "", names.ExternalBridge},
			single(names.MasqueradeHostLocal(is4), host(subnet, 1), names.ManagementPort),
			e.serviceRoute(is4),
		))
	}
	on, err := places.Addresses(m.NetNS, names.ExternalBridge)
	e.must(err)
	nic, err := places.Addresses(m.NetNS, "eth0")
	e.must(err)
	for _, a := range m.Addresses {
		if !slices.ContainsFunc(on, func(p netip.Prefix) bool { return p.Addr() == a }) {
			e.Errorf("%s: %s lacks the node's address %s, it has %v", node, names.ExternalBridge, a, on)
		}
	}
	if len(nic) > 0 {
		e.Errorf("%s: the NIC still has addresses: %v", node, nic)
	}
}

// single is the route to one address.
func single(to, via netip.Addr, dev string) route {
	return route{netip.PrefixFrom(to, to.BitLen()).String(), via.String(), dev}
}

// serviceRoute is a node's route to services.
func (e *env) serviceRoute(is4 bool) route {
	for _, s := range e.Family().Services() {
		if p := netip.MustParsePrefix(s); p.Addr().Is4() == is4 {
			return route{s, names.MasqueradeNextHop(is4).String(), names.ExternalBridge}
		}
	}
	return route{}
}

// wantRoutes tells which of the routes is missing.
func (e *env) wantRoutes(node string, is4 bool, want ...route) error {
	got, err := routes(e.machine(node).NetNS, is4)
	if err != nil {
		return err
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			return fmt.Errorf("%s: no route %+v, there are %+v", node, w, got)
		}
	}
	return nil
}

// checkPodPort finds the pod's port by its logical name and compares what operators look at.
func (e *env) checkPodPort(node, pod string) {
	e.Helper()
	iface := e.ns + "_" + pod
	name := e.on(node, "ovs-vsctl", "--bare", "--columns=name", "find", "Interface", "external_ids:iface-id="+iface)
	text := e.on(node, "ovs-vsctl", "--format=json", "--columns=external_ids", "find", "Interface", "external_ids:iface-id="+iface)
	ids, err := externalIDs(text)
	e.must(err)
	sandbox := ids[names.IfaceSandbox]
	if len(sandbox) < 15 || name != sandbox[:15] {
		e.Errorf("%s: port of pod %s is named %q, want the first 15 characters of its sandbox %q", node, pod, name, sandbox)
	}
	if sandbox != "" && !strings.Contains(e.on(node, "ctr", "-n", "k8s.io", "containers", "list", "-q"), sandbox) {
		e.Errorf("%s: the container runtime knows no sandbox %s", node, sandbox)
	}
	p := e.seen.pod(e.ns, pod)
	if ids[names.IfaceIDVer] != string(p.UID) {
		e.Errorf("%s: port of pod %s has %s=%q, want the pod's UID %s", node, pod, names.IfaceIDVer, ids[names.IfaceIDVer], p.UID)
	}
	net, err := annotations.ParsePodNetwork(p.Annotations)
	e.must(err)
	if ids[names.IfaceMAC] != net.MAC.String() {
		e.Errorf("%s: port of pod %s has %s=%q, the annotation says %s", node, pod, names.IfaceMAC, ids[names.IfaceMAC], net.MAC)
	}
	for i, a := range places.PodAddresses(p) {
		if i >= len(net.Addresses) || net.Addresses[i].Addr() != a {
			e.Errorf("pod %s has %v, its annotation says %v", pod, places.PodAddresses(p), net.Addresses)
			break
		}
	}
}

// externalIDs reads one row's external_ids from ovs-vsctl's JSON table.
func externalIDs(text string) (map[string]string, error) {
	var table struct {
		Data [][]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(text), &table); err != nil {
		return nil, fmt.Errorf("table %q: %w", text, err)
	}
	if len(table.Data) != 1 || len(table.Data[0]) != 1 {
		return nil, fmt.Errorf("want one row with one column: %s", text)
	}
	// RFC 7047 section 5.1: a map is ["map", [[key, value], …]].
	var tagged []json.RawMessage
	var pairs [][2]string
	if err := json.Unmarshal(table.Data[0][0], &tagged); err != nil || len(tagged) != 2 {
		return nil, fmt.Errorf("no map: %s", text)
	}
	if err := json.Unmarshal(tagged[1], &pairs); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, p := range pairs {
		out[p[0]] = p[1]
	}
	return out, nil
}

// checkNorthbound looks at `ovn-nbctl show`.
func (e *env) checkNorthbound(pods map[string]string) {
	e.Helper()
	text := e.nb("show")
	e.Logf("ovn-nbctl show:\n%s", text)
	want := []string{"router " + "[0-9a-f-]{36} \\(" + names.ClusterRouter + "\\)", "switch [0-9a-f-]{36} \\(" + names.JoinSwitch + "\\)",
		"port " + names.RouterToJoinPort(names.ClusterRouter)}
	for _, n := range e.Nodes() {
		want = append(want, "switch [0-9a-f-]{36} \\("+n+"\\)", "port "+names.RouterToSwitchPort(n), "port "+names.SwitchToRouterPort(n),
			"port "+names.ManagementLogicalPort(n), "port "+e.ns+"_"+pods[n])
	}
	for _, w := range want {
		if !regexp.MustCompile(`(?m)^\s*` + w + `$`).MatchString(text) {
			e.Errorf("ovn-nbctl show has no line %q", w)
		}
	}
}
