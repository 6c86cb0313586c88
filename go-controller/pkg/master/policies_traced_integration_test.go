//go:build integration

package master

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle/policygen"
)

// flowsVariable of the environment is how many flows are compared in each family; -rapid.seed and -rapid.failfile repeat a failure.
const (
	flowsVariable = "OVNKUBE_POLICY_FLOWS"
	defaultFlows  = 2500
	// flowsPerState are compared at least before the cluster changes again.
	flowsPerState = 30
)

// Whatever policies, pods and namespaces there are, and in whatever order they came: OVN passes exactly the packets that the API's
// documentation allows.
func TestPoliciesTraced(t *testing.T) {
	for name, pools := range map[string][]string{
		"IPv4": {"10.128.0.0/14/23"}, "IPv6": {"fd01::/48/64"}, "DualStack": {"10.128.0.0/14/23", "fd01::/48/64"},
	} {
		t.Run(name, func(t *testing.T) { tracePolicies(t, pools...) })
	}
}

func tracePolicies(t *testing.T, pools ...string) {
	wanted := defaultFlows
	if text := os.Getenv(flowsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", flowsVariable, err)
		}
		wanted = n
	}
	w := newTracedWorld(t, pools...)
	empty := w.policyRows()
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	_ = checks.Set(strconv.Itoa(wanted)) // The flows decide.
	defer func() { _ = checks.Set(before) }()
	began := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		if w.compared >= wanted {
			return
		}
		w.clear()
		w.populate(t)
		w.compare(t)
		for range rapid.IntRange(0, 4).Draw(t, "steps") {
			for range rapid.IntRange(1, 3).Draw(t, "changes at once") {
				w.change(t)
			}
			w.compare(t)
		}
	})
	if !t.Failed() && w.compared < wanted {
		t.Errorf("%d flows were compared, want %d", w.compared, wanted)
	}
	t.Logf("%d flows compared in %d states in %v, %d of them allowed", w.compared, w.states, time.Since(began).Round(time.Second), w.allowed)
	w.clear()
	w.await("nothing is left of policies", func() bool { return w.quiet() && w.policyRows() == empty })
}

// policyRows are the rows that policies make, by name.
func (w *tracedWorld) policyRows() string {
	out := w.nb.Ctl("--bare", "--columns=name,match", "list", "ACL")
	for _, table := range []string{"Address_Set", "Port_Group"} {
		list := strings.Fields(w.nb.Ctl("--bare", "--columns=name", "list", table))
		slices.Sort(list)
		out += strings.Join(list, " ")
	}
	return out
}

// populate makes a cluster to begin with.
func (w *tracedWorld) populate(t *rapid.T) {
	for _, n := range policyNamespaces {
		w.putNamespace(policygen.Namespace(n).Draw(t, "namespace"))
	}
	for range rapid.IntRange(3, 8).Draw(t, "pods") {
		w.somePod(t)
	}
	for range rapid.IntRange(1, 7).Draw(t, "policies") {
		w.somePolicy(t)
	}
	for range rapid.IntRange(0, 2).Draw(t, "services") {
		w.someService(t)
	}
}

func (w *tracedWorld) change(t *rapid.T) {
	changes := w.changes()
	name, _ := pick(t, changes)
	changes[name](t)
}

// sent is a flow and the address that its packet is sent to: the destination's own, or a service's.
type sent struct {
	oracle.Flow
	to netip.AddrPort
}

// compare draws flows and holds what OVN does with them against the oracle.
func (w *tracedWorld) compare(t *rapid.T) {
	if len(w.running(false)) == 0 {
		return
	}
	flows := rapid.SliceOfN(rapid.Custom(w.flow), flowsPerState, 2*flowsPerState).Draw(t, "flows")
	w.states++
	for limit := time.Now().Add(time.Minute); ; {
		w.await("pods are served", func() bool { return w.quiet() && w.ports() == len(w.running(false)) })
		w.nb.Ctl("--wait=sb", "sync")
		if err := w.tracer.Load(); err != nil {
			t.Fatal(err)
		}
		// The master may still be at work on what it has not written yet.
		wrong := slices.DeleteFunc(slices.Clone(flows), func(f sent) bool { return w.passes(t, f) == w.Judge(f.Flow).Allowed })
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(limit) {
			w.explain(t, wrong[0])
		}
	}
	w.compared += len(flows)
	for _, f := range flows {
		if w.Judge(f.Flow).Allowed {
			w.allowed++
		}
	}
}

// explain fails with all that there is to know of a flow.
func (w *tracedWorld) explain(t *rapid.T, f sent) {
	packet, _ := w.packet(f)
	trace, _ := w.tracer.Trace("--summary", packet)
	var objects strings.Builder
	for _, key := range slices.Sorted(maps.Keys(w.Policies)) {
		text, _ := json.Marshal(w.Policies[key].Spec)
		fmt.Fprintf(&objects, "policy %s %s\n", key, text)
	}
	for _, key := range slices.Sorted(maps.Keys(w.Namespaces)) {
		fmt.Fprintf(&objects, "namespace %s %v\n", key, w.Namespaces[key].Labels)
	}
	for _, key := range slices.Sorted(maps.Keys(w.Pods)) {
		p := w.Pods[key]
		ports, _ := json.Marshal(p.Spec.Containers)
		fmt.Fprintf(&objects, "pod %s on %s, %s, host network %v, labels %v, addresses %v, containers %s\n", key, p.Spec.NodeName, p.Status.Phase,
			p.Spec.HostNetwork, p.Labels, w.addressesOf(p), ports)
	}
	rows := w.nb.Ctl("--columns=direction,priority,match,action,options,external_ids", "list", "ACL") +
		w.nb.Ctl("--columns=name,ports,acls", "list", "Port_Group") + w.nb.Ctl("--columns=name,addresses", "list", "Address_Set")
	verdict := w.Judge(f.Flow)
	t.Fatalf("%s (sent to %s): the oracle says allowed %v (%s), OVN does not\n%s\n%s\n%s\n%s", f.Flow, f.to, verdict.Allowed, verdict.Why,
		objects.String(), rows, packet, trace)
}

// flow draws a flow one end of which at least is a pod on the cluster network.
func (w *tracedWorld) flow(t *rapid.T) sent {
	is4 := rapid.SampledFrom(w.pools).Draw(t, "family").Addr().Is4()
	var own []oracle.End
	for _, p := range w.running(false) {
		own = append(own, w.podEnd(p, is4))
	}
	pod := rapid.SampledFrom(own).Draw(t, "pod")
	var f sent
	switch rapid.SampledFrom([]string{"to pod", "to pod", "out", "in", "service"}).Draw(t, "kind") {
	case "to pod":
		f.From, f.To = pod, rapid.SampledFrom(own).Draw(t, "to")
	case "out":
		f.From, f.To = pod, w.farEnd(t, is4, true)
	case "in":
		f.From, f.To = w.farEnd(t, is4, false), pod
	case "service":
		f.From, f.To = pod, pod
		if name, ok := pick(t, w.balanced); ok {
			b := w.balanced[name]
			f.To, f.Protocol, f.Port = w.podEnd(w.Pods[b.pod], is4), b.protocol, b.port
			number, _ := strconv.Atoi(name[1:])
			f.to = netip.AddrPortFrom(serviceAddress(number, is4), 80)
		}
	}
	if !f.to.IsValid() {
		f.Protocol, f.Port = w.target(t, f.To)
		f.to = netip.AddrPortFrom(f.To.Address, f.Port)
	}
	return f
}

// target draws the protocol and port of a flow: most often ones that policies or the destination speak of.
func (w *tracedWorld) target(t *rapid.T, to oracle.End) (corev1.Protocol, uint16) {
	var known []corev1.ContainerPort
	if p := w.Pods[to.Pod]; p != nil {
		for _, c := range p.Spec.Containers {
			known = append(known, c.Ports...)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(w.Policies)) {
		known = append(known, policygen.Mentioned(w.Policies[key])...)
	}
	if len(known) > 0 && rapid.IntRange(0, 3).Draw(t, "mentioned") > 0 {
		p := rapid.SampledFrom(known).Draw(t, "target")
		return cmp.Or(p.Protocol, corev1.ProtocolTCP), uint16(p.ContainerPort)
	}
	return policygen.Protocol().Draw(t, "protocol"), policygen.Port().Draw(t, "port")
}

func (w *tracedWorld) podEnd(p *corev1.Pod, is4 bool) oracle.End {
	a, _ := addr.Pick(w.addressesOf(p), like(is4), self)
	return oracle.End{Pod: oracle.Key(p.Namespace, p.Name), Address: a}
}

// farEnd draws an end that is no pod on the cluster network: a node, a pod in a node's network, or somebody outside. Towards pods a node
// has its management port's address.
func (w *tracedWorld) farEnd(t *rapid.T, is4, destination bool) oracle.End {
	var ends []oracle.End
	for _, node := range policyNodes {
		subnet, _ := addr.Pick(w.subnets(node), like(is4), netip.Prefix.Addr)
		ends = append(ends, oracle.End{Node: node, Address: addr.Management(subnet)})
	}
	for _, p := range w.running(true) {
		if p.Spec.HostNetwork {
			subnet, _ := addr.Pick(w.subnets(p.Spec.NodeName), like(is4), netip.Prefix.Addr)
			ends = append(ends, oracle.End{Pod: oracle.Key(p.Namespace, p.Name), Address: addr.Management(subnet)})
		}
	}
	for i, e := range ends {
		if destination {
			ends[i].Address, _ = addr.Pick(w.hostAddresses(w.nodeOf(e)), like(is4), self)
		}
	}
	for _, a := range outsideAddresses {
		if a.Is4() == is4 {
			ends = append(ends, oracle.End{Address: a})
		}
	}
	return rapid.SampledFrom(ends).Draw(t, "far end")
}

func self(a netip.Addr) netip.Addr { return a }

func like(is4 bool) netip.Addr {
	if is4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// isolatable is the pod on the cluster network that an end is, or nil.
func (w *tracedWorld) isolatable(e oracle.End) *corev1.Pod {
	if p := w.Pods[e.Pod]; p != nil && !p.Spec.HostNetwork {
		return p
	}
	return nil
}

// nodeOf is where an end is; empty outside.
func (w *tracedWorld) nodeOf(e oracle.End) string {
	if p := w.Pods[e.Pod]; p != nil {
		return p.Spec.NodeName
	}
	return e.Node
}

// passes tells whether OVN delivers a packet.
func (w *tracedWorld) passes(t *rapid.T, f sent) bool {
	if f.From.Pod != "" && f.From.Pod == f.To.Pod {
		return true // Never leaves the pod; what goes through a service is beyond ovn-trace, which knows no hairpins.
	}
	packet, port := w.packet(f)
	out, err := w.tracer.Trace("--minimal", packet)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(out, fmt.Sprintf("output(%q)", port))
}

// packet is what a flow begins with, and the logical port at which it has arrived.
func (w *tracedWorld) packet(f sent) (microflow, arrives string) {
	node, port, mac := w.plug(f.From)
	here, arrives, destinationMAC := w.plug(f.To)
	switch {
	case node == "": // Somebody outside, whom the destination's node lets in.
		node = here
		_, port, mac = w.plug(oracle.End{Node: node})
	case w.isolatable(f.To) == nil: // Gateways are no matter of policies: without them the node's host leads to all that is no pod.
		_, arrives, _ = w.plug(oracle.End{Node: node})
	}
	if subnet, ok := addr.Pick(w.subnets(node), f.to.Addr(), netip.Prefix.Addr); !ok || !subnet.Contains(f.to.Addr()) {
		var routers []netip.Addr
		for _, s := range w.subnets(node) {
			routers = append(routers, addr.Router(s))
		}
		destinationMAC = addr.MAC(routers...).String()
	}
	family, l4 := "ip6", strings.ToLower(string(f.Protocol))
	if f.to.Addr().Is4() {
		family = "ip4"
	}
	return fmt.Sprintf(`inport==%q && eth.src==%s && eth.dst==%s && %s.src==%s && %s.dst==%s && ip.ttl==64 && %s && %s.src==40000 && %s.dst==%d`,
		port, mac, destinationMAC, family, f.From.Address, family, f.to.Addr(), l4, l4, l4, f.to.Port()), arrives
}

// plug is the node of an end, and the logical port and MAC by which it is plugged in there.
func (w *tracedWorld) plug(e oracle.End) (node, port, mac string) {
	node = w.nodeOf(e)
	if p := w.isolatable(e); p != nil {
		return node, names.PodLogicalPort(p.Namespace, p.Name), w.networkOf(p).MAC.String()
	}
	if node == "" {
		return "", "", ""
	}
	var management []netip.Addr
	for _, s := range w.subnets(node) {
		management = append(management, addr.Management(s))
	}
	return node, names.ManagementLogicalPort(node), addr.MAC(management...).String()
}
