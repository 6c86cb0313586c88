package load

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// PolicyLoad is pods and policies in namespaces of their own.
type PolicyLoad struct {
	Namespaces, Pods, Policies int
	// Wide makes every policy select all pods of its namespace, each by a selector of its own, not those of one application.
	Wide bool
	// Named adds a port by name to each rule for ingress.
	Named bool
}

// applications is how many kinds of pods there are in a namespace.
const applications = 10

// PolicyNamespace is the name of the i-th namespace.
func PolicyNamespace(i int) string { return fmt.Sprintf("policies-%03d", i) }

// PolicyKey is "namespace/name" of the i-th policy.
func (l PolicyLoad) PolicyKey(i int) string {
	return PolicyNamespace(i%l.Namespaces) + "/" + policyName(i)
}

func policyName(i int) string { return fmt.Sprintf("policy-%05d", i) }

// PodName is the name of the i-th pod.
func (l PolicyLoad) PodName(i int) string { return fmt.Sprintf("web-6f7d9c4b5-%05d", i) }

func application(i int) string { return fmt.Sprint("app-", i%applications) }

func (l PolicyLoad) pod(i, nodes int) *corev1.Pod {
	p := Pod(i, nodes)
	p.Namespace, p.Name = PolicyNamespace(i%l.Namespaces), l.PodName(i)
	p.Labels["app"] = application(i / l.Namespaces)
	return p
}

// policy isolates the pods of an application in both directions, as generated policies of microservices do: from another application
// of the namespace and from a namespace; to another application, and to an address outside.
func (l PolicyLoad) policy(i int) *networkingv1.NetworkPolicy {
	k := i / l.Namespaces // Of the namespace.
	tcp, number, name := corev1.ProtocolTCP, intstr.FromInt32(int32(8000+k%50)), intstr.FromString("http")
	app := func(n int) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"app": application(n)}}
	}
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: PolicyNamespace(i % l.Namespaces), Name: policyName(i)}}
	p.Spec.PodSelector = *app(k)
	if l.Wide {
		p.Spec.PodSelector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{fmt.Sprint("other-", i)}},
		}}
	}
	p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &number}},
		From: []networkingv1.NetworkPolicyPeer{{PodSelector: app(k + 1)}, {NamespaceSelector: &metav1.LabelSelector{
			MatchLabels: map[string]string{corev1.LabelMetadataName: PolicyNamespace((i + 1) % l.Namespaces)},
		}}},
	}}
	if l.Named {
		p.Spec.Ingress[0].Ports = append(p.Spec.Ingress[0].Ports, networkingv1.NetworkPolicyPort{Protocol: &tcp, Port: &name})
	}
	p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{
		Ports: []networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &number}},
		To:    []networkingv1.NetworkPolicyPeer{{PodSelector: app(k + 2)}, {IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("192.0.2.%d/32", k%256)}}},
	}}
	return p
}

// CreatePolicyNamespaces creates the namespaces of l.
func (g *Generator) CreatePolicyNamespaces(ctx context.Context, l PolicyLoad) error {
	_, err := g.parallel(ctx, l.Namespaces, func(ctx context.Context, client kubernetes.Interface, i int) error {
		name := PolicyNamespace(i)
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		_, err = client.CoreV1().ServiceAccounts(name).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
	return err
}

// CreatePolicyPods creates pods first … first+n-1 of l, spread over nodes.
func (g *Generator) CreatePolicyPods(ctx context.Context, l PolicyLoad, first, n, nodes int) (Span, error) {
	return g.parallel(ctx, n, func(ctx context.Context, client kubernetes.Interface, i int) error {
		p := l.pod(first+i, nodes)
		_, err := client.CoreV1().Pods(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		return err
	})
}

// CreatePolicies creates policies first … first+n-1 of l.
func (g *Generator) CreatePolicies(ctx context.Context, l PolicyLoad, first, n int) (Span, error) {
	return g.parallel(ctx, n, func(ctx context.Context, client kubernetes.Interface, i int) error {
		p := l.policy(first + i)
		_, err := client.NetworkingV1().NetworkPolicies(p.Namespace).Create(ctx, p, metav1.CreateOptions{})
		return err
	})
}

// DeletePolicies deletes all policies of l.
func (g *Generator) DeletePolicies(ctx context.Context, l PolicyLoad) (Span, error) {
	return g.parallel(ctx, l.Namespaces, func(ctx context.Context, client kubernetes.Interface, i int) error {
		return client.NetworkingV1().NetworkPolicies(PolicyNamespace(i)).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	})
}
