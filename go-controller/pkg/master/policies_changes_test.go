package master

import (
	"context"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// A number and a name that stands for it are the same to a pod, also while a rule changes from one to the other.
func TestRuleChangesFromNumberToName(t *testing.T) {
	w := newPolicyWorld(t, mostDue)
	w.putPod("ns1", "x", map[string]string{"app": "a"})
	w.putPod("ns1", "y", nil)
	w.settle()
	put := func(port intstr.IntOrString) func() {
		return func() {
			w.putPolicy("ns1", "p", networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}},
				Ingress: []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: &port}}}}})
		}
	}
	w.change(t, "policy with a number", put(intstr.FromInt32(80)))
	w.change(t, "policy with a name", put(intstr.FromString("http")))
	w.change(t, "policy with a number again", put(intstr.FromInt32(80)))
}

// A rule keeps its number but says something else, and another, which is in effect a moment later, says what it said.
func TestRuleMovesToAnotherNumber(t *testing.T) {
	w := newPolicyWorld(t, mostDue)
	w.putPod("ns1", "x", nil)
	w.putPod("ns1", "y", nil)
	w.settle()
	put := func(ports ...intstr.IntOrString) {
		var spec networkingv1.NetworkPolicySpec
		for _, p := range ports {
			spec.Ingress = append(spec.Ingress, networkingv1.NetworkPolicyIngressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: &p}}})
		}
		w.putPolicy("ns1", "p", spec)
	}
	w.change(t, "port 80", func() { put(intstr.FromInt32(80)) })
	w.change(t, "port 81 and http", func() { put(intstr.FromInt32(81), intstr.FromString("http")) })
}

// A change that is overtaken on its way takes no right away that was there before and is there in the end.
func TestPolicyThatIsOvertaken(t *testing.T) {
	w := newPolicyWorld(t, mostDue)
	w.putPod("ns1", "x", map[string]string{"app": "a"})
	w.putPod("ns1", "y", map[string]string{"app": "b"})
	w.settle()
	put := func(label string) {
		var rules []networkingv1.NetworkPolicyIngressRule
		if label == "a" {
			rules = []networkingv1.NetworkPolicyIngressRule{{}}
		}
		w.putPolicy("ns1", "p", networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": label}}, Ingress: rules})
	}
	w.change(t, "policy about x", func() { put("a") })
	w.change(t, "policy about y, twice", func() {
		put("b")
		w.engine.worker.RunOne(context.Background()) // It is in effect; x and y are still to be looked at.
		w.store.changed()
		nobody := networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"none": ""}}}
		w.putPolicy("ns1", "p", networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{nobody}}}})
		w.engine.policy.reconcile("ns1/p") // Before the pods' turn.
	})
}

// What the port of a pod is a member of that was created again while no master ran is not known: it goes, with all that, before the new pod's comes.
func TestPodThatIsCreatedAgainWithoutAMaster(t *testing.T) {
	h := newTest(t)
	h.addNode("n1")
	h.addPod("a", "n1")
	h.start()
	h.settle()
	was := h.portOf("a")
	h.deletePod("a")
	h.addPod("a", "n1")
	h.start()
	h.allocate()
	h.store.Read(func(v nbstate.View) {
		if o, _ := v.Owner(podOwner("ns/a")); !o.Deleted {
			t.Errorf("the new pod takes the port over: %+v", o.Desired)
		}
	})
	h.want("before anything is written", h.portOf("a"), was)
	h.settle()
	pod, _ := h.pods.Get("ns/a")
	if port := h.portOf("a"); !strings.HasSuffix(port, "for "+string(pod.UID)) {
		t.Errorf("the port is %q, want one for %s", port, pod.UID)
	}
	if len(h.engine.held) > 0 {
		t.Errorf("still held: %v", h.engine.held)
	}
}

// usesNames tells whether any policy names a port.
func (w *policyWorld) usesNames() bool {
	named := func(p networkingv1.NetworkPolicyPort) bool { return p.Port.Type == intstr.String }
	for _, p := range w.judgment.Policies {
		for _, r := range p.Spec.Ingress {
			if slices.ContainsFunc(r.Ports, named) {
				return true
			}
		}
		for _, r := range p.Spec.Egress {
			if slices.ContainsFunc(r.Ports, named) {
				return true
			}
		}
	}
	return false
}
