package connectivity

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
)

const (
	tcp = "tcp"
	udp = "udp"
)

// family is one of the cluster's.
type family struct {
	v4   bool
	name string
}

// families are those that the pods have.
func (r *runner) families() []family {
	var out []family
	for _, f := range []family{{true, "IPv4"}, {false, "IPv6"}} {
		if address(&r.clients[0], f.v4).IsValid() {
			out = append(out, f)
		}
	}
	return out
}

func address(p *corev1.Pod, v4 bool) netip.Addr {
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is4() == v4 {
			return a
		}
	}
	return netip.Addr{}
}

func nodeAddress(n *corev1.Node, v4 bool) netip.Addr {
	for _, na := range n.Status.Addresses {
		if a, err := netip.ParseAddr(na.Address); err == nil && na.Type == corev1.NodeInternalIP && a.Is4() == v4 {
			return a
		}
	}
	return netip.Addr{}
}

// at is ADDRESS:PORT, empty without an address.
func at(a netip.Addr, port int32) string {
	if !a.IsValid() || port == 0 {
		return ""
	}
	return netip.AddrPortFrom(a, uint16(port)).String()
}

// each makes a group of one probe for each place; to is where the client at a place connects to, empty for none.
func (r *runner) each(name, protocol, skip string, to func(place int) string) group {
	g := group{name: name, skip: skip}
	for i := range r.clients {
		if where := to(i); where != "" {
			g.probes = append(g.probes, probe{from: &r.clients[i], to: where, protocol: protocol, next: r.trace(&r.clients[i], where, protocol)})
		}
	}
	return g
}

// trace is the command that explains a connection.
func (r *runner) trace(from *corev1.Pod, to, protocol string) string {
	return fmt.Sprintf("with --keep: kubectl ovn trace --protocol %s %s/%s %s", protocol, r.namespace, from.Name, to)
}

// other is the place after a place, or -1 where there is no other.
func (r *runner) other(place int) int {
	if len(r.clients) == 1 {
		return -1
	}
	return (place + 1) % len(r.clients)
}

const single = "there is one node only"

// open are the connections that nothing forbids.
func (r *runner) open(ctx context.Context) []group {
	var out []group
	for _, f := range r.families() {
		for _, protocol := range []string{tcp, udp} {
			out = append(out, r.pods(f, protocol)...)
		}
		out = append(out, r.full(ctx, f), r.toNodes(f))
	}
	dns := r.each("DNS", tcp, "there is no service kube-system/kube-dns", func(int) string { return "" })
	if _, err := r.Client.CoreV1().Services(metav1.NamespaceSystem).Get(ctx, "kube-dns", metav1.GetOptions{}); err == nil {
		dns = r.each("DNS, and what the name leads to", tcp, "", func(int) string { return webService + "." + r.namespace + ".svc:" + strconv.Itoa(frontPort) })
	}
	outside := group{name: "pod to outside", skip: "no address was given: --outside ADDRESS:PORT"}
	for _, to := range r.Outside {
		outside.probes = append(outside.probes, r.each("", tcp, "", func(int) string { return to }).probes...)
	}
	return append(out, dns, outside)
}

// pods are the connections to pods, directly and through services.
func (r *runner) pods(f family, protocol string) []group {
	port, front := int32(tcpPort), r.service.Spec.Ports[0]
	if protocol == udp {
		port, front = udpPort, r.service.Spec.Ports[1]
	}
	what := ", " + strings.ToUpper(protocol) + ", " + f.name
	toServer := func(place int) string {
		if place < 0 {
			return ""
		}
		return at(address(&r.servers[place], f.v4), port)
	}
	clusterIP := func(int) string {
		for _, ip := range r.service.Spec.ClusterIPs {
			if a, err := netip.ParseAddr(ip); err == nil && a.Is4() == f.v4 {
				return at(a, front.Port)
			}
		}
		return ""
	}
	nodePort := func(place int) string {
		return at(nodeAddress(&r.nodes[max(0, r.other(place))], f.v4), front.NodePort)
	}
	return []group{
		r.each("pod to pod, on one node"+what, protocol, "", toServer),
		r.each("pod to pod, across nodes"+what, protocol, single, func(place int) string { return toServer(r.other(place)) }),
		r.each("pod to service"+what, protocol, "the service has no "+f.name+" address", clusterIP),
		r.each("pod to node port"+what, protocol, "there is no node port, or no "+f.name+" address of nodes", nodePort),
	}
}

// Lengths of headers, in bytes: IPv4 (RFC 791) and IPv6 (RFC 8200) without options, UDP (RFC 768).
const (
	headersV4 = 20 + 8
	headersV6 = 40 + 8
)

// full sends packets as long as a pod's device takes to another node: whether the network between the nodes has room for them in their tunnels.
func (r *runner) full(ctx context.Context, f family) group {
	g := group{name: "packets of full size, across nodes, " + f.name, skip: single}
	if len(r.nodes) == 1 {
		return g
	}
	text, err := r.Exec(ctx, access.Container{Namespace: r.namespace, Pod: r.clients[0].Name, Name: container}, "cat", "/sys/class/net/eth0/mtu")
	mtu, parseErr := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || parseErr != nil {
		g.skip = "the MTU of a pod cannot be read"
		return g
	}
	g.name = fmt.Sprintf("packets of %d bytes, across nodes, %s", mtu, f.name)
	headers := headersV6
	if f.v4 {
		headers = headersV4
	}
	const command = "echo "
	length := mtu - headers - len(command) - len("\n")
	g.probes = r.each("", udp, "", func(place int) string { return at(address(&r.servers[r.other(place)], f.v4), udpPort) }).probes
	for i := range g.probes {
		g.probes[i].data = command + strings.Repeat("x", max(1, length))
		g.probes[i].next = fmt.Sprintf("packets between nodes need %d bytes: lower --mtu, or raise the MTU of the nodes' network", mtu+100)
	}
	return g
}

// toNodes reaches every kubelet: that of a pod's own node and of another.
func (r *runner) toNodes(f family) group {
	kubelet := func(place int) string {
		if place < 0 {
			return ""
		}
		return at(nodeAddress(&r.nodes[place], f.v4), r.nodes[place].Status.DaemonEndpoints.KubeletEndpoint.Port)
	}
	g := r.each("pod to node, "+f.name, tcp, "nodes have no "+f.name+" address, or do not name their kubelet's port", kubelet)
	g.probes = append(g.probes, r.each("", tcp, "", func(place int) string { return kubelet(r.other(place)) }).probes...)
	for i := range g.probes {
		g.probes[i].want = reached
	}
	return g
}

// policies are the connections of which a policy allows one kind.
func (r *runner) policies() []group {
	var out []group
	for _, f := range r.families() {
		first := address(&r.servers[0], f.v4)
		if !first.IsValid() {
			continue
		}
		allowed := r.each("policy allows, "+f.name, tcp, "", func(place int) string {
			if place > 0 {
				return ""
			}
			return at(first, tcpPort)
		})
		port := group{name: "policy denies the port, " + f.name, probes: slices.Clone(allowed.probes)}
		port.probes[0].to, port.probes[0].protocol = at(first, udpPort), udp
		peer := r.each("policy denies the pod, "+f.name, tcp, single, func(place int) string {
			if place == 0 {
				return ""
			}
			return at(first, tcpPort)
		})
		// One that is denied is like all others, and each waits for answers that do not come.
		peer.probes = peer.probes[:min(few, len(peer.probes))]
		for _, g := range []*group{&port, &peer} {
			for i := range g.probes {
				g.probes[i].want = denied
			}
		}
		out = append(out, port, peer, allowed)
	}
	return out
}
