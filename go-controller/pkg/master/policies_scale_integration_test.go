//go:build integration

package master

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
)

// crowd is how many of what a cluster has.
type crowd struct{ nodes, namespaces, pods int }

// newCrowd fills the fake API server: pods "p0"… in turn in namespaces "ns0"… and on nodes; every pod has an application and a number of its own.
func newCrowd(t *testing.T, c crowd) *live {
	klog.SetOutput(discard{})
	klog.LogToStderr(false)
	l := newLive(t)
	for i := range c.nodes {
		l.addNode(fmt.Sprintf("n%d", i))
	}
	for i := range c.namespaces {
		name := fmt.Sprintf("ns%d", i)
		l.namespaces.Put(&kube.Namespace{Name: name, Labels: map[string]string{"kubernetes.io/metadata.name": name, "team": fmt.Sprint(i % 10)}})
	}
	for i := range c.pods {
		l.putCrowdPod(c, i)
	}
	return l
}

func (l *live) putCrowdPod(c crowd, i int) {
	l.pods.Put(&kube.Pod{
		Namespace: fmt.Sprintf("ns%d", i%c.namespaces), Name: fmt.Sprintf("p%d", i), UID: l.nextUID(), Created: l.clock, Node: fmt.Sprintf("n%d", i%c.nodes),
		Labels: map[string]string{"app": fmt.Sprintf("app%d", i/c.namespaces%10), "pod": fmt.Sprint(i), "all": "yes"},
	})
}

// putCrowdPolicy isolates the pods of an application in both directions and lets in another one, and out to its team.
func (l *live) putCrowdPolicy(c crowd, i int) {
	port, dns := intstr.FromInt32(8080), intstr.FromInt32(53)
	labels := func(k, v string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}
	}
	l.policies.Put(&kube.NetworkPolicy{
		Namespace: fmt.Sprintf("ns%d", i%c.namespaces), Name: fmt.Sprintf("policy%d", i), UID: l.nextUID(),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: *labels("app", fmt.Sprintf("app%d", i/c.namespaces%10)),
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				From:  []networkingv1.NetworkPolicyPeer{{PodSelector: labels("app", fmt.Sprintf("app%d", (i/c.namespaces+1)%10))}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: &port}},
			}},
			Egress: []networkingv1.NetworkPolicyEgressRule{{
				To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: labels("team", fmt.Sprint(i%10))}},
				Ports: []networkingv1.NetworkPolicyPort{{Port: &port}, {Port: &dns}},
			}},
		},
	})
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverCPU is the CPU time of the northbound server.
func (l *live) serverCPU() time.Duration {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", l.nb.PID()))
	_, after, _ := strings.Cut(string(data), ") ")
	var user, system int64
	if f := strings.Fields(after); len(f) > 12 {
		_, _ = fmt.Sscan(f[11], &user)
		_, _ = fmt.Sscan(f[12], &system)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// residentMiB is the memory of this process, after a collection.
func residentMiB() int {
	runtime.GC()
	data, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(data)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}

// 200 policies that come one after the other cost few transactions, and no more ACLs than two rules each and two a namespace.
func TestPoliciesAmongPods(t *testing.T) {
	c := crowd{nodes: 50, namespaces: 20, pods: 2000}
	l := newCrowd(t, c)
	l.run()
	l.await("pods are served", l.quiet)
	acls := func() int { return len(strings.Fields(l.nb.Ctl("--bare", "--columns=priority", "list", "ACL"))) }
	base := acls() // What no policy can forbid, and no pod may do.
	before, cpu, start := l.nb.Transactions(), cpuTime(), time.Now()
	for i := range 200 {
		l.do(func() { l.putCrowdPolicy(c, i) })
	}
	l.await("policies are served", func() bool { return l.quiet() && acls() == 200*2+20*2+base })
	transactions := l.nb.Transactions() - before
	t.Logf("200 policies on 2,000 pods: %d transactions, %d ACLs, %s CPU, %s", transactions, acls(), cpuTime()-cpu, time.Since(start).Round(time.Millisecond))
	if transactions > 20 {
		t.Errorf("%d transactions, want at most 20", transactions)
	}
	if n := acls(); n > 532 {
		t.Errorf("%d ACLs, want at most 532", n)
	}

	before = l.nb.Transactions()
	l.do(func() { l.putCrowdPod(c, c.pods) })
	l.await("one more pod", func() bool {
		return l.quiet() && strings.Contains(l.nb.Ctl("--bare", "--columns=name", "list", "Logical_Switch_Port"), fmt.Sprintf("_p%d", c.pods))
	})
	if n := l.nb.Transactions() - before; n != 1 {
		t.Errorf("one more pod made %d transactions, want one", n)
	}

	before = l.nb.Transactions()
	start = time.Now()
	l.do(func() {
		for _, p := range l.policies.All() {
			l.policies.Remove(p.Key())
		}
	})
	l.await("policies are gone", func() bool { return l.quiet() && acls() == base })
	t.Logf("200 policies deleted: %d transactions, %s", l.nb.Transactions()-before, time.Since(start).Round(time.Millisecond))
	for _, table := range []string{"Port_Group", "Address_Set"} {
		if left := l.nb.Ctl("--bare", "--columns=name", "list", table); strings.Contains(left, "np_") || strings.Contains(left, "peer_") || strings.Contains(left, "deny_") {
			t.Errorf("without policies there are in %s: %s", table, left)
		}
	}
}

// A pod that many policies select costs one transaction, not one for each of them, and one membership where their selectors say the same.
func TestPodOfManyPolicies(t *testing.T) {
	for name, selector := range map[string]func(i int) metav1.LabelSelector{
		"one selector": func(int) metav1.LabelSelector { return metav1.LabelSelector{} },
		"a selector each": func(i int) metav1.LabelSelector { // All of them select all pods.
			return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{fmt.Sprint("other", i)}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := crowd{nodes: 20, namespaces: 1, pods: 2000}
			if name != "one selector" && os.Getenv("OVNKUBE_SCALE") == "" {
				c.pods = 300 // ovsdb-server takes its time over 400,000 memberships.
			}
			l := newCrowd(t, c)
			for i := range 200 {
				l.policies.Put(&kube.NetworkPolicy{
					Namespace: "ns0", Name: fmt.Sprintf("policy%d", i), UID: l.nextUID(),
					Spec: networkingv1.NetworkPolicySpec{
						PodSelector: selector(i),
						Ingress: []networkingv1.NetworkPolicyIngressRule{{
							From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}},
							Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt(1000 + i))}},
						}},
					},
				})
			}
			l.onePodMore(c)
		})
	}
}

// onePodMore lets the master start, and adds a pod.
func (l *live) onePodMore(c crowd) {
	start, cpu := time.Now(), cpuTime()
	l.run()
	for range 10 { // As many minutes as it takes on a busy machine.
		if l.soon(l.quiet) {
			break
		}
	}
	l.await("all is served", l.quiet)
	l.t.Logf("%d pods, each selected by 200 policies, from cold: %d transactions, %s, %s CPU, %s of ovsdb-server, %d MiB",
		c.pods, l.nb.Transactions(), time.Since(start).Round(time.Millisecond), cpuTime()-cpu, l.serverCPU(), residentMiB())
	before := l.nb.Transactions()
	start = time.Now()
	l.do(func() { l.putCrowdPod(c, c.pods) })
	owner := podOwner(fmt.Sprintf("ns0/p%d", c.pods))
	l.await("one more pod", func() bool { return l.engine.store.Generation(owner) != 0 && l.quiet() })
	l.t.Logf("one more pod: %d transaction, %s", l.nb.Transactions()-before, time.Since(start).Round(time.Millisecond))
	if n := l.nb.Transactions() - before; n != 1 {
		l.t.Errorf("one more pod made %d transactions, want one", n)
	}
}

// soon waits for a minute.
func (l *live) soon(yes func() bool) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if yes() {
			return true
		}
	}
	return false
}

// The figure of large clusters: all of it at once, at the start. Only with OVNKUBE_SCALE=1.
func TestColdStartWithManyPolicies(t *testing.T) {
	if os.Getenv("OVNKUBE_SCALE") == "" {
		t.Skip("OVNKUBE_SCALE=1 runs it")
	}
	c := crowd{nodes: 100, namespaces: 500, pods: 10000}
	l := newCrowd(t, c)
	for i := range 5000 {
		l.putCrowdPolicy(c, i)
	}
	idle := residentMiB()
	start, cpu := time.Now(), cpuTime()
	l.run()
	for range 10 {
		if l.soon(l.quiet) {
			break
		}
	}
	t.Logf("10,000 pods and 5,000 policies in 500 namespaces from cold: %s, %s CPU, %s of ovsdb-server, %d transactions, %d MiB (%d of them the test's own objects)",
		time.Since(start).Round(time.Millisecond), cpuTime()-cpu, l.serverCPU(), l.nb.Transactions(), residentMiB(), idle)
}
