//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// probed gives a pod probes that ask again every second.
func probed(readiness, liveness *corev1.ProbeHandler) podOption {
	probe := func(h *corev1.ProbeHandler) *corev1.Probe {
		if h == nil {
			return nil
		}
		return &corev1.Probe{ProbeHandler: *h, PeriodSeconds: 1, TimeoutSeconds: 2, FailureThreshold: 2}
	}
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].ReadinessProbe, p.Spec.Containers[0].LivenessProbe = probe(readiness), probe(liveness)
	}
}

func httpProbe(path string) *corev1.ProbeHandler {
	return &corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(httpPort)}}
}

func execProbe(script string) *corev1.ProbeHandler {
	return &corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"sh", "-c", script}}}
}

func testKubelet(e *env) {
	node := e.Nodes()[1]
	tcpProbe := &corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(httpPort)}}
	e.create(
		newPod(e.ns, "http", onNode(node), probed(httpProbe("/hostname"), httpProbe("/hostname"))),
		newPod(e.ns, "tcp", onNode(node), probed(tcpProbe, tcpProbe)),
		newPod(e.ns, "exec", onNode(node), probed(execProbe("test -e /tmp/ready"), execProbe("test ! -e /tmp/dead"))),
		newPod(e.ns, "deaf", onNode(node), probed(httpProbe("/echo?code=503"), nil)),
	)
	e.ready("http", "tcp")
	running := func(name string) func() string {
		return func() string {
			if p := e.seen.pod(e.ns, name); p == nil || p.Status.Phase != corev1.PodRunning {
				return describeNamed(p, name)
			}
			return ""
		}
	}
	e.until(running("exec"))
	if e.notReady([]string{"exec"}) == "" {
		e.Error("a pod is ready although its readiness probe fails")
	}
	e.must(e.kubectl("exec", "exec", "--", "touch", "/tmp/ready"))
	e.ready("exec")
	e.must(e.kubectl("exec", "exec", "--", "touch", "/tmp/dead"))
	e.until(func() string {
		if e.restartsOf("exec") == 0 {
			return "a container whose liveness probe fails is not restarted"
		}
		return ""
	})
	// The probes of the others went on all the time.
	if r := e.restartsOf("http") + e.restartsOf("tcp"); r > 0 {
		e.Errorf("%d restarts of pods whose liveness probes must succeed: %v", r, e.events("http"))
	}
	if e.notReady([]string{"deaf"}) == "" {
		e.Error("a pod is ready although it answers its readiness probe with 503")
	}
	e.checkExecAndLogs()
}

func (e *env) restartsOf(pod string) int32 {
	p := e.seen.pod(e.ns, pod)
	if p == nil || len(p.Status.ContainerStatuses) == 0 {
		return 0
	}
	return p.Status.ContainerStatuses[0].RestartCount
}

// kubectl runs kubectl in the scenario's namespace.
func (e *env) kubectl(args ...string) error {
	_, err := e.Kubectl(e.ctx, append([]string{"-n", e.ns}, args...)...)
	return err
}

func (e *env) checkExecAndLogs() {
	e.Helper()
	out, err := e.Kubectl(e.ctx, "-n", e.ns, "exec", "http", "--", "hostname")
	if err != nil || strings.TrimSpace(out) != "http" {
		e.Errorf("kubectl exec hostname: %q, %v", out, err)
	}
	out, err = e.Kubectl(e.ctx, "-n", e.ns, "exec", "http", "--", "sh", "-c", "exit 7")
	if err == nil {
		e.Errorf("kubectl exec of a failing command: %q and no error", out)
	}
	out, err = e.Kubectl(e.ctx, "-n", e.ns, "logs", "http")
	if err != nil || !strings.Contains(out, "GET /hostname") {
		e.Errorf("kubectl logs does not show the probes' requests: %q, %v", out, err)
	}
	// Through the API server's proxy: it is outside the cluster's network.
	out, err = e.Kubectl(e.ctx, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/http:%d/proxy/hostname", e.ns, httpPort))
	if err != nil || strings.TrimSpace(out) != "http" {
		e.Errorf("API server's proxy to a pod: %q, %v", out, err)
	}
}

// resolver asks one DNS server over "udp" or "tcp" from a place.
func resolver(from traffic.Place, network string, server netip.AddrPort) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return from.Dial(ctx, network, server)
	}}
}

func testDNS(e *env) {
	svc, err := e.client.CoreV1().Services("default").Get(e.ctx, "kubernetes", metav1.GetOptions{})
	e.must(err)
	servers := e.dnsServers()
	for _, node := range e.Nodes() {
		e.create(newPod(e.ns, "client-"+node, onNode(node)))
	}
	for _, node := range e.Nodes() { // All of them first: a node that gets a port may drop a packet.
		e.ready("client-" + node)
	}
	for _, node := range e.Nodes() {
		for _, server := range servers {
			e.mustReach(e.places("client-" + node)[0], e.placesOf(server)[0], icmp, 0)
			for _, at := range places.PodAddresses(server) {
				for _, network := range []string{"udp", "tcp"} {
					from := e.places("client-" + node)[0]
					ctx, cancel := context.WithTimeout(e.ctx, 12*time.Second) // The resolver asks again after 5 s.
					got, err := resolver(from, network, port(at, 53)).LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
					cancel()
					slices.Sort(got)
					if want := slices.Sorted(slices.Values(svc.Spec.ClusterIPs)); err != nil || !slices.Equal(got, want) {
						e.Errorf("%s asks %s at %s over %s: got %v, want %v (%v)", from, server.Name, at, network, got, want, err)
					}
				}
			}
		}
	}
}

// dnsServers returns the ready pods of CoreDNS.
func (e *env) dnsServers() []*corev1.Pod {
	e.Helper()
	var out []*corev1.Pod
	e.until(func() string {
		out = nil
		for _, p := range e.seen.podsOf("kube-system") {
			if p.Labels["k8s-app"] == "kube-dns" && isReady(p) {
				out = append(out, p)
			}
		}
		if len(out) == 0 {
			return "no ready pod with the label k8s-app=kube-dns"
		}
		return ""
	})
	return out
}
