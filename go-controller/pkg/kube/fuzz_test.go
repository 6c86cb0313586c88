package kube

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sendable tells whether an address can be part of a row, and be somebody's.
func sendable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

// FuzzEndpointSlice: whatever a slice says, its endpoints are addresses of somebody, and its ports are ports of a protocol that there is.
func FuzzEndpointSlice(f *testing.F) {
	for _, a := range []string{
		"10.128.0.5", "fd01::5", "::ffff:10.0.0.5", "fe80::1%eth0", "fd01::1%1", "127.0.0.1", "::1", "169.254.169.254", "169.254.169.2", "fe80::1",
		"224.0.0.1", "ff02::1", "0.0.0.0", "::", "255.255.255.255", "010.0.0.1", "10.0.0.5/24", "0x7f.1", "FD01:0:0:0::5", " 10.0.0.5 ", "",
	} {
		f.Add(a, int32(80), "http", "TCP", "IPv4", "node1")
	}
	f.Add("10.128.0.5", int32(0), strings.Repeat("p", 1000), "ICMP", "FQDN", strings.Repeat("n.", 126))
	f.Add("10.128.0.5", int32(-1), "", "", "", "")
	f.Fuzz(func(t *testing.T, address string, port int32, name, protocol, family, node string) {
		wire, number := corev1.Protocol(protocol), &port
		if port == 1 {
			number = nil
		}
		in := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressType(family),
			Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: number, Protocol: &wire}, {}},
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{address, address}, NodeName: &node}, {}, {Addresses: []string{"10.9.9.9"}}},
		}
		out := NewEndpointSlice(trimEndpointSlice(in))
		for _, e := range out.Endpoints {
			if !sendable(e.Address) || e.Address.IsLinkLocalUnicast() {
				t.Errorf("%q became the endpoint %v", address, e.Address)
			}
		}
		for _, p := range out.Ports {
			if p.Port == 0 || !known(p.Protocol) {
				t.Errorf("port %d, protocol %q became %v", port, protocol, p)
			}
		}
		// What is wrong with one endpoint is not the others' fault.
		if family != string(discoveryv1.AddressTypeFQDN) && len(out.Endpoints) == 0 {
			t.Error("the other endpoint is gone")
		}
		if !out.Equal(NewEndpointSlice(in)) {
			t.Error("what is trimmed is read")
		}
	})
}

// FuzzService: the same of services' own addresses and ports.
func FuzzService(f *testing.F) {
	f.Add("172.30.0.1", "203.0.113.9", "203.0.113.10", "10.0.0.0/8", int32(80), int32(30080), "TCP")
	f.Add("None", "127.0.0.1", "::1", "nonsense", int32(0), int32(0), "ICMP")
	f.Add("fd02::1%eth0", "fe80::1%eth0", "::ffff:0.0.0.0", "::ffff:10.0.0.0/100", int32(70000), int32(-1), "")
	f.Fuzz(func(t *testing.T, clusterIP, externalIP, ingressIP, source string, port, nodePort int32, protocol string) {
		out := NewService(trimService(&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"},
			Spec: corev1.ServiceSpec{
				Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{clusterIP}, ExternalIPs: []string{externalIP}, LoadBalancerSourceRanges: []string{source},
				Ports: []corev1.ServicePort{{Protocol: corev1.Protocol(protocol), Port: port, NodePort: nodePort}},
			},
			Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: ingressIP}, {Hostname: ingressIP}}}},
		}))
		for _, a := range append(out.ExternalIPs, out.LoadBalancerIPs...) {
			if !sendable(a) {
				t.Errorf("%q and %q became %v", externalIP, ingressIP, a)
			}
		}
		for _, a := range out.ClusterIPs {
			if !a.IsValid() || a.Zone() != "" {
				t.Errorf("%q became %v", clusterIP, a)
			}
		}
		for _, p := range out.Ports {
			if p.Port == 0 || !known(p.Protocol) {
				t.Errorf("port %d, protocol %q became %v", port, protocol, p)
			}
		}
		// A range that cannot be read must not let everybody in.
		if len(out.SourceRanges) != 1 {
			t.Errorf("%q became %v", source, out.SourceRanges)
		}
	})
}

// An Event says what is wrong in bounded length, whatever is quoted in it.
func TestLongMessagesAreCut(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"short", "short"}, {strings.Repeat("x", maxMessage), strings.Repeat("x", maxMessage)},
		{strings.Repeat("x", maxMessage+1), strings.Repeat("x", maxMessage-3) + "…"},
		{strings.Repeat("ä", maxMessage), strings.Repeat("ä", maxMessage/2-2) + "…"},
	} {
		if got := shorten(c.in); got != c.want {
			t.Errorf("%d bytes became %d, want %d", len(c.in), len(got), len(c.want))
		}
	}
}
