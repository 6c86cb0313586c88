package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// sourcePort is that of traced packets: any above the well-known ones.
const sourcePort = 40000

// strangerMAC stands for whoever hands a node packets from outside; no flow depends on it. It is locally administered.
const strangerMAC = "02:00:00:00:00:01"

// packet is the first of a connection, where it enters the logical network.
type packet struct {
	inport, sourceMAC, destinationMAC string
	source, destination               netip.AddrPort
}

// microflow is the packet in the language of ovn-trace(8).
func (p *packet) microflow(protocol string) string {
	ip := addr.MatchName(p.source.Addr().Is4())
	return fmt.Sprintf(`inport == %q && eth.src == %s && eth.dst == %s && %s.src == %s && %s.dst == %s && ip.ttl == 64 && %s && %s.src == %d && %s.dst == %d`,
		p.inport, p.sourceMAC, p.destinationMAC, ip, p.source.Addr(), ip, p.destination.Addr(), protocol, protocol, p.source.Port(), protocol, p.destination.Port())
}

// first is the packet with which a connection from one place to another begins. to.address is what it is sent to, a service's or an
// endpoint's own; near is the node by which outsiders come in.
func (t *tracer) first(from, to *place, near string) (*packet, error) {
	p := &packet{source: netip.AddrPortFrom(from.address, sourcePort), destination: netip.AddrPortFrom(to.address, to.port)}
	var err error
	switch {
	case from.own():
		p.inport = names.PodLogicalPort(from.pod.Namespace, from.pod.Name)
		if p.sourceMAC, err = t.portMAC(p.inport); err == nil {
			p.destinationMAC, err = t.next(from.pod.Spec.NodeName, to)
		}
	case from.node != "" && to.service == nil: // From the management port, which has an address of the node's subnet.
		p.inport = names.ManagementLogicalPort(from.node)
		var subnet netip.Prefix
		if subnet, err = t.subnet(from.node); err != nil {
			return nil, err
		}
		p.source = netip.AddrPortFrom(addr.Management(subnet), sourcePort)
		if p.sourceMAC, err = t.portMAC(p.inport); err == nil {
			p.destinationMAC, err = t.next(from.node, to)
		}
	case from.node != "": // Services are reached by way of the external bridge.
		p.source = netip.AddrPortFrom(names.MasqueradeHost(t.v4), sourcePort)
		err = t.fromOutside(p, from.node)
	default:
		err = t.fromOutside(p, near)
	}
	return p, err
}

// fromOutside lets the packet come in by a node's external bridge.
func (t *tracer) fromOutside(p *packet, node string) (err error) {
	if node == "" {
		return fmt.Errorf("by which node does the packet come in? Name it with --via")
	}
	p.inport, p.sourceMAC = names.ExternalLocalnetPort(node), strangerMAC
	p.destinationMAC, err = t.routerMAC(names.RouterToExternalPort(node))
	return err
}

// next is the hardware address to which a packet on a node's switch is sent: that of the destination itself in the same subnet, or the router's.
func (t *tracer) next(node string, to *place) (string, error) {
	subnet, err := t.subnet(node)
	if err != nil {
		return "", err
	}
	switch {
	case !subnet.Contains(to.address):
		return t.routerMAC(names.RouterToSwitchPort(node))
	case to.own():
		return t.portMAC(names.PodLogicalPort(to.pod.Namespace, to.pod.Name))
	case to.node != "":
		return t.portMAC(names.ManagementLogicalPort(to.node))
	}
	return "", fmt.Errorf("nobody has %s, an address in the subnet of node %s", to.address, node)
}

// wire is the name of a protocol in matches.
func wire(protocol string) string { return strings.ToLower(protocol) }
