package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1client "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// NewPodMirror mirrors Pods.
func NewPodMirror() *Mirror[*Pod] {
	return mirrorOf("pods", &corev1.Pod{}, trimPod, NewPod)
}

// NewNodeMirror mirrors Nodes.
func NewNodeMirror() *Mirror[*Node] {
	return mirrorOf("nodes", &corev1.Node{}, trimNode, NewNode)
}

// NewServiceMirror mirrors Services.
func NewServiceMirror() *Mirror[*Service] {
	return mirrorOf("services", &corev1.Service{}, trimService, NewService)
}

// NewEndpointSliceMirror mirrors EndpointSlices.
func NewEndpointSliceMirror() *Mirror[*EndpointSlice] {
	return mirrorOf("endpointslices", &discoveryv1.EndpointSlice{}, trimEndpointSlice, NewEndpointSlice)
}

// livePods selects pods that have a node and have not finished: one that finishes looks like a deleted one.
const livePods = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"

// LivePods lists and watches scheduled pods that have not finished, in all namespaces.
func LivePods(client corev1client.CoreV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "pods", metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.FieldSelector = livePods })
}

// Nodes lists and watches all nodes.
func Nodes(client corev1client.CoreV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "nodes", metav1.NamespaceAll,
		func(*metav1.ListOptions) {})
}

// proxied selects services that are this product's to serve, and their slices: not those that name another proxy, nor those that are
// marked as headless. A label that is added looks like a deletion.
const proxied = "!" + labelServiceProxyName + ",!" + corev1.IsHeadlessService

// labelServiceProxyName on a service names the one program that serves it in place of the cluster's proxy.
const labelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// Services lists and watches services in all namespaces, without those of other proxies and those labelled as headless.
func Services(client corev1client.CoreV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "services", metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.LabelSelector = proxied })
}

// EndpointSlices lists and watches slices in all namespaces, without those of services that Services leaves out by label.
func EndpointSlices(client discoveryv1client.DiscoveryV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "endpointslices", metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.LabelSelector = proxied })
}
