package policybench

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

const (
	serverName = "server"
	denyName   = "deny"
	// emptyNodes are how many nodes the other pods are spread over, namespaces how many they are in.
	emptyNodes, namespaces = 4, 20
)

// createDeny creates a policy by which nobody reaches the server.
func (b *bench) createDeny(ctx context.Context) error {
	p := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: inlab.Namespace, Name: denyName},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": serverName}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		},
	}
	if _, err := b.Client.NetworkingV1().NetworkPolicies(inlab.Namespace).Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create policy %s: %w", denyName, err)
	}
	return nil
}

func (b *bench) deleteDeny(ctx context.Context) error {
	if err := b.Client.NetworkingV1().NetworkPolicies(inlab.Namespace).Delete(ctx, denyName, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete policy %s: %w", denyName, err)
	}
	return nil
}

// emptyNode is the i-th node on which nothing runs. Its address is outside the lab's network of nodes.
func emptyNode(i int) *corev1.Node {
	node := load.Node(i)
	address := netip.AddrFrom4([4]byte{172, 19, 0, byte(i + 1)}) //nolint:gosec // a few nodes
	node.Annotations[names.HostCIDRsAnnotation] = annotations.FormatHostCIDRs([]netip.Prefix{netip.PrefixFrom(address, 24)})
	for j := range node.Status.Addresses {
		if a := &node.Status.Addresses[j]; a.Type == corev1.NodeInternalIP {
			a.Address = address.String()
		}
	}
	return node
}

// fill creates the other pods and policies, and waits until they are in the northbound database and the nodes have followed.
func (b *bench) fill(ctx context.Context) error {
	config, err := b.Lab.RESTConfig()
	if err != nil {
		return err
	}
	generator, err := load.NewGenerator(config)
	if err != nil {
		return err
	}
	for i := range emptyNodes {
		if _, err := b.Client.CoreV1().Nodes().Create(ctx, emptyNode(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create a node for pods: %w", err)
		}
	}
	pods, err := load.WatchPods(ctx, config)
	if err != nil {
		return err
	}
	defer pods.Stop()
	l := load.PolicyLoad{Namespaces: namespaces, Pods: b.Pods, Policies: b.Policies}
	if err := generator.CreatePolicyNamespaces(ctx, l); err != nil {
		return err
	}
	if _, err := generator.CreatePolicies(ctx, l, 0, l.Policies); err != nil {
		return err
	}
	span, err := generator.CreatePolicyPods(ctx, l, 0, l.Pods, emptyNodes)
	if err != nil {
		return err
	}
	end, err := pods.Wait(ctx, l.Pods)
	if err != nil {
		return err
	}
	if err := b.followed(ctx); err != nil {
		return err
	}
	b.Result.Add(fmt.Sprintf("%d pods created at once → in the northbound database", l.Pods), end.Sub(span.Start).Seconds(), report.Seconds)
	b.Result.Add("the last of them → followed by all nodes", time.Since(end).Seconds(), report.Seconds)
	return nil
}

// followed waits until all nodes that exist have followed what is in the northbound database.
func (b *bench) followed(ctx context.Context) error {
	if _, err := b.Lab.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--timeout=120", "--wait=hv", "sync"); err != nil {
		return fmt.Errorf("wait until the nodes have followed: %w", err)
	}
	return nil
}
