package kube

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func ptr[T any](v T) *T { return &v }

func fullService() *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web", UID: "u"}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "172.30.0.9", ClusterIPs: []string{"172.30.0.9", "fd02::9"},
		Selector: map[string]string{"app": "web"}, ExternalIPs: []string{"192.0.2.1", "not an address"},
		Ports:           []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080}, {Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53}},
		SessionAffinity: corev1.ServiceAffinityClientIP, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
		InternalTrafficPolicy: ptr(corev1.ServiceInternalTrafficPolicyLocal), HealthCheckNodePort: 31000,
		LoadBalancerSourceRanges: []string{" 10.1.2.3/8 ", "nonsense"},
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{IP: "192.0.2.10"}, {IP: "2001:db8::1", IPMode: ptr(corev1.LoadBalancerIPModeVIP)},
		{IP: "192.0.2.11", IPMode: ptr(corev1.LoadBalancerIPModeProxy)}, {Hostname: "lb.example"},
	}
	return s
}

func TestNewService(t *testing.T) {
	want := &Service{
		Namespace: "ns", Name: "web", UID: "u", Type: corev1.ServiceTypeLoadBalancer,
		ClusterIPs:      []netip.Addr{netip.MustParseAddr("172.30.0.9"), netip.MustParseAddr("fd02::9")},
		ExternalIPs:     []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		LoadBalancerIPs: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::1")},
		SourceRanges:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), nobody},
		Ports:           []ServicePort{{"http", corev1.ProtocolTCP, 80, 30080}, {"dns", corev1.ProtocolUDP, 53, 0}},
		AffinityTimeout: 3 * time.Hour, ExternalLocal: true, InternalLocal: true, HealthCheckNodePort: 31000, Selects: true,
	}
	in := fullService()
	cmpAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	cmpPrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	for name, got := range map[string]*Service{"whole": NewService(in), "trimmed": NewService(trimService(in))} {
		if diff := cmp.Diff(want, got, cmpAddr, cmpPrefix); diff != "" || !got.Equal(want) {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	in.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr[int32](7)}}
	if got := NewService(in); got.AffinityTimeout != 7*time.Second || got.Equal(want) {
		t.Errorf("timeout %v, want 7s and a difference", got.AffinityTimeout)
	}
	for name, change := range map[string]func(*corev1.ServiceSpec){
		"headless":     func(s *corev1.ServiceSpec) { s.ClusterIP, s.ClusterIPs = "None", []string{"None"} },
		"ExternalName": func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeExternalName },
	} {
		in := fullService()
		change(&in.Spec)
		if got := NewService(in); len(got.ClusterIPs) != 0 {
			t.Errorf("%s has cluster IPs %v", name, got.ClusterIPs)
		}
	}
}

func TestNewEndpointSlice(t *testing.T) {
	in := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "ns", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: ptr("http"), Port: ptr[int32](8080)}, {Name: ptr("any")}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.128.0.5", "10.128.0.6"}, NodeName: ptr("n1"), Zone: ptr("z1"), Hints: &discoveryv1.EndpointHints{
				ForZones: []discoveryv1.ForZone{{Name: "z1"}}, ForNodes: []discoveryv1.ForNode{{Name: "n1"}}}},
			{Addresses: []string{"10.128.0.7"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(false)}},
			{Addresses: []string{"10.128.0.8"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}},
			{},
		},
	}
	want := &EndpointSlice{
		Namespace: "ns", Name: "web-1", Service: "web", Ports: []EndpointPort{{"http", corev1.ProtocolTCP, 8080}},
		Endpoints: []Endpoint{
			{Address: netip.MustParseAddr("10.128.0.5"), Ready: true, Serving: true, Node: "n1", Zone: "z1", HintNodes: []string{"n1"}, HintZones: []string{"z1"}},
			{Address: netip.MustParseAddr("10.128.0.7")},
			{Address: netip.MustParseAddr("10.128.0.8"), Serving: true, Terminating: true},
		},
	}
	cmpAddr := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for name, got := range map[string]*EndpointSlice{"whole": NewEndpointSlice(in), "trimmed": NewEndpointSlice(trimEndpointSlice(in))} {
		if diff := cmp.Diff(want, got, cmpAddr); diff != "" || !got.Equal(want) {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	in.Endpoints[0].Hints = nil
	if NewEndpointSlice(in).Equal(want) {
		t.Error("a hint that is gone is no difference")
	}
	in.AddressType = discoveryv1.AddressTypeFQDN
	if got := NewEndpointSlice(in); len(got.Endpoints) != 0 {
		t.Errorf("a slice of names has endpoints %v", got.Endpoints)
	}
}

func TestNodeZoneIsKept(t *testing.T) {
	in := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelTopologyZone: "z1", "other": "x"}}}
	if a, b := NewNode(in), NewNode(trimNode(in)); a.Zone != "z1" || !a.Equal(b) || a.Equal(&Node{Name: "n1"}) {
		t.Errorf("zone %q, after trimming %q", a.Zone, b.Zone)
	}
}

func TestServiceSlicesFollowTheMirror(t *testing.T) {
	m := NewEndpointSliceMirror()
	x := NewServiceSlices(m)
	of := func(service string) (out []string) {
		for _, s := range x.Of(service) {
			out = append(out, s.Name)
		}
		return out
	}
	m.Put(&EndpointSlice{Namespace: "ns", Name: "b", Service: "web"})
	m.Put(&EndpointSlice{Namespace: "ns", Name: "a", Service: "web"})
	m.Put(&EndpointSlice{Namespace: "ns", Name: "c"})
	m.Put(&EndpointSlice{Namespace: "other", Name: "d", Service: "web"})
	if diff := cmp.Diff([]string{"a", "b"}, of("ns/web")); diff != "" {
		t.Errorf("slices of the service (-want +got):\n%s", diff)
	}
	m.Put(&EndpointSlice{Namespace: "ns", Name: "a", Service: "api"})
	m.Remove("ns/b")
	if of("ns/web") != nil || len(of("ns/api")) != 1 || len(x.byService) != 2 {
		t.Errorf("after the changes: %v, %v, %d services", of("ns/web"), of("ns/api"), len(x.byService))
	}
}

func TestServicesOfOthersAreNotWatched(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.URL.Path+" "+r.URL.Query().Get("labelSelector"))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer server.Close()
	clients, err := NewClients(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []cache.ListerWatcher{Services(clients.Core), EndpointSlices(clients.Discovery)} {
		_, _ = cache.ToListerWatcherWithContext(source).ListWithContext(context.Background(), metav1.ListOptions{})
	}
	const selector = "!service.kubernetes.io/service-proxy-name,!service.kubernetes.io/headless"
	if diff := cmp.Diff([]string{"/api/v1/services " + selector, "/apis/discovery.k8s.io/v1/endpointslices " + selector}, got); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
}
