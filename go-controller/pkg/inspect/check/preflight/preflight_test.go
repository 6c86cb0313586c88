package preflight

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/check"
)

// site is a cluster that was just made by kubeadm, and what a case changes of it.
type site struct {
	minor    string
	node     corev1.Node
	more     []runtime.Object
	services []string
	refuse   string // a resource
	o        Options
}

func fresh() *site {
	s := &site{minor: "36", services: []string{"172.30.0.0/16"}, o: Options{Pods: prefixes("10.128.0.0/14"), Join: prefixes("100.64.0.0/16", "fd98::/64"), MTU: 1400}}
	s.node = corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	s.node.Status.NodeInfo = corev1.NodeSystemInfo{KernelVersion: "6.1.0-44-amd64", OperatingSystem: "linux"}
	s.node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "172.18.0.11"}}
	s.node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse,
		Message: "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized"}}
	return s
}

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func (s *site) run(t *testing.T) *check.Report {
	t.Helper()
	objects := append([]runtime.Object{&s.node, &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: s.services}}}, s.more...)
	client := fake.NewClientset(objects...)
	client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{Major: "1", Minor: s.minor, GitVersion: "v1." + s.minor + ".0"}
	client.PrependReactor("create", "selfsubjectaccessreviews", func(a clienttesting.Action) (bool, runtime.Object, error) {
		review := a.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Resource != s.refuse
		return true, review, nil
	})
	s.o.Client = client
	r, err := Run(context.Background(), s.o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func daemonSet(namespace, name string, labels map[string]string) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
}

// Each obstacle is found, and nothing else is complained about.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name         string
		change       func(*site)
		check, state string
		says         string // a part of the detail or the next step
	}{
		{"nothing is wrong", func(*site) {}, "", "", ""},
		{"old Kubernetes", func(s *site) { s.minor = "29" }, "Kubernetes", "fail", "1.30"},
		{"a provider's version", func(s *site) { s.minor = "31+" }, "", "", ""},
		{"no right", func(s *site) { s.refuse = "clusterroles" }, "your rights", "fail", "create clusterroles"},
		{"old kernel", func(s *site) { s.node.Status.NodeInfo.KernelVersion = "3.10.0-1160.el7" }, "nodes' kernels", "fail", "node1 (3.10.0-1160.el7)"},
		{"another system", func(s *site) { s.node.Status.NodeInfo.OperatingSystem = "windows" }, "nodes' kernels", "fail", "node1 (windows)"},
		{"a network is there", func(s *site) { s.node.Status.Conditions[0].Status = corev1.ConditionTrue }, "nodes wait for a network", "warn", "/etc/cni/net.d"},
		{"a sick node", func(s *site) { s.node.Status.Conditions[0].Message = "PLEG is not healthy" }, "nodes wait for a network", "warn", "describe node node1"},
		{"kube-proxy", func(s *site) { s.more = []runtime.Object{daemonSet("kube-system", "kube-proxy", nil)} }, "kube-proxy", "warn", "-n kube-system delete daemonset kube-proxy"},
		{"flannel", func(s *site) { s.more = []runtime.Object{daemonSet("kube-flannel", "kube-flannel-ds", nil)} }, "another network: flannel", "fail", "kube-flannel/kube-flannel-ds"},
		{"Cilium", func(s *site) { s.more = []runtime.Object{daemonSet("kube-system", "cilium", nil)} }, "another network: Cilium", "fail", "kube-system/cilium"},
		{"OVN-Kubernetes", func(s *site) { s.more = []runtime.Object{daemonSet("ovn-kubernetes", "ovnkube-node", nil)} }, "another network: OVN-Kubernetes", "fail", "ovnkube-node"},
		{"ovnkube itself", func(s *site) {
			s.more = []runtime.Object{daemonSet("ovn-kubernetes", "ovnkube-node", map[string]string{"app.kubernetes.io/name": "ovnkube"})}
		}, "", "", ""},
		{"what Calico has left", func(s *site) {
			s.node.Annotations = map[string]string{"projectcalico.org/IPv4Address": "172.18.0.11/24"}
		}, "another network: Calico", "warn", "annotations"},
		{"pods where the nodes are", func(s *site) { s.o.Pods = prefixes("172.16.0.0/12") }, "networks do not overlap", "fail", "node node1 172.18.0.11"},
		{"services within pods", func(s *site) { s.services = []string{"10.130.0.0/16"} }, "networks do not overlap", "fail", "services 10.130.0.0/16"},
		{"nodes in the join subnet", func(s *site) { s.node.Status.Addresses[0].Address = "100.64.3.1" }, "networks do not overlap", "fail", "join subnet 100.64.0.0/16 and node node1"},
		{"IPv6 pods, IPv4 nodes", func(s *site) {
			s.o.Pods = prefixes("10.128.0.0/14", "fd01::/48")
			s.services = append(s.services, "fd02::/112")
		},
			"address families", "fail", "node node1 has no IPv6 address"},
		{"dual stack services, IPv4 pods", func(s *site) { s.services = append(s.services, "fd02::/112") }, "address families", "fail", "services have IPv6"},
	} {
		s := fresh()
		c.change(s)
		found := false
		for _, f := range s.run(t).Findings {
			if f.State == check.OK || f.State == check.Skip {
				continue
			}
			text := f.Detail + " | " + f.Next
			if f.Check != c.check || string(f.State) != c.state || !strings.Contains(text, c.says) || f.Next == "" {
				t.Errorf("%s: %s is %s: %s", c.name, f.Check, f.State, text)
				continue
			}
			found = true
		}
		if found != (c.check != "") {
			t.Errorf("%s: %q was not found", c.name, c.check)
		}
	}
}

// Without -a modprobe takes all words behind the first for the module's parameters, and checks nothing of them: modprobe(8).
func TestModulesCommand(t *testing.T) {
	next := modules(nil)[0].Next
	words := strings.Fields(next[strings.Index(next, "modprobe"):])
	if flags := words[1]; !strings.HasPrefix(flags, "-") || !strings.Contains(flags, "a") || !strings.Contains(flags, "n") || len(words) != 5 {
		t.Errorf("%q: want a command that looks for each of three modules and loads none", next)
	}
}
