package kube

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Ref names one object of the API, this very incarnation of it.
type Ref struct {
	Kind      string
	Namespace string
	Name      string
	UID       types.UID
}

// String returns "Kind namespace/name".
func (r Ref) String() string { return r.Kind + " " + names.ObjectName(r.Namespace, r.Name) }

// Pod is what is kept of a Kubernetes Pod. It is never changed after it was made.
type Pod struct {
	Namespace string
	Name      string
	UID       types.UID
	Created   time.Time
	// Node is empty until the pod is scheduled.
	Node        string
	HostNetwork bool
	// Finished: all containers have ended and will not be started again.
	Finished bool
	// Network is the value of the pod-networks annotation, empty when there is none.
	Network string
	Labels  map[string]string
	// Ports are the containers' ports that have names, each name and protocol once.
	Ports []ContainerPort
}

// Key is "namespace/name".
func (p *Pod) Key() string { return names.ObjectName(p.Namespace, p.Name) }

// Ref refers to this pod.
func (p *Pod) Ref() Ref { return Ref{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID} }

// Equal tells whether nothing that is kept differs.
func (p *Pod) Equal(q *Pod) bool {
	return p.Namespace == q.Namespace && p.Name == q.Name && p.UID == q.UID && p.Created.Equal(q.Created) && p.Node == q.Node &&
		p.HostNetwork == q.HostNetwork && p.Finished == q.Finished && p.Network == q.Network &&
		maps.Equal(p.Labels, q.Labels) && slices.Equal(p.Ports, q.Ports)
}

// NewPod trims a pod.
func NewPod(in *corev1.Pod) *Pod {
	return &Pod{
		Namespace: in.Namespace, Name: in.Name, UID: in.UID, Created: in.CreationTimestamp.Time,
		Node: in.Spec.NodeName, HostNetwork: in.Spec.HostNetwork,
		Finished: in.Status.Phase == corev1.PodSucceeded || in.Status.Phase == corev1.PodFailed,
		Network:  in.Annotations[names.PodNetworksAnnotation],
		Labels:   in.Labels,
		Ports:    containerPorts(&in.Spec),
	}
}

// trimPod drops what NewPod does not read, so that a long list does not stay in memory.
func trimPod(in *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{ObjectMeta: trimMeta(&in.ObjectMeta, names.PodNetworksAnnotation)}
	out.Spec.NodeName, out.Spec.HostNetwork = in.Spec.NodeName, in.Spec.HostNetwork
	out.Spec.Containers, out.Spec.InitContainers = trimContainers(in.Spec.Containers), trimContainers(in.Spec.InitContainers)
	out.Labels = in.Labels
	out.Status.Phase = in.Status.Phase
	return out
}

// Node is what is kept of a Kubernetes Node. It is never changed after it was made.
type Node struct {
	Name    string
	UID     types.UID
	Created time.Time
	// Annotations are those of this project that are read.
	Annotations map[string]string
	// Addresses are the node's InternalIPs, in the order of the status.
	Addresses []netip.Addr
	// Zone is the node's topology zone, empty when it has none.
	Zone string
}

// nodeAnnotations are kept of a node's annotations.
var nodeAnnotations = []string{
	names.NodeSubnetsAnnotation, names.NodeIDAnnotation, names.NodeChassisIDAnnotation, names.HostCIDRsAnnotation,
	names.NodeMgmtPortMACAnnotation, names.L3GatewayConfigAnnotation, names.NodeCertifiedChassisAnnotation,
}

// Key is the node's name.
func (n *Node) Key() string { return n.Name }

// Ref refers to this node.
func (n *Node) Ref() Ref { return Ref{Kind: "Node", Name: n.Name, UID: n.UID} }

// Equal tells whether nothing that is kept differs.
func (n *Node) Equal(m *Node) bool {
	return n.Name == m.Name && n.UID == m.UID && n.Created.Equal(m.Created) &&
		maps.Equal(n.Annotations, m.Annotations) && slices.Equal(n.Addresses, m.Addresses) && n.Zone == m.Zone
}

// NewNode trims a node.
func NewNode(in *corev1.Node) *Node {
	out := &Node{Name: in.Name, UID: in.UID, Created: in.CreationTimestamp.Time}
	out.Annotations = pick(in.Annotations, nodeAnnotations)
	out.Zone = in.Labels[corev1.LabelTopologyZone]
	for _, a := range in.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(strings.TrimSpace(a.Address)); err == nil {
			out.Addresses = append(out.Addresses, ip.Unmap())
		}
	}
	return out
}

func trimNode(in *corev1.Node) *corev1.Node {
	out := &corev1.Node{ObjectMeta: trimMeta(&in.ObjectMeta, nodeAnnotations...)}
	out.Labels = pick(in.Labels, []string{corev1.LabelTopologyZone})
	out.Status.Addresses = in.Status.Addresses
	return out
}

func trimMeta(in *metav1.ObjectMeta, annotations ...string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: in.Namespace, Name: in.Name, UID: in.UID, ResourceVersion: in.ResourceVersion,
		CreationTimestamp: in.CreationTimestamp, Annotations: pick(in.Annotations, annotations),
	}
}

func pick(in map[string]string, keys []string) map[string]string {
	var out map[string]string
	for _, k := range keys {
		if v, ok := in[k]; ok {
			if out == nil {
				out = make(map[string]string, len(keys))
			}
			out[k] = v
		}
	}
	return out
}
