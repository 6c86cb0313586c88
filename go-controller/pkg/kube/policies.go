package kube

import (
	"maps"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	networkingv1client "k8s.io/client-go/kubernetes/typed/networking/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Namespace is what is kept of a Kubernetes Namespace. It is never changed after it was made.
type Namespace struct {
	Name   string
	UID    types.UID
	Labels map[string]string
	// ACLLogging is the value of the acl-logging annotation, empty when there is none.
	ACLLogging string
}

// Key is the namespace's name.
func (n *Namespace) Key() string { return n.Name }

// Ref refers to this namespace.
func (n *Namespace) Ref() Ref { return Ref{Kind: "Namespace", Name: n.Name, UID: n.UID} }

// Equal tells whether nothing that is kept differs.
func (n *Namespace) Equal(m *Namespace) bool {
	return n.Name == m.Name && n.UID == m.UID && n.ACLLogging == m.ACLLogging && maps.Equal(n.Labels, m.Labels)
}

// NewNamespace trims a namespace.
func NewNamespace(in *corev1.Namespace) *Namespace {
	return &Namespace{Name: in.Name, UID: in.UID, Labels: in.Labels, ACLLogging: in.Annotations[names.ACLLoggingAnnotation]}
}

// trimNamespace drops what NewNamespace does not read.
func trimNamespace(in *corev1.Namespace) *corev1.Namespace {
	out := &corev1.Namespace{ObjectMeta: trimMeta(&in.ObjectMeta, names.ACLLoggingAnnotation)}
	out.Labels = in.Labels
	return out
}

// NetworkPolicy is what is kept of a Kubernetes NetworkPolicy. It is never changed after it was made.
type NetworkPolicy struct {
	Namespace string
	Name      string
	UID       types.UID
	Spec      networkingv1.NetworkPolicySpec
}

const kindNetworkPolicy = "NetworkPolicy"

// Key is "namespace/name".
func (p *NetworkPolicy) Key() string { return names.ObjectName(p.Namespace, p.Name) }

// Ref refers to this policy.
func (p *NetworkPolicy) Ref() Ref {
	return Ref{Kind: kindNetworkPolicy, Namespace: p.Namespace, Name: p.Name, UID: p.UID}
}

// Equal tells whether nothing that is kept differs.
func (p *NetworkPolicy) Equal(q *NetworkPolicy) bool {
	return p.Namespace == q.Namespace && p.Name == q.Name && p.UID == q.UID && reflect.DeepEqual(p.Spec, q.Spec)
}

// NewNetworkPolicy trims a policy.
func NewNetworkPolicy(in *networkingv1.NetworkPolicy) *NetworkPolicy {
	return &NetworkPolicy{Namespace: in.Namespace, Name: in.Name, UID: in.UID, Spec: in.Spec}
}

// trimNetworkPolicy drops what NewNetworkPolicy does not read.
func trimNetworkPolicy(in *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: trimMeta(&in.ObjectMeta), Spec: in.Spec}
}

// NewNamespaceMirror mirrors Namespaces.
func NewNamespaceMirror() *Mirror[*Namespace] {
	return mirrorOf("namespaces", &corev1.Namespace{}, trimNamespace, NewNamespace)
}

// NewNetworkPolicyMirror mirrors NetworkPolicies.
func NewNetworkPolicyMirror() *Mirror[*NetworkPolicy] {
	return mirrorOf("networkpolicies", &networkingv1.NetworkPolicy{}, trimNetworkPolicy, NewNetworkPolicy)
}

// Namespaces lists and watches all namespaces.
func Namespaces(client corev1client.CoreV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "namespaces", metav1.NamespaceAll,
		func(*metav1.ListOptions) {})
}

// NetworkPolicies lists and watches policies in all namespaces.
func NetworkPolicies(client networkingv1client.NetworkingV1Interface) cache.ListerWatcher {
	return cache.NewFilteredListWatchFromClient(client.RESTClient(), "networkpolicies", metav1.NamespaceAll,
		func(*metav1.ListOptions) {})
}
