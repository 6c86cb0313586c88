package load

import (
	"fmt"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// namespaces is how many namespaces the pods are spread over.
const namespaces = 20

// firstNode is the address before the first node's.
var firstNode = netip.MustParseAddr("172.18.0.9")

// NodeName is the name of the i-th node.
func NodeName(i int) string { return fmt.Sprintf("worker-%04d", i) }

// Namespace is the name of the i-th namespace.
func Namespace(i int) string { return fmt.Sprintf("load-%02d", i) }

// Node returns the i-th node as a kubelet and a node agent would have published it.
func Node(i int) *corev1.Node {
	address := firstNode
	for range i + 1 {
		address = address.Next()
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:   NodeName(i),
			Labels: map[string]string{corev1.LabelHostname: NodeName(i), corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
			Annotations: map[string]string{
				names.NodeChassisIDAnnotation: fmt.Sprintf("5ca1ab1e-0000-4000-8000-%012d", i),
				names.HostCIDRsAnnotation:     annotations.FormatHostCIDRs([]netip.Prefix{netip.PrefixFrom(address, 16)}),
			},
		},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: address.String()},
				{Type: corev1.NodeHostName, Address: NodeName(i)},
			},
			Capacity:   corev1.ResourceList{corev1.ResourcePods: resource.MustParse("500")},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}},
		},
	}
}

// GatewayNode is Node with a way out of the cluster.
func GatewayNode(i int) *corev1.Node {
	node := Node(i)
	address := netip.MustParseAddr(node.Status.Addresses[0].Address)
	node.Annotations[names.L3GatewayConfigAnnotation] = annotations.FormatGatewayConfig(annotations.GatewayConfig{
		Mode: names.GatewayModeShared, BridgeID: "br-ex_" + node.Name, InterfaceID: "br-ex_" + node.Name, MAC: addr.MAC(address),
		Addresses: []netip.Prefix{netip.PrefixFrom(address, 16)}, NextHops: []netip.Addr{firstNode.Prev()}, NodePortEnable: true,
	})
	return node
}

// Pod returns the i-th pod, bound to one of the given number of nodes, as a Deployment's pods are.
func Pod(i, nodes int) *corev1.Pod {
	app := "app-" + strconv.Itoa(i%97)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Namespace(i % namespaces),
			Name:      fmt.Sprintf("%s-6f7d9c4b5-%05d", app, i),
			Labels:    map[string]string{"app": app, "pod-template-hash": "6f7d9c4b5", "tier": "web"},
		},
		Spec: corev1.PodSpec{
			NodeName: NodeName(i % nodes),
			Containers: []corev1.Container{{
				Name: "web", Image: "registry.example/web:1.0", Args: []string{"serve", "--port=8080"},
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
				Env:   []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")},
				},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}},
			}},
		},
	}
}
