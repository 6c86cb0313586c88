// Package connectivity checks that a cluster's network does what it is there for: small pods in a namespace of their own reach each other, nodes, services,
// names and what is outside, and a network policy keeps them from it.
package connectivity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// DefaultImage is the test program of Kubernetes' own end-to-end tests.
const DefaultImage = "registry.k8s.io/e2e-test-images/agnhost:2.53"

// DefaultPatience is how long each connection may take to come to what it should.
const DefaultPatience = 20 * time.Second

// cleaning is how long the removal of what was made may take.
const cleaning = 90 * time.Second

// Options are what is checked, and how.
type Options struct {
	Client kubernetes.Interface
	// Exec runs a command in a container and returns its standard output; a command that fails is an *access.ExitError with what it said.
	Exec func(ctx context.Context, in access.Container, argv ...string) (string, error)
	// Image has agnhost (https://pkg.go.dev/k8s.io/kubernetes/test/images/agnhost) at /agnhost and as its entry point.
	Image string
	// Nodes is on how many nodes pods are made; zero means on all that are Ready.
	Nodes int
	// Outside are ADDRESS:PORT, or NAME:PORT, of servers for TCP that are not in the cluster.
	Outside []string
	// Patience is how long each connection may take to come to what it should.
	Patience time.Duration
	// Keep leaves what was made, to look at it.
	Keep bool
	// Progress tells people what is being done.
	Progress func(line string)
}

// runner is a check that runs.
type runner struct {
	Options
	namespace string
	nodes     []corev1.Node
	// clients and servers are by the number of their node; they are set once they run.
	clients, servers []corev1.Pod
	service          *corev1.Service
	report           *check.Report
}

// Run checks. The error is for what has kept it from checking at all; what it has made it removes in any case, even when ctx has ended.
func Run(ctx context.Context, o Options) (*check.Report, error) {
	r := &runner{Options: o, namespace: "ovnkube-check-" + rand.String(5), report: &check.Report{Name: "ovnkube.connectivity"}}
	if err := r.chooseNodes(ctx); err != nil {
		return nil, err
	}
	r.Progress(fmt.Sprintf("namespace %s, pods on %d nodes", r.namespace, len(r.nodes)))
	err := r.within(ctx)
	if r.Keep {
		r.Progress("namespace " + r.namespace + " is left: kubectl delete namespace " + r.namespace)
		return r.report, err
	}
	if cleanErr := r.clean(context.WithoutCancel(ctx)); cleanErr != nil {
		r.report.Add(check.Finding{Check: "clean-up", State: check.Warn, Detail: cleanErr.Error(), Next: "kubectl delete namespace -l " + names.CheckLabel})
	}
	return r.report, err
}

// chooseNodes takes nodes whose pods can be expected to work, and notes those that cannot.
func (r *runner) chooseNodes(ctx context.Context) error {
	list, err := r.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range list.Items {
		switch {
		case n.Labels[corev1.LabelOSStable] != "" && n.Labels[corev1.LabelOSStable] != "linux":
		case !ready(n.Status.Conditions):
			r.report.Add(check.Finding{Check: "node " + n.Name, State: check.Warn, Detail: "is not Ready, and left out", Next: "kubectl describe node " + n.Name})
		case r.Nodes == 0 || len(r.nodes) < r.Nodes:
			r.nodes = append(r.nodes, n)
		}
	}
	if len(r.nodes) == 0 {
		return errors.New("no node is Ready: kubectl get nodes, kubectl ovn status")
	}
	return nil
}

func ready(conditions []corev1.NodeCondition) bool {
	return slices.ContainsFunc(conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// within does all that is between making the namespace and removing it.
func (r *runner) within(ctx context.Context) error {
	if _, err := r.Client.CoreV1().Namespaces().Create(ctx, newNamespace(r.namespace), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create namespace %s: %w", r.namespace, err)
	}
	var err error
	if r.service, err = r.Client.CoreV1().Services(r.namespace).Create(ctx, newService(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a service: %w", err)
	}
	for i := range r.nodes {
		for _, role := range []string{client, server} {
			if err := r.createPod(ctx, newPod(role, i, r.nodes[i].Name, r.Image)); err != nil {
				return err
			}
		}
	}
	begun := time.Now()
	if err := r.awaitPods(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return err
		}
		r.add(r.notReady(context.WithoutCancel(ctx), err))
		return nil
	}
	r.add(check.Finding{Check: "pods run, and nodes reach them", State: check.OK, Detail: fmt.Sprintf("%d pods on %d nodes", 2*len(r.nodes), len(r.nodes)), Took: time.Since(begun)})
	r.all(ctx, r.open(ctx))
	if _, err := r.Client.NetworkingV1().NetworkPolicies(r.namespace).Create(ctx, newPolicy(), metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create a network policy: %w", err)
	}
	r.all(ctx, r.policies())
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return nil
}

// createPod waits for the namespace's service account, without which pods are refused.
func (r *runner) createPod(ctx context.Context, p *corev1.Pod) error {
	made := func(ctx context.Context) (bool, error) {
		_, err := r.Client.CoreV1().Pods(r.namespace).Create(ctx, p, metav1.CreateOptions{})
		if apierrors.IsForbidden(err) && ctx.Err() == nil && !r.hasAccount(ctx) {
			return false, nil
		}
		return true, err
	}
	if err := r.await(ctx, r.Client.CoreV1().ServiceAccounts(r.namespace).Watch, metav1.ListOptions{}, made); err != nil {
		return fmt.Errorf("create pod %s/%s: %w", r.namespace, p.Name, err)
	}
	return nil
}

func (r *runner) hasAccount(ctx context.Context) bool {
	_, err := r.Client.CoreV1().ServiceAccounts(r.namespace).Get(ctx, "default", metav1.GetOptions{})
	return err == nil
}

// add notes a finding, and tells of it.
func (r *runner) add(f check.Finding) {
	r.report.Add(f)
	r.Progress(fmt.Sprintf("%-4s %s: %s", f.State, f.Check, f.Detail))
}

// clean removes the namespace and waits until it is gone.
func (r *runner) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleaning)
	defer cancel()
	r.Progress("removing namespace " + r.namespace)
	// The controller of namespaces begins late; what takes time are the pods.
	_ = r.Client.CoreV1().Pods(r.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	err := r.Client.CoreV1().Namespaces().Delete(ctx, r.namespace, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("namespace %s is left: %w", r.namespace, err)
	}
	gone := func(ctx context.Context) (bool, error) {
		_, err := r.Client.CoreV1().Namespaces().Get(ctx, r.namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	}
	if err := r.await(ctx, r.Client.CoreV1().Namespaces().Watch, metav1.ListOptions{LabelSelector: names.CheckLabel}, gone); err != nil {
		return fmt.Errorf("namespace %s does not go away: %w", r.namespace, err)
	}
	return nil
}
