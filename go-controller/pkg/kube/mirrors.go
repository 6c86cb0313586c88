package kube

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
)

// NewPodMirror mirrors Pods.
func NewPodMirror() *Mirror[*Pod] {
	m := newMirror[*Pod]("pods", &corev1.Pod{})
	m.trim = func(obj any) any {
		if pod, ok := obj.(*corev1.Pod); ok {
			return trimPod(pod)
		}
		return obj
	}
	m.convert = func(obj any) (*Pod, bool) {
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return nil, false
		}
		return NewPod(pod), true
	}
	return m
}

// NewNodeMirror mirrors Nodes.
func NewNodeMirror() *Mirror[*Node] {
	m := newMirror[*Node]("nodes", &corev1.Node{})
	m.trim = func(obj any) any {
		if node, ok := obj.(*corev1.Node); ok {
			return trimNode(node)
		}
		return obj
	}
	m.convert = func(obj any) (*Node, bool) {
		node, ok := obj.(*corev1.Node)
		if !ok {
			return nil, false
		}
		return NewNode(node), true
	}
	return m
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
