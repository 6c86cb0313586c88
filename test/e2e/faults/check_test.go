//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// objects are what Kubernetes has of the tests' objects.
type objects struct {
	pods     []*corev1.Pod
	services []corev1.Service
	// isolated are the groups that a policy isolates.
	isolated map[string]bool
}

// read lists the objects, when all pods are ready.
func (h *harness) read(ctx context.Context) (objects, error) {
	c := objects{isolated: map[string]bool{}}
	pods, err := h.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c, err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.DeletionTimestamp != nil || !isReady(p) {
			return c, fmt.Errorf("pod %s on %s is %s, being deleted: %v, ready: %v", p.Name, p.Spec.NodeName, p.Status.Phase, p.DeletionTimestamp != nil, isReady(p))
		}
		c.pods = append(c.pods, p)
	}
	services, err := h.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c, err
	}
	c.services = services.Items
	policies, err := h.client.NetworkingV1().NetworkPolicies(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return c, err
	}
	for _, p := range policies.Items {
		c.isolated[p.Spec.PodSelector.MatchLabels["group"]] = true
	}
	return c, nil
}

// consistent compares Kubernetes' objects, the northbound rows and what packets find.
func (h *harness) consistent(ctx context.Context) error {
	c, err := h.read(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(h.portsOf(ctx, c), h.balancersOf(ctx, c)); err != nil {
		return err
	}
	return h.reachable(ctx, c)
}

// portsOf wants each pod to have one logical port, with its addresses, and no other to be there.
func (h *harness) portsOf(ctx context.Context, c objects) error {
	out, err := h.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--bare", "--format=csv", "--no-headings", "--columns=name,addresses", "list", "Logical_Switch_Port")
	if err != nil {
		return err
	}
	rows := map[string]string{}
	for line := range strings.Lines(out) {
		name, addresses, _ := strings.Cut(strings.TrimSpace(line), ",")
		if pod, ours := strings.CutPrefix(name, namespace+"_"); ours {
			if _, twice := rows[pod]; twice {
				return fmt.Errorf("two logical ports of pod %s", pod)
			}
			rows[pod] = addresses
		}
	}
	for _, p := range c.pods {
		for _, a := range places.PodAddresses(p) {
			if !slices.Contains(strings.FieldsFunc(rows[p.Name], func(r rune) bool { return r == ' ' || r == '"' }), a.String()) {
				return fmt.Errorf("logical port of pod %s has %q, not %s", p.Name, rows[p.Name], a)
			}
		}
		delete(rows, p.Name)
	}
	if len(rows) > 0 {
		return fmt.Errorf("logical ports of pods that are gone: %v", rows)
	}
	return nil
}

// balancersOf wants each service's address to be a virtual one, and none to be there that no service has.
func (h *harness) balancersOf(ctx context.Context, c objects) error {
	out, err := h.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--bare", "--columns=name", "list", "Load_Balancer")
	if err != nil {
		return err
	}
	vips, err := h.Exec(ctx, plan.ControlPlane, "ovn-nbctl", "--bare", "--columns=vips", "list", "Load_Balancer")
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range c.services {
		for _, ip := range s.Spec.ClusterIPs {
			a, err := netip.ParseAddr(ip)
			if err != nil {
				return err
			}
			if want := netip.AddrPortFrom(a, 80).String() + "="; !strings.Contains(vips, want) {
				errs = append(errs, fmt.Errorf("no load balancer has %s of service %s", want, s.Name))
			}
		}
	}
	for _, name := range strings.Fields(out) {
		of, ours := strings.CutPrefix(name, "Service_"+namespace+"/")
		if ours && !slices.ContainsFunc(c.services, func(s corev1.Service) bool { return strings.HasPrefix(of, s.Name+"_") }) {
			errs = append(errs, fmt.Errorf("load balancer %s of a service that is gone", name))
		}
	}
	return errors.Join(errs...)
}

// reachable lets all pods ping all others: those that a policy isolates must not answer. Services with pods must answer.
func (h *harness) reachable(ctx context.Context, c objects) error {
	ends, err := places.Pods(h.Lab, c.pods...)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, from := range ends {
		for j, to := range ends {
			if i == j {
				continue
			}
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				want := !c.isolated[c.pods[j].Labels["group"]]
				if err := h.ping(ctx, from, to.Address(h.is4())); (err == nil) != want {
					mu.Lock()
					defer mu.Unlock()
					errs = append(errs, fmt.Errorf("%s (%s) reaches %s (%s): %v, want %v", from, c.pods[i].Spec.NodeName, to, c.pods[j].Spec.NodeName, err == nil, want))
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(append(errs, h.servicesAnswer(ctx, c, ends))...)
}

func (h *harness) servicesAnswer(ctx context.Context, c objects, ends []traffic.Place) error {
	for i, p := range ends {
		if c.pods[i].Labels["group"] == "" {
			continue
		}
		echo, err := traffic.ServeEcho(p, netip.AddrPortFrom(p.Address(h.is4()), echoPort))
		if err != nil {
			return err
		}
		defer echo.Close()
	}
	var errs []error
	for _, s := range c.services {
		if s.Name == "ends" || !slices.ContainsFunc(c.pods, func(p *corev1.Pod) bool { return p.Labels["group"] == s.Spec.Selector["group"] }) {
			continue
		}
		a, err := netip.ParseAddr(s.Spec.ClusterIP)
		if err != nil {
			return err
		}
		// As often as there are pods: each of them is asked with some luck, and none must fail.
		for range len(c.pods) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			err := traffic.EchoOnce(ctx, h.ends[0], "tcp", netip.AddrPortFrom(a, 80), 64)
			cancel()
			if err != nil {
				errs = append(errs, fmt.Errorf("service %s: %w", s.Name, err))
				break
			}
		}
	}
	return errors.Join(errs...)
}
