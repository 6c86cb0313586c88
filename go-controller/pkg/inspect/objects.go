// Package inspect answers operators' questions about a running cluster from its objects and from OVN's databases. It changes nothing.
package inspect

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Objects are those of the cluster that the network depends on.
type Objects struct {
	Nodes      []corev1.Node
	Namespaces []corev1.Namespace
	Pods       []corev1.Pod
	Services   []corev1.Service
	Slices     []discoveryv1.EndpointSlice
	Policies   []networkingv1.NetworkPolicy
}

// ReadObjects lists them all.
func ReadObjects(ctx context.Context, client kubernetes.Interface) (*Objects, error) {
	var o Objects
	group, ctx := errgroup.WithContext(ctx)
	list(group, "nodes", func(lo metav1.ListOptions) error {
		l, err := client.CoreV1().Nodes().List(ctx, lo)
		o.Nodes = items(l, err, func(l *corev1.NodeList) []corev1.Node { return l.Items })
		return err
	})
	list(group, "namespaces", func(lo metav1.ListOptions) error {
		l, err := client.CoreV1().Namespaces().List(ctx, lo)
		o.Namespaces = items(l, err, func(l *corev1.NamespaceList) []corev1.Namespace { return l.Items })
		return err
	})
	list(group, "pods", func(lo metav1.ListOptions) error {
		l, err := client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, lo)
		o.Pods = items(l, err, func(l *corev1.PodList) []corev1.Pod { return l.Items })
		return err
	})
	list(group, "services", func(lo metav1.ListOptions) error {
		l, err := client.CoreV1().Services(metav1.NamespaceAll).List(ctx, lo)
		o.Services = items(l, err, func(l *corev1.ServiceList) []corev1.Service { return l.Items })
		return err
	})
	list(group, "endpointslices", func(lo metav1.ListOptions) error {
		l, err := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, lo)
		o.Slices = items(l, err, func(l *discoveryv1.EndpointSliceList) []discoveryv1.EndpointSlice { return l.Items })
		return err
	})
	list(group, "networkpolicies", func(lo metav1.ListOptions) error {
		l, err := client.NetworkingV1().NetworkPolicies(metav1.NamespaceAll).List(ctx, lo)
		o.Policies = items(l, err, func(l *networkingv1.NetworkPolicyList) []networkingv1.NetworkPolicy { return l.Items })
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return &o, nil
}

func list(group *errgroup.Group, what string, do func(metav1.ListOptions) error) {
	group.Go(func() error {
		// The API server's cache will do, and spares etcd.
		if err := do(metav1.ListOptions{ResourceVersion: "0"}); err != nil {
			return fmt.Errorf("list %s: %w", what, err)
		}
		return nil
	})
}

func items[L, T any](list L, err error, of func(L) []T) []T {
	if err != nil {
		return nil
	}
	return of(list)
}
