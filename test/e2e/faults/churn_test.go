//go:build e2e

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Sizes of what churns.
const (
	churnPods     = 12
	churnServices = 6
	groups        = 4
	churnPace     = 150 * time.Millisecond
	// callLimit is how long a call may hang on an API server that was killed.
	callLimit = 5 * time.Second
)

// churn makes and deletes pods, services and policies until ctx ends. Each pod has a group; services select groups, policies isolate one.
type churn struct {
	*harness
	random *rand.Rand
	// exists says of each name that was tried whether the object is thought to be there.
	exists map[string]bool
	// done counts calls that the API server has carried out, refused those that it has not.
	done, refused int
}

func newChurn(h *harness, random *rand.Rand) *churn {
	return &churn{harness: h, random: random, exists: map[string]bool{}}
}

func (c *churn) run(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() {
		for ctx.Err() == nil {
			c.step(c.ctx, c.pick())
			select {
			case <-ctx.Done():
			case <-time.After(churnPace):
			}
		}
	})
}

// step turns something that exists into something that does not, or the other way round.
func (c *churn) step(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	make, remove := c.calls(name)
	call := make
	if c.exists[name] {
		call = remove
	}
	err := call(ctx)
	switch {
	case err == nil, apierrors.IsNotFound(err) && c.exists[name], apierrors.IsAlreadyExists(err) && !c.exists[name]:
		c.exists[name] = !c.exists[name]
		c.done++
	default: // whether it was carried out shows at the next try; if there is none, clear must know of the object
		if !c.exists[name] {
			c.exists[name] = false
		}
		c.refused++
	}
}

func (c *churn) pick() string {
	switch n := c.random.IntN(10); {
	case n < 6:
		return fmt.Sprintf("pod-%d", c.random.IntN(churnPods))
	case n < 8:
		return fmt.Sprintf("service-%d", c.random.IntN(churnServices))
	}
	return fmt.Sprintf("policy-%d", isolated(c.random.IntN(groups/2)))
}

// isolated are the groups in the upper half: services select the others, so that both can be judged by themselves.
func isolated(i int) int { return groups/2 + i }

type call = func(context.Context) error

// calls are how an object is made and removed.
func (c *churn) calls(name string) (make, remove call) {
	var kind string
	var n int
	if _, err := fmt.Sscanf(name, "pod-%d", &n); err == nil {
		kind = "pod"
	} else if _, err := fmt.Sscanf(name, "service-%d", &n); err == nil {
		kind = "service"
	} else if _, err := fmt.Sscanf(name, "policy-%d", &n); err != nil {
		panic("no such object: " + name)
	}
	core := c.client.CoreV1()
	switch kind {
	case "pod":
		pod := newPod(name, c.Nodes()[n%2], map[string]string{"group": fmt.Sprint(n / 2 % groups)})
		return func(ctx context.Context) error {
				_, err := core.Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
				return err
			}, func(ctx context.Context) error {
				return core.Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{})
			}
	case "service":
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"group": fmt.Sprint(n % (groups / 2))},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(echoPort)}},
		}}
		if n%3 == 0 {
			service.Spec.Type = corev1.ServiceTypeNodePort
		}
		return func(ctx context.Context) error {
				_, err := core.Services(namespace).Create(ctx, service, metav1.CreateOptions{})
				return err
			}, func(ctx context.Context) error {
				return core.Services(namespace).Delete(ctx, name, metav1.DeleteOptions{})
			}
	}
	policies := c.client.NetworkingV1().NetworkPolicies(namespace)
	policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"group": fmt.Sprint(n)}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}
	return func(ctx context.Context) error {
		_, err := policies.Create(ctx, policy, metav1.CreateOptions{})
		return err
	}, func(ctx context.Context) error { return policies.Delete(ctx, name, metav1.DeleteOptions{}) }
}
