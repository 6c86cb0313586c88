// Package preflight looks at a cluster before the network is installed: whether it can work there, and what would be in its way. It reads the API alone, and
// changes nothing.
package preflight

import (
	"context"
	"fmt"
	"net/netip"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
)

// Options are the cluster, and how the network would be installed.
type Options struct {
	Client kubernetes.Interface
	// Pods, Services and Join are the networks that pods, services and gateway routers would have. Without Services those of the cluster are taken.
	Pods, Services, Join []netip.Prefix
	// MTU is what pods would have, in bytes.
	MTU int
}

// cluster is what was read.
type cluster struct {
	Options
	version    *version.Info
	nodes      []corev1.Node
	daemonSets []appsv1.DaemonSet
	// services are the cluster's own service networks, or the addresses of its first service where it does not tell.
	services []netip.Prefix
	// refused are the rights that whoever asks does not have.
	refused []string
	// unread is what could not be read, and why.
	unread map[string]error
}

// Run looks. The error is for a cluster that cannot be looked at.
func Run(ctx context.Context, o Options) (*check.Report, error) {
	c := &cluster{Options: o, unread: map[string]error{}}
	var err error
	if c.version, err = o.Client.Discovery().ServerVersion(); err != nil {
		return nil, fmt.Errorf("version of the API server: %w", err)
	}
	nodes, err := o.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	c.nodes = nodes.Items
	if sets, err := o.Client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{}); err != nil {
		c.unread["daemonsets"] = err
	} else {
		c.daemonSets = sets.Items
	}
	c.services = serviceNetworks(ctx, o.Client)
	if len(c.Services) == 0 {
		c.Services = c.services
	}
	if c.refused, err = refused(ctx, o.Client); err != nil {
		c.unread["rights"] = err
	}
	r := &check.Report{Name: "ovnkube.preflight"}
	for _, look := range []func(*cluster) []check.Finding{kubernetesVersion, rights, kernels, modules, readiness, proxies, others, networks, families, mtu} {
		r.Add(look(c)...)
	}
	return r, nil
}

// serviceNetworks are those of ServiceCIDR objects, which Kubernetes has since 1.33; before, the address of the API server's own service is a hint.
func serviceNetworks(ctx context.Context, client kubernetes.Interface) []netip.Prefix {
	var out []netip.Prefix
	if list, err := client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{}); err == nil {
		for _, s := range list.Items {
			for _, text := range s.Spec.CIDRs {
				if p, err := netip.ParsePrefix(text); err == nil {
					out = append(out, p)
				}
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	s, err := client.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return nil
	}
	for _, text := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}

// needed are the rights of who installs the network, and runs kubectl ovn.
func needed(namespace string) []authorizationv1.ResourceAttributes {
	const rbac, apps, admission, networking = "rbac.authorization.k8s.io", "apps", "admissionregistration.k8s.io", "networking.k8s.io"
	return []authorizationv1.ResourceAttributes{
		{Verb: "create", Resource: "namespaces"},
		{Verb: "create", Group: rbac, Resource: "clusterroles"},
		{Verb: "create", Group: rbac, Resource: "clusterrolebindings"},
		{Verb: "create", Group: admission, Resource: "validatingadmissionpolicies"},
		{Verb: "create", Group: apps, Resource: "daemonsets", Namespace: namespace},
		{Verb: "create", Group: apps, Resource: "deployments", Namespace: namespace},
		{Verb: "create", Resource: "secrets", Namespace: namespace},
		{Verb: "create", Resource: "pods", Subresource: "exec", Namespace: namespace},
		{Verb: "list", Resource: "pods"},
		{Verb: "list", Group: networking, Resource: "networkpolicies"},
	}
}

// refused asks the API server for each right.
func refused(ctx context.Context, client kubernetes.Interface) ([]string, error) {
	var out []string
	for _, a := range needed(installed) {
		review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}, metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("ask for the right to %s %s: %w", a.Verb, a.Resource, err)
		}
		if review.Status.Allowed {
			continue
		}
		what := a.Verb + " " + a.Resource
		if a.Subresource != "" {
			what += "/" + a.Subresource
		}
		out = append(out, what)
	}
	return out, nil
}
