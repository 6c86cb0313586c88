package kube

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Service is what is kept of a Kubernetes Service. It is never changed after it was made.
//
// Not kept, because it has done its work before: publishNotReadyAddresses (whoever writes the EndpointSlices says "ready" for
// each endpoint then), trafficDistribution (the same sets hints), allocateLoadBalancerNodePorts (there are no node ports then).
type Service struct {
	Namespace string
	Name      string
	UID       types.UID
	Type      corev1.ServiceType
	// ClusterIPs is empty for headless services and those of type ExternalName, which have no load balancing at all.
	ClusterIPs []netip.Addr
	// ExternalIPs are spec.externalIPs.
	ExternalIPs []netip.Addr
	// LoadBalancerIPs are the addresses of status.loadBalancer that this cluster has to answer for: those with ipMode Proxy belong
	// to something in front of it.
	LoadBalancerIPs []netip.Addr
	// SourceRanges, unless empty, are the only ones that may use LoadBalancerIPs.
	SourceRanges []netip.Prefix
	Ports        []ServicePort
	// AffinityTimeout is the time for which a client keeps its endpoint; zero: no affinity.
	AffinityTimeout time.Duration
	// ExternalLocal and InternalLocal are the traffic policies "Local".
	ExternalLocal bool
	InternalLocal bool
	// HealthCheckNodePort is zero when there is none.
	HealthCheckNodePort uint16
	// Selects tells whether there is a selector: then Kubernetes makes its EndpointSlices, at least an empty one.
	Selects bool
}

// ServicePort is one port of a Service. Endpoints' ports are found by its name and protocol.
type ServicePort struct {
	Name     string
	Protocol corev1.Protocol
	Port     uint16
	// NodePort is zero when there is none.
	NodePort uint16
}

// defaultAffinityTimeout applies when a service with affinity says nothing else (ServiceSpec.SessionAffinityConfig).
const defaultAffinityTimeout = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second

// Key is "namespace/name".
func (s *Service) Key() string { return names.ObjectName(s.Namespace, s.Name) }

// Ref refers to this service.
func (s *Service) Ref() Ref {
	return Ref{Kind: "Service", Namespace: s.Namespace, Name: s.Name, UID: s.UID}
}

// Equal tells whether nothing that is kept differs.
func (s *Service) Equal(t *Service) bool {
	return s.Namespace == t.Namespace && s.Name == t.Name && s.UID == t.UID && s.Type == t.Type &&
		slices.Equal(s.ClusterIPs, t.ClusterIPs) && slices.Equal(s.ExternalIPs, t.ExternalIPs) &&
		slices.Equal(s.LoadBalancerIPs, t.LoadBalancerIPs) && slices.Equal(s.SourceRanges, t.SourceRanges) &&
		slices.Equal(s.Ports, t.Ports) && s.AffinityTimeout == t.AffinityTimeout &&
		s.ExternalLocal == t.ExternalLocal && s.InternalLocal == t.InternalLocal &&
		s.HealthCheckNodePort == t.HealthCheckNodePort && s.Selects == t.Selects
}

// Undecided tells whether nobody can say yet by which way packets from outside reach a service: it depends on where its endpoints are
// (externalTrafficPolicy Local), and the slices that Kubernetes makes for it are not there. A way that is chosen too early breaks
// connections when it is left.
func (s *Service) Undecided(slices []*EndpointSlice) bool {
	return s.ExternalLocal && s.Selects && len(slices) == 0
}

// NewService trims a service.
func NewService(in *corev1.Service) *Service {
	out := &Service{Namespace: in.Namespace, Name: in.Name, UID: in.UID, Type: in.Spec.Type}
	if in.Spec.Type == corev1.ServiceTypeExternalName {
		return out
	}
	ips := in.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{in.Spec.ClusterIP}
	}
	out.ClusterIPs = addresses(ips) // "None" is not an address
	out.ExternalIPs = slices.DeleteFunc(addresses(in.Spec.ExternalIPs), special)
	for _, p := range in.Spec.Ports {
		if !known(protocol(&p.Protocol)) || p.Port < 1 || p.Port > 65535 || p.NodePort < 0 || p.NodePort > 65535 {
			continue
		}
		out.Ports = append(out.Ports, ServicePort{
			Name: p.Name, Protocol: protocol(&p.Protocol), Port: uint16(p.Port), NodePort: uint16(p.NodePort),
		})
	}
	if in.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out.AffinityTimeout = affinityTimeout(in.Spec.SessionAffinityConfig)
	}
	out.ExternalLocal = in.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	out.InternalLocal = in.Spec.InternalTrafficPolicy != nil && *in.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	out.HealthCheckNodePort = uint16(in.Spec.HealthCheckNodePort)
	out.Selects = len(in.Spec.Selector) > 0
	if in.Spec.Type == corev1.ServiceTypeLoadBalancer {
		out.LoadBalancerIPs = ingressAddresses(in.Status.LoadBalancer.Ingress)
		out.SourceRanges = sourceRanges(in.Spec.LoadBalancerSourceRanges)
	}
	return out
}

func affinityTimeout(config *corev1.SessionAffinityConfig) time.Duration {
	if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
		return defaultAffinityTimeout
	}
	return time.Duration(*config.ClientIP.TimeoutSeconds) * time.Second
}

func ingressAddresses(in []corev1.LoadBalancerIngress) []netip.Addr {
	var out []string
	for _, i := range in {
		if i.IPMode == nil || *i.IPMode == corev1.LoadBalancerIPModeVIP {
			out = append(out, i.IP)
		}
	}
	return slices.DeleteFunc(addresses(out), special)
}

// nobody stands for a source range that cannot be read: it must not mean that everybody is let in.
var nobody = netip.PrefixFrom(netip.IPv4Unspecified(), 32)

func sourceRanges(in []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range in {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil || p.Addr().Is4In6() {
			p = nobody
		}
		out = append(out, p.Masked())
	}
	return out
}

// addresses leaves out what is none: names, and addresses that mean something on one node only.
func addresses(in []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range in {
		if ip, err := netip.ParseAddr(strings.TrimSpace(s)); err == nil && ip.Zone() == "" {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// known tells whether a protocol is one that the API has. Another would be part of a database's row as it is.
func known(p corev1.Protocol) bool {
	return p == corev1.ProtocolTCP || p == corev1.ProtocolUDP || p == corev1.ProtocolSCTP
}

// protocol defaults to TCP (ServicePort and EndpointPort).
func protocol(p *corev1.Protocol) corev1.Protocol {
	if p == nil || *p == "" {
		return corev1.ProtocolTCP
	}
	return *p
}

// trimService drops what NewService does not read.
func trimService(in *corev1.Service) *corev1.Service {
	out := &corev1.Service{ObjectMeta: trimMeta(&in.ObjectMeta)}
	out.Spec = in.Spec
	out.Status.LoadBalancer = in.Status.LoadBalancer
	return out
}
