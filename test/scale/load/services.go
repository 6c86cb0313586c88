package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const (
	// servicePort and targetPort are those of all services.
	servicePort, targetPort = 80, 8080
	// sliceSize is the most endpoints that the API takes in one EndpointSlice.
	sliceSize = 1000
)

// firstService and firstEndpoint are the addresses before those of the first service and endpoint.
var (
	firstService  = netip.MustParseAddr("172.30.1.0")
	firstEndpoint = netip.MustParseAddr("10.128.0.2")
)

// ServiceKey is "namespace/name" of the i-th service.
func ServiceKey(i int) string { return Namespace(i%namespaces) + "/" + serviceName(i) }

// ServiceFrontend is the address and port of the i-th service, as a load balancer names it.
func ServiceFrontend(i int) string {
	return netip.AddrPortFrom(plus(firstService, i+1), servicePort).String()
}

func serviceName(i int) string { return fmt.Sprintf("svc-%05d", i) }

func plus(a netip.Addr, n int) netip.Addr {
	raw := a.As4()
	binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])+uint32(n))
	return netip.AddrFrom4(raw)
}

// service has no selector: its endpoints are written by the load itself, as the control plane would.
func service(i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace(i % namespaces), Name: serviceName(i)},
		Spec: corev1.ServiceSpec{
			ClusterIP: plus(firstService, i+1).String(),
			Ports:     []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: servicePort}},
		},
	}
}

// slices hold n endpoints of the i-th service, spread over nodes.
func slices(i, n, nodes int) []*discoveryv1.EndpointSlice {
	name, at, proto, ready := "http", int32(targetPort), corev1.ProtocolTCP, true
	var out []*discoveryv1.EndpointSlice
	for k := range n {
		if k%sliceSize == 0 {
			out = append(out, &discoveryv1.EndpointSlice{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: Namespace(i % namespaces), Name: fmt.Sprintf("%s-%d", serviceName(i), k/sliceSize),
					Labels: map[string]string{discoveryv1.LabelServiceName: serviceName(i)},
				},
				AddressType: discoveryv1.AddressTypeIPv4,
				Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &at, Protocol: &proto}},
			})
		}
		node := NodeName((i + k) % nodes)
		last := out[len(out)-1]
		last.Endpoints = append(last.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{plus(firstEndpoint, 1+i*2+k).String()}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		})
	}
	return out
}

// CreateServices creates services first … first+n-1, each with endpoints spread over nodes.
func (g *Generator) CreateServices(ctx context.Context, first, n, endpoints, nodes int) (Span, error) {
	return g.parallel(ctx, n, func(ctx context.Context, client kubernetes.Interface, i int) error {
		if err := createSlices(ctx, client, first+i, endpoints, nodes); err != nil {
			return err
		}
		s := service(first + i)
		_, err := client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{})
		return err
	})
}

func createSlices(ctx context.Context, client kubernetes.Interface, i, endpoints, nodes int) error {
	for _, s := range slices(i, endpoints, nodes) {
		if _, err := client.DiscoveryV1().EndpointSlices(s.Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// DropEndpoint takes the first endpoint of the i-th service away.
func (g *Generator) DropEndpoint(ctx context.Context, i int) error {
	patch := []byte(`[{"op":"remove","path":"/endpoints/0"}]`)
	_, err := g.clients[0].DiscoveryV1().EndpointSlices(Namespace(i%namespaces)).Patch(ctx, serviceName(i)+"-0", types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}
