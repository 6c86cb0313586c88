//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy/oracle"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

const (
	// probers try that many cells of a matrix at a time, each for probeTime at first.
	probers   = 48
	probeTime = 400 * time.Millisecond
	// settleTime is how long the lab has to become what the oracle says.
	settleTime = time.Minute
)

// policyPorts are served, over TCP and UDP, by all ends of a matrix.
var policyPorts = []uint16{80, 81, 8080}

// policyEnd is a row, a column or both of a matrix.
type policyEnd struct {
	traffic.Place
	// pod is "namespace/name", node the name of a node, both empty outside.
	pod, node string
	// seenAs are the addresses that destinations see; none: it is no source.
	seenAs []netip.Addr
	// own tells that the end is a pod with a network of its own.
	own bool
}

func (p policyEnd) end(list []netip.Addr, is4 bool) oracle.End {
	return oracle.End{Pod: p.pod, Node: p.node, Address: traffic.Place{Addresses: list}.Address(is4)}
}

// policyLab is what the parts of testPolicies have in common.
type policyLab struct {
	*env
	// other is a second namespace.
	other string
	ends  []policyEnd
	// services lead to the end with that key, at one of policyPorts.
	services []policyService
	// policies are those that exist, by key.
	policies map[string]*networkingv1.NetworkPolicy
}

type policyService struct {
	*corev1.Service
	backend string
	target  uint16
}

// cell is one connection that is tried.
type cell struct {
	oracle.Flow
	from  traffic.Place
	at    netip.AddrPort
	proto string
}

// cluster is what the oracle is told: what the API server has.
func (c policyLab) cluster() *oracle.Cluster {
	out := &oracle.Cluster{Namespaces: map[string]*corev1.Namespace{}, Pods: map[string]*corev1.Pod{}, Policies: c.policies}
	for _, name := range []string{c.ns, c.other} {
		n, err := c.client.CoreV1().Namespaces().Get(c.ctx, name, metav1.GetOptions{})
		c.must(err)
		out.Namespaces[name] = n
		list, err := c.client.CoreV1().Pods(name).List(c.ctx, metav1.ListOptions{})
		c.must(err)
		for i := range list.Items {
			out.Pods[oracle.Key(name, list.Items[i].Name)] = &list.Items[i]
		}
	}
	return out
}

// cells are all connections between the ends and to the services, one of them at least being a pod with a network of its own.
func (c policyLab) cells() []cell {
	var out []cell
	for _, is4 := range c.families() {
		for _, from := range c.ends {
			if len(from.seenAs) == 0 {
				continue
			}
			for _, to := range c.ends {
				if from.Name != to.Name && (from.own || to.own) {
					for _, at := range policyPorts {
						out = append(out, newCells(from, to, is4, at, netip.AddrPortFrom(to.Address(is4), at))...)
					}
				}
			}
			for _, s := range c.services {
				for _, to := range c.ends {
					if from.own && to.pod == s.backend {
						out = append(out, newCells(from, to, is4, s.target, netip.AddrPortFrom(clusterIP(s.Service, is4), servicePort))...)
					}
				}
			}
		}
	}
	return out
}

func newCells(from, to policyEnd, is4 bool, target uint16, at netip.AddrPort) []cell {
	var out []cell
	for _, proto := range []string{tcp, udp} {
		out = append(out, cell{
			Flow: oracle.Flow{From: from.end(from.seenAs, is4), To: to.end(to.Addresses, is4), Protocol: corev1.Protocol(strings.ToUpper(proto)), Port: target},
			from: from.Place, at: at, proto: proto,
		})
	}
	return out
}

// matrix tries everything until it is as the oracle says, and fails when it does not become so.
func (c policyLab) matrix(what string) {
	c.Helper()
	cluster, began := c.cluster(), time.Now()
	cells := c.cells()
	wrong, first, next := cells, 0, staleAfter
	for try := 1; ; try++ {
		wrong = c.wrong(cluster, wrong, time.Duration(min(try, 3))*probeTime)
		if len(wrong) == 0 {
			break
		}
		if try == 1 {
			first = len(wrong)
		}
		if took := time.Since(began); took > 5*time.Second {
			c.measured("%s: %s, sent to %s, is not as the oracle says after %v", what, wrong[0].Flow, wrong[0].at, took.Round(time.Millisecond))
		}
		if took := time.Since(began); took > next {
			next = 2 * took
			c.renewFlows(fmt.Sprintf("%s: %s, sent to %s", what, wrong[0].Flow, wrong[0].at))
		}
		pause := 50 * time.Millisecond << min(try, 6)
		if time.Since(began)+pause > settleTime || c.ctx.Err() != nil {
			for _, w := range wrong[:min(5, len(wrong))] {
				v := cluster.Judge(w.Flow)
				c.Errorf("%s: %s, sent to %s: the oracle says allowed %v (%s), the lab does not (%v)", what, w.Flow, w.at, v.Allowed, v.Why, context.Cause(c.ctx))
			}
			c.Errorf("%s: %d of %d connections are not as the oracle says", what, len(wrong), len(cells))
			return
		}
		select {
		case <-c.ctx.Done():
		case <-time.After(pause):
		}
	}
	allowed := 0
	for _, x := range cells {
		if cluster.Judge(x.Flow).Allowed {
			allowed++
		}
	}
	c.measured("%s: %d connections as the oracle says, %d of them allowed; %d were not at once, all were after %v", what, len(cells), allowed, first,
		time.Since(began).Round(time.Millisecond))
}

// wrong tries cells and returns those that are not as the oracle says.
func (c policyLab) wrong(cluster *oracle.Cluster, cells []cell, limit time.Duration) []cell {
	var mu sync.Mutex
	var out []cell
	work := make(chan cell)
	var wg sync.WaitGroup
	for range probers {
		wg.Go(func() {
			for x := range work {
				ctx, cancel := context.WithTimeout(c.ctx, limit)
				err := traffic.EchoOnce(ctx, x.from, x.proto, x.at, 8)
				cancel()
				if (err == nil) != cluster.Judge(x.Flow).Allowed {
					mu.Lock()
					out = append(out, x)
					mu.Unlock()
				}
			}
		})
	}
	for _, x := range cells {
		work <- x
	}
	close(work)
	wg.Wait()
	return out
}

// serve lets an end answer at policyPorts until the test ends, or close is called.
func (c policyLab) serve(p policyEnd) (closeAll func()) {
	c.Helper()
	var list []*traffic.Echo
	for _, a := range p.Addresses {
		for _, n := range policyPorts {
			echo, err := traffic.ServeEcho(p.Place, netip.AddrPortFrom(a, n))
			c.must(err)
			list = append(list, echo)
		}
	}
	closeAll = sync.OnceFunc(func() {
		for _, echo := range list {
			echo.Close()
		}
	})
	c.Cleanup(closeAll)
	return closeAll
}

// podEnds starts pods that do nothing themselves and serves in their networks.
func (c policyLab) podEnds(namespace string, pods ...*corev1.Pod) []policyEnd {
	c.Helper()
	in := &env{T: c.T, lab: c.lab, ctx: c.ctx, ns: namespace}
	var out []policyEnd
	for i, place := range in.startAll(pods...) {
		p := policyEnd{Place: place, pod: oracle.Key(namespace, pods[i].Name), seenAs: place.Addresses, own: true}
		p.Name = p.pod
		if pods[i].Spec.HostNetwork {
			p.own, p.seenAs = false, c.managementAddresses(pods[i].Spec.NodeName)
		}
		out = append(out, p)
	}
	return out
}

// machineEnds are the nodes and the host outside, to which pods can connect, but not the other way round.
func (c policyLab) machineEnds() []policyEnd {
	var out []policyEnd
	for _, n := range c.Nodes()[:2] {
		out = append(out, policyEnd{Place: c.machine(n), node: n, seenAs: c.managementAddresses(n)})
	}
	return append(out, policyEnd{Place: c.machine(plan.Outside)})
}

// policyPod describes a pod of a matrix: what it is called, and how it calls its ports.
func policyPod(namespace, name, node, app string, ports ...corev1.ContainerPort) *corev1.Pod {
	return newPod(namespace, name, onNode(node), pausing, func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": app}
		p.Spec.Containers[0].Ports = ports
	})
}

// apply replaces all policies of the lab by others, the new ones first.
func (c policyLab) apply(list ...*networkingv1.NetworkPolicy) {
	c.Helper()
	old := make(map[string]*networkingv1.NetworkPolicy, len(c.policies))
	for k, p := range c.policies {
		old[k] = p
	}
	for _, p := range list {
		c.put(p)
		delete(old, oracle.Key(p.Namespace, p.Name))
	}
	for k := range old {
		c.drop(k)
	}
}

// put creates or updates a policy.
func (c policyLab) put(p *networkingv1.NetworkPolicy) {
	c.Helper()
	api := c.client.NetworkingV1().NetworkPolicies(p.Namespace)
	key := oracle.Key(p.Namespace, p.Name)
	var err error
	if c.policies[key] == nil {
		_, err = api.Create(c.ctx, p, metav1.CreateOptions{})
	} else {
		_, err = api.Update(c.ctx, p, metav1.UpdateOptions{})
	}
	if err != nil {
		c.Fatal(fmt.Errorf("policy %s: %w", key, err))
	}
	c.policies[key] = p
}

// drop deletes a policy.
func (c policyLab) drop(key string) {
	c.Helper()
	namespace, name, _ := strings.Cut(key, "/")
	c.must(c.client.NetworkingV1().NetworkPolicies(namespace).Delete(c.ctx, name, metav1.DeleteOptions{}))
	delete(c.policies, key)
}
