package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// place is an end of a connection, found.
type place struct {
	// pod is on the cluster's network, or in its node's. service is set for services, and node for what is in a node's own network; all
	// are nil and empty for what is outside.
	pod     *corev1.Pod
	service *kube.Service
	node    string
	// address is the one that the other end sees; port is zero where none was given.
	address netip.Addr
	port    uint16
}

// String names the place.
func (p *place) String() string {
	switch {
	case p.pod != nil:
		return "pod " + names.ObjectName(p.pod.Namespace, p.pod.Name)
	case p.service != nil:
		return "service " + p.service.Key()
	case p.node != "":
		return "node " + p.node
	}
	return p.address.String() + ", outside"
}

// own tells whether the place is a pod on the cluster's network.
func (p *place) own() bool { return p.pod != nil && !p.pod.Spec.HostNetwork }

// familyError says that an end has no address of the connection's family.
type familyError struct{ what string }

func (e *familyError) Error() string { return e.what }

// ends finds both ends. Names have IPv4 addresses, or IPv6 ones where that is asked for or the only family that both have.
func (t *tracer) ends(source, destination string) (from, to *place, err error) {
	from, to, err = t.both(source, destination)
	var lacking *familyError
	if t.IPv6 || !errors.As(err, &lacking) {
		return from, to, err
	}
	t.v4 = false
	if from, to, otherwise := t.both(source, destination); otherwise == nil {
		return from, to, nil
	}
	return nil, nil, err
}

func (t *tracer) both(source, destination string) (from, to *place, err error) {
	// An address decides the family; so the end that is one comes first.
	if a, err := netip.ParseAddr(source); err == nil {
		t.byAddress(a.Unmap(), 0)
	}
	if to, err = t.find(destination); err != nil {
		return nil, nil, fmt.Errorf("destination: %w", err)
	}
	if from, err = t.find(source); err != nil {
		return nil, nil, fmt.Errorf("source: %w", err)
	}
	return from, to, nil
}

// find reads the words for an end: [KIND/][NAMESPACE/]NAME[:PORT], NAME.NAMESPACE.svc[.DOMAIN][:PORT] of a service, ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT.
func (t *tracer) find(words string) (*place, error) {
	if a, err := netip.ParseAddrPort(words); err == nil {
		return t.byAddress(a.Addr().Unmap(), a.Port()), nil
	}
	if a, err := netip.ParseAddr(words); err == nil {
		return t.byAddress(a.Unmap(), 0), nil
	}
	name, portText, hasPort := strings.Cut(words, ":")
	var port uint16
	if hasPort {
		n, err := strconv.ParseUint(portText, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q: port %q is not between 1 and 65535", words, portText)
		}
		port = uint16(n)
	}
	kind, rest := "", name
	if first, after, ok := strings.Cut(name, "/"); ok {
		switch strings.ToLower(first) {
		case "pod", "pods", "po", "service", "services", "svc", "node", "nodes", "no":
			kind, rest = strings.ToLower(first), after
		}
	}
	p, err := t.named(kind, rest)
	if err != nil {
		return nil, err
	}
	p.port = port
	return p, nil
}

func (t *tracer) named(kind, name string) (*place, error) {
	if strings.HasPrefix(kind, "no") {
		return t.byNode(name)
	}
	key := name
	if !strings.Contains(name, "/") {
		key = names.ObjectName(t.Namespace, name)
	}
	if !strings.HasPrefix(kind, "s") {
		for i := range t.Objects.Pods {
			if p := &t.Objects.Pods[i]; names.ObjectName(p.Namespace, p.Name) == key {
				return t.byPod(p)
			}
		}
	}
	if !strings.HasPrefix(kind, "p") {
		if ofDNS, ok := serviceOfDNS(name); ok {
			key = ofDNS
		}
		for i := range t.Objects.Services {
			if s := kube.NewService(&t.Objects.Services[i]); s.Key() == key {
				return t.byService(s)
			}
		}
	}
	return nil, fmt.Errorf("there is no pod or service %s; for others say service/NAME, node/NAME or an address", key)
}

// serviceOfDNS reads a service's name in DNS: NAME.NAMESPACE.svc, with or without the cluster's domain.
func serviceOfDNS(name string) (key string, ok bool) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	if len(labels) < 3 || labels[2] != "svc" || strings.Contains(name, "/") {
		return "", false
	}
	return names.ObjectName(labels[1], labels[0]), true
}

func (t *tracer) byPod(p *corev1.Pod) (*place, error) {
	out := &place{pod: p}
	if p.Spec.HostNetwork {
		out.node = p.Spec.NodeName
	}
	for _, ip := range p.Status.PodIPs {
		if a, err := netip.ParseAddr(ip.IP); err == nil && a.Is4() == t.v4 {
			out.address = a
			return out, nil
		}
	}
	return nil, &familyError{fmt.Sprintf("pod %s/%s (%s) has no %s address", p.Namespace, p.Name, p.Status.Phase, t.family())}
}

func (t *tracer) byService(s *kube.Service) (*place, error) {
	for _, a := range s.ClusterIPs {
		if a.Is4() == t.v4 {
			return &place{service: s, address: a}, nil
		}
	}
	return nil, &familyError{fmt.Sprintf("service %s has no %s cluster IP", s.Key(), t.family())}
}

func (t *tracer) byNode(name string) (*place, error) {
	for i := range t.Objects.Nodes {
		if n := kube.NewNode(&t.Objects.Nodes[i]); n.Name == name {
			for _, a := range n.Addresses {
				if a.Is4() == t.v4 {
					return &place{node: name, address: a}, nil
				}
			}
			return nil, &familyError{fmt.Sprintf("node %s has no %s address", name, t.family())}
		}
	}
	return nil, fmt.Errorf("there is no node %s", name)
}

// byAddress finds whose an address is; nobody's is outside. It decides the family.
func (t *tracer) byAddress(a netip.Addr, port uint16) *place {
	t.v4 = a.Is4()
	for i := range t.Objects.Pods {
		p := &t.Objects.Pods[i]
		if k := kube.NewPod(p); k.HostNetwork || k.Finished {
			continue
		}
		if slices.ContainsFunc(p.Status.PodIPs, func(ip corev1.PodIP) bool { return ip.IP == a.String() }) {
			return &place{pod: p, address: a, port: port}
		}
	}
	for i := range t.Objects.Services {
		s := kube.NewService(&t.Objects.Services[i])
		if slices.Contains(slices.Concat(s.ClusterIPs, s.ExternalIPs, s.LoadBalancerIPs), a) {
			return &place{service: s, address: a, port: port}
		}
	}
	for i := range t.Objects.Nodes {
		n := kube.NewNode(&t.Objects.Nodes[i])
		subnets, _ := annotations.ParseNodeSubnets(n.Annotations)
		management := slices.ContainsFunc(subnets, func(s netip.Prefix) bool { return addr.Management(s) == a })
		if management || slices.Contains(n.Addresses, a) {
			return &place{node: n.Name, address: a, port: port}
		}
	}
	return &place{address: a, port: port}
}

func (t *tracer) family() string {
	if t.v4 {
		return "IPv4"
	}
	return "IPv6"
}

// subnet is that of a node, of the connection's family.
func (t *tracer) subnet(node string) (netip.Prefix, error) {
	for i := range t.Objects.Nodes {
		n := &t.Objects.Nodes[i]
		if n.Name != node {
			continue
		}
		subnets, err := annotations.ParseNodeSubnets(n.Annotations)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("node %s: %w", node, err)
		}
		for _, s := range subnets {
			if s.Addr().Is4() == t.v4 {
				return s, nil
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("node %q has no %s subnet", node, t.family())
}

// portMAC is the hardware address of a logical switch port.
func (t *tracer) portMAC(name string) (string, error) {
	for _, p := range database.Rows[nbdb.LogicalSwitchPort](t.NB, nbdb.LogicalSwitchPortTable) {
		if p.Name == name && len(p.Addresses) > 0 {
			mac, _, _ := strings.Cut(p.Addresses[0], " ")
			return mac, nil
		}
	}
	return "", fmt.Errorf("there is no logical port %s: its pod is not connected; kubectl ovn list endpoints", name)
}

// routerMAC is the hardware address of a logical router port.
func (t *tracer) routerMAC(name string) (string, error) {
	for _, p := range database.Rows[nbdb.LogicalRouterPort](t.NB, nbdb.LogicalRouterPortTable) {
		if p.Name == name {
			return p.MAC, nil
		}
	}
	return "", fmt.Errorf("there is no router port %s; kubectl ovn list nodes", name)
}
