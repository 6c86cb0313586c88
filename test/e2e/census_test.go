//go:build e2e

package e2e

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube/annotations"
	"github.com/ovnkube/ovnkube/test/e2e/census"
)

// takeCensus counts everything that comes and goes with pods and nodes.
func (e *env) takeCensus() (census.Census, error) { return census.Take(e.ctx, e.Lab) }

// mustCensus is takeCensus for a moment at which it must work.
func (e *env) mustCensus() census.Census {
	e.Helper()
	c, err := e.takeCensus()
	e.must(err)
	return c
}

// checkAddressesUnique looks for two pods with one address, in Kubernetes' and in OVN's view, and for
// pods whose logical port has other addresses than the pod.
func (e *env) checkAddressesUnique() {
	e.Helper()
	owner := map[netip.Addr]string{}
	for _, obj := range e.seen.pods.List() {
		p := obj.(*corev1.Pod)
		if p.Spec.HostNetwork || p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" || p.DeletionTimestamp != nil {
			continue
		}
		net, err := annotations.ParsePodNetwork(p.Annotations)
		if err != nil {
			continue
		}
		for _, a := range net.Addresses {
			if other, taken := owner[a.Addr()]; taken {
				e.Errorf("%s/%s and %s both have %s", p.Namespace, p.Name, other, a.Addr())
			}
			owner[a.Addr()] = p.Namespace + "/" + p.Name
		}
	}
	seen := map[string]bool{}
	for _, word := range strings.Fields(e.nb("--bare", "--columns=addresses", "list", "Logical_Switch_Port")) {
		if _, err := netip.ParseAddr(word); err != nil {
			continue
		}
		if seen[word] {
			e.Errorf("two logical switch ports have %s", word)
		}
		seen[word] = true
	}
}
