package servicebench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/scale/inlab"
)

const (
	// servicePort and targetPort are those of all services.
	servicePort, targetPort = 80, 8080
	// portName is in EndpointSlices that we write.
	portName = "greet"
	// inFlight is how many services are being created at a time.
	inFlight = 16
)

func backendName(i int) string { return fmt.Sprintf("backend-%d", i) }

// service has the first backend as its endpoint, through the control plane's own controller.
func service(name string, address netip.Addr) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: inlab.Namespace, Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: address.String(), Selector: map[string]string{"app": backendName(0)},
			Ports: []corev1.ServicePort{{Name: portName, Protocol: corev1.ProtocolTCP, Port: servicePort, TargetPort: intstr.FromInt32(targetPort)}},
		},
	}
}

func (b *bench) createService(ctx context.Context, name string, address netip.Addr) error {
	_, err := b.Client.CoreV1().Services(inlab.Namespace).Create(ctx, service(name, address), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create service %s: %w", name, err)
	}
	return nil
}

func (b *bench) deleteService(ctx context.Context, name string) error {
	if err := b.Client.CoreV1().Services(inlab.Namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete service %s: %w", name, err)
	}
	return nil
}

// createOthers creates n services at once.
func (b *bench) createOthers(ctx context.Context, first, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i := first; i < first+n; i++ {
		group.Go(func() error { return b.createService(ctx, fmt.Sprintf("other-%05d", i), otherAddress(i).Addr()) })
	}
	return group.Wait()
}

// changing is a service whose only EndpointSlice is ours.
const changing = "changing"

func (b *bench) createChanging(ctx context.Context, to netip.AddrPort) error {
	s := service(changing, to.Addr())
	s.Spec.Selector = nil
	if _, err := b.Client.CoreV1().Services(inlab.Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create service %s: %w", changing, err)
	}
	name, port, proto := portName, int32(targetPort), corev1.ProtocolTCP
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: inlab.Namespace, Name: changing, Labels: map[string]string{discoveryv1.LabelServiceName: changing},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   b.endpoints(0),
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &proto}},
	}
	if _, err := b.Client.DiscoveryV1().EndpointSlices(inlab.Namespace).Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create the endpoints of %s: %w", changing, err)
	}
	return nil
}

func (b *bench) endpoints(backend int) []discoveryv1.Endpoint {
	node, ready := backendNode, true
	return []discoveryv1.Endpoint{{
		Addresses: []string{b.backends[backend].Address(true).String()}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
	}}
}

// change makes a backend the only endpoint.
func (b *bench) change(ctx context.Context, backend int) error {
	patch, err := json.Marshal(map[string]any{"endpoints": b.endpoints(backend)})
	if err != nil {
		return err
	}
	_, err = b.Client.DiscoveryV1().EndpointSlices(inlab.Namespace).Patch(ctx, changing, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("change the endpoint of %s: %w", changing, err)
	}
	return nil
}
