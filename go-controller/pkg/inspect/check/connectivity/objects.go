package connectivity

import (
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// Ports of the servers: agnhost netexec.
const (
	tcpPort = 8080
	udpPort = 8081
	// frontPort is that of the service.
	frontPort = 80
)

// Labels of the pods: their role, and the number of their node among those that are checked.
const (
	roleLabel  = "role"
	placeLabel = "place"
	client     = "client"
	server     = "server"
	container  = "main"
	webService = "web"
)

func podName(role string, place int) string { return role + "-" + strconv.Itoa(place) }

func newNamespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		names.CheckLabel: "connectivity", "pod-security.kubernetes.io/enforce": "restricted",
	}}}
}

// newPod describes a pod on a node, past the scheduler: whatever keeps pods away from the node, its network should work. It may do no more than the
// strictest standard for pods allows.
func newPod(role string, place int, node, image string) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: podName(role, place), Labels: map[string]string{roleLabel: role, placeLabel: strconv.Itoa(place)}},
		Spec: corev1.PodSpec{
			NodeName: node, AutomountServiceAccountToken: ptr.To(false), EnableServiceLinks: ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To[int64](1), Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](65532), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: container, Image: image, ImagePullPolicy: corev1.PullIfNotPresent, Args: []string{"pause"},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
	if role == server {
		c := &p.Spec.Containers[0]
		c.Args = []string{"netexec", fmt.Sprintf("--http-port=%d", tcpPort), fmt.Sprintf("--udp-port=%d", udpPort)}
		// The kubelet asks over the network: a server is ready when its node reaches it.
		c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(tcpPort)}}}
	}
	return p
}

func newService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: webService},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicyPreferDualStack), Selector: map[string]string{roleLabel: server},
			Ports: []corev1.ServicePort{
				{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: frontPort, TargetPort: intstr.FromInt32(tcpPort)},
				{Name: "udp", Protocol: corev1.ProtocolUDP, Port: frontPort, TargetPort: intstr.FromInt32(udpPort)},
			},
		},
	}
}

// newPolicy lets only the first client reach the first server, by TCP.
func newPolicy() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "first-client-only"},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{roleLabel: server, placeLabel: "0"}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{roleLabel: client, placeLabel: "0"}}}},
				Ports: []networkingv1.NetworkPolicyPort{{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(tcpPort))}},
			}},
		},
	}
}
