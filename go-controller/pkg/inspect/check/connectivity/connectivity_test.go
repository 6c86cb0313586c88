package connectivity

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
)

// world is a cluster of fakes: pods are ready as soon as they are made, unless never, and connect as faults allow.
type world struct {
	*fake.Clientset
	// fault tells what agnhost says when a pod connects; "" is success.
	fault func(from, to, protocol string) string
	never bool
	pods  int
}

func newWorld(nodes int) *world {
	w := &world{fault: func(string, string, string) string { return "" }}
	objects := []runtime.Object{&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}}}
	for i := range nodes {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("node%d", i)}}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		n.Status.DaemonEndpoints.KubeletEndpoint.Port = 10250
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", i+1)}, {Type: corev1.NodeInternalIP, Address: fmt.Sprintf("2001:db8::%d", i+1)}}
		objects = append(objects, n)
	}
	w.Clientset = fake.NewClientset(objects...)
	w.PrependReactor("create", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p := a.(clienttesting.CreateAction).GetObject().(*corev1.Pod)
		p.Namespace = a.GetNamespace()
		w.pods++
		p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.128.0.%d", w.pods)}, {IP: fmt.Sprintf("fd01::%d", w.pods)}}
		if !w.never {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		} else {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
		}
		return true, p, w.Tracker().Create(a.GetResource(), p, p.Namespace)
	})
	w.PrependReactor("create", "services", func(a clienttesting.Action) (bool, runtime.Object, error) {
		s := a.(clienttesting.CreateAction).GetObject().(*corev1.Service)
		s.Spec.ClusterIPs = []string{"172.30.0.9", "fd02::9"}
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(30080 + i)
		}
		return true, s, nil
	})
	return w
}

// exec is a pod's agnhost.
func (w *world) exec(_ context.Context, in access.Container, argv ...string) (string, error) {
	if argv[0] == "cat" {
		return "1400\n", nil
	}
	said := w.fault(in.Pod, argv[2], strings.TrimPrefix(argv[3], "--protocol="))
	if said == "" {
		said = w.policy(in, argv[2])
	}
	if said == "" {
		return "", nil
	}
	return "", fmt.Errorf("exec: %w", &access.ExitError{Argv: argv, Code: 1, Message: said + "\n"})
}

// policy is what the policy does once it is there: the first server is on the first node.
func (w *world) policy(in access.Container, to string) string {
	list, err := w.NetworkingV1().NetworkPolicies(in.Namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil || len(list.Items) == 0 {
		return ""
	}
	first, err := w.CoreV1().Pods(in.Namespace).Get(context.Background(), "server-0", metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	a := netip.MustParseAddrPort(to)
	if a.Addr() != address(first, a.Addr().Is4()) || in.Pod == "client-0" && a.Port() == tcpPort {
		return ""
	}
	return "TIMEOUT"
}

func (w *world) run(ctx context.Context, outside ...string) (*check.Report, error) {
	return Run(ctx, Options{Client: w, Exec: w.exec, Image: "agnhost", Outside: outside, Patience: 5 * time.Millisecond, Progress: func(string) {}})
}

// left are the namespaces that have not been removed.
func (w *world) left(t *testing.T) int {
	t.Helper()
	list, err := w.CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

func states(r *check.Report) map[string]string {
	out := map[string]string{}
	for _, f := range r.Findings {
		out[f.Check] = string(f.State) + " " + f.Detail
	}
	return out
}

func TestAllWell(t *testing.T) {
	w := newWorld(2)
	r, err := w.run(context.Background(), "198.51.100.1:443")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pods run, and nodes reach them": "ok 4 pods on 2 nodes", "DNS, and what the name leads to": "ok 2 of 2", "pod to outside": "ok 2 of 2",
	}
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, what := range []string{"pod to pod, on one node", "pod to pod, across nodes", "pod to service", "pod to node port"} {
			want[what+", TCP, "+family], want[what+", UDP, "+family] = "ok 2 of 2", "ok 2 of 2"
		}
		want["packets of 1400 bytes, across nodes, "+family], want["pod to node, "+family] = "ok 2 of 2", "ok 4 of 4"
		want["policy allows, "+family], want["policy denies the port, "+family], want["policy denies the pod, "+family] = "ok 1 of 1", "ok 1 of 1", "ok 1 of 1"
	}
	if diff := cmp.Diff(want, states(r)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := w.left(t); n != 0 {
		t.Errorf("%d namespaces are left", n)
	}
}

// A single node has fewer connections; what is not tried says why.
func TestSingleNode(t *testing.T) {
	r, err := newWorld(1).run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := states(r)
	for name, want := range map[string]string{
		"pod to pod, across nodes, TCP, IPv4": "skip there is one node only", "policy denies the pod, IPv6": "skip there is one node only",
		"pod to outside": "skip no address was given: --outside ADDRESS:PORT", "pod to node port, UDP, IPv4": "ok 1 of 1",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	if n := r.Count(check.Fail); n != 0 {
		t.Errorf("%d checks fail: %v", n, got)
	}
}

// What is broken is found, where it is, and nothing else is.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault func(from, to, protocol string) string
		fails map[string]string // beginnings of the details
	}{
		{"node ports do not answer", func(_, to, protocol string) string {
			if strings.HasSuffix(to, ":30081") && protocol == udp && strings.HasPrefix(to, "192.") {
				return "TIMEOUT: i/o timeout"
			}
			return ""
		}, map[string]string{"pod to node port, UDP, IPv4": "0 of 2: client-"}},
		{"kubelets refuse, which is an answer", func(_, to, _ string) string {
			if strings.HasSuffix(to, ":10250") {
				return "REFUSED"
			}
			return ""
		}, map[string]string{}},
		{"no names", func(_, to, _ string) string {
			if strings.HasPrefix(to, "web.") {
				return "DNS: no such host"
			}
			return ""
		}, map[string]string{"DNS, and what the name leads to": "0 of 2: "}},
		{"the second node's pods are not reached from the first", func(from, to, _ string) string {
			if from == "client-0" && (strings.HasPrefix(to, "10.128.0.4:") || strings.HasPrefix(to, "[fd01::4]:")) {
				return "OTHER: no route to host"
			}
			return ""
		}, map[string]string{
			"pod to pod, across nodes, TCP, IPv4": "1 of 2: client-0 on node0 to 10.128.0.4:8080: exit code 1 OTHER: no route to host",
			"pod to pod, across nodes, UDP, IPv4": "1 of 2: client-0", "pod to pod, across nodes, TCP, IPv6": "1 of 2: client-0", "pod to pod, across nodes, UDP, IPv6": "1 of 2: client-0",
			"packets of 1400 bytes, across nodes, IPv4": "1 of 2", "packets of 1400 bytes, across nodes, IPv6": "1 of 2",
		}},
	} {
		w := newWorld(2)
		w.fault = c.fault
		r, err := w.run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if r.Count(check.Fail) != len(c.fails) {
			t.Errorf("%s: %s", c.name, r.Verdict())
		}
		for _, f := range r.Findings {
			if want, fails := c.fails[f.Check]; fails != (f.State == check.Fail) || !strings.HasPrefix(f.Detail, want) || fails && f.Next == "" {
				t.Errorf("%s: %s is %s: %s (next: %s), want %q", c.name, f.Check, f.State, f.Detail, f.Next, want)
			}
		}
	}
}

// A policy that nobody enforces is found by what it should deny.
func TestPolicyWithoutEffect(t *testing.T) {
	w := newWorld(2)
	w.PrependReactor("create", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
	r, err := w.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if denies := strings.HasPrefix(f.Check, "policy denies"); denies != (f.State == check.Fail) {
			t.Errorf("%s is %s: %s", f.Check, f.State, f.Detail)
		}
	}
}

// Pods that do not come up, an interruption, a right that is missing: the namespace goes in any case.
func TestCleansUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	for _, c := range []struct {
		name string
		run  func(*world) (*check.Report, error)
		says string
		err  error
	}{
		{"no pod becomes ready", func(w *world) (*check.Report, error) {
			w.never = true
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			return w.run(ctx)
		}, "fail 4 of 4 pods are not ready: client-0 on node0 is , ImagePullBackOff", nil},
		{"interrupted", func(w *world) (*check.Report, error) {
			w.fault = func(string, string, string) string { cancel(); return "TIMEOUT" }
			return w.run(ctx)
		}, "", context.Canceled},
		{"no right to make policies", func(w *world) (*check.Report, error) {
			w.PrependReactor("create", "networkpolicies", func(clienttesting.Action) (bool, runtime.Object, error) {
				return true, nil, apierrors.NewForbidden(corev1.Resource("networkpolicies"), "", errors.New("no"))
			})
			return w.run(context.Background())
		}, "ok 4 pods on 2 nodes", errors.New("create a network policy")},
	} {
		w := newWorld(2)
		r, err := c.run(w)
		if (err == nil) != (c.err == nil) || err != nil && !errors.Is(err, c.err) && !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
		if got := states(r)["pods run, and nodes reach them"]; c.says != "" && !strings.HasPrefix(got, c.says) {
			t.Errorf("%s: %q, want %q", c.name, got, c.says)
		}
		if n := w.left(t); n != 0 {
			t.Errorf("%s: %d namespaces are left", c.name, n)
		}
	}
}
