//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/image"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

const (
	namespace = "faults"
	// echoPort answers those who know the place, servicePort those who come through a service. A connection through a service and
	// one to its endpoint that have the same port of the client are the same to the endpoint: the connection tracker of the
	// userspace datapath loses one of them, which is no consequence of a fault.
	echoPort, servicePort = 7000, 7001
	// patience is how long the lab may take to be well again after a fault.
	patience = 90 * time.Second
	pollEach = 20 * time.Millisecond
)

// path is a way that packets take.
type path struct {
	name string
	from traffic.Place
	to   netip.AddrPort
}

// harness is a lab with what sends and answers in it.
type harness struct {
	*cluster.Lab
	client kubernetes.Interface
	ctx    context.Context
	// pods sit on the first node (two) and on the second.
	pods  []*corev1.Pod
	ends  []traffic.Place
	paths []path
	// echoes answer in the ends and outside, by the place's name; served are the namespaces they do it in.
	echoes map[string][]*traffic.Echo
	served map[string]string
	fresh  int
	// noise is the longest gap that there was without a fault.
	noise     time.Duration
	clustered bool // the databases have members, and nodes a relay
}

func newHarness(ctx context.Context, t *testing.T, l *cluster.Lab) *harness {
	t.Helper()
	client, err := l.Client()
	must(t, err)
	h := &harness{Lab: l, client: client, ctx: ctx, echoes: map[string][]*traffic.Echo{}, served: map[string]string{}}
	_, err = client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	must(t, err)
	must(t, eventually(ctx, patience, func() error {
		_, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	}))
	for i, node := range []int{0, 0, 1} {
		_, err := client.CoreV1().Pods(namespace).Create(ctx, newPod(fmt.Sprintf("end-%d", i), l.Nodes()[node], map[string]string{"end": fmt.Sprint(min(i, 1))}), metav1.CreateOptions{})
		must(t, err)
	}
	service, err := client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "ends"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"end": "1"}, Ports: []corev1.ServicePort{
			{Name: "tcp", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(servicePort), NodePort: 30080},
			{Name: "udp", Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: intstr.FromInt32(servicePort), NodePort: 30080},
		}},
	}, metav1.CreateOptions{})
	must(t, err)
	must(t, h.refresh(ctx))
	must(t, h.route(service))
	t.Cleanup(h.silence)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newPod(name, node string, labels map[string]string) *corev1.Pod {
	second, none := int64(0), false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &second, AutomountServiceAccountToken: &none,
			// A node that is cut off for long keeps its pods.
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:  []corev1.Container{{Name: "pause", Image: image.Pause, ImagePullPolicy: corev1.PullNever}},
		},
	}
}

// refresh waits for the pods, finds their networks and serves echoes in them: a node that was off has made new ones. Clients sit
// on the first node, which is never off.
func (h *harness) refresh(ctx context.Context) error {
	h.pods = nil
	for i := range 3 {
		pod, err := h.ready(ctx, fmt.Sprintf("end-%d", i))
		if err != nil {
			return err
		}
		h.pods = append(h.pods, pod)
	}
	if err := eventually(ctx, patience, func() (err error) {
		h.ends, err = places.Pods(h.Lab, h.pods...)
		return err
	}); err != nil {
		return err
	}
	outside, err := places.Machine(h.Lab, plan.Outside)
	if err != nil {
		return err
	}
	for _, p := range append(slices.Clone(h.ends), outside) {
		if err := h.serve(p); err != nil {
			return err
		}
	}
	return nil
}

// serve answers in a place, unless that is done already.
func (h *harness) serve(p traffic.Place) error {
	if h.served[p.Name] == p.NetNS {
		return nil
	}
	for _, old := range h.echoes[p.Name] {
		old.Close()
	}
	delete(h.echoes, p.Name)
	for _, port := range []uint16{echoPort, servicePort} {
		echo, err := traffic.ServeEcho(p, netip.AddrPortFrom(p.Address(h.is4()), port))
		if err != nil {
			return err
		}
		h.echoes[p.Name] = append(h.echoes[p.Name], echo)
	}
	h.served[p.Name] = p.NetNS
	return nil
}

func (h *harness) silence() {
	for _, list := range h.echoes {
		for _, e := range list {
			e.Close()
		}
	}
}

func (h *harness) is4() bool { return h.Family().V4() }

// route names the ways that are probed.
func (h *harness) route(service *corev1.Service) error {
	outside, err := places.Machine(h.Lab, plan.Outside)
	if err != nil {
		return err
	}
	node, err := places.Machine(h.Lab, h.Nodes()[0])
	if err != nil {
		return err
	}
	var cluster netip.Addr
	for _, text := range service.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() == h.is4() {
			cluster = a
		}
	}
	echo := func(p traffic.Place) netip.AddrPort { return netip.AddrPortFrom(p.Address(h.is4()), echoPort) }
	h.paths = []path{
		{nearPath, h.ends[0], echo(h.ends[1])},
		{farPath, h.ends[0], echo(h.ends[2])},
		{"pod to service", h.ends[0], netip.AddrPortFrom(cluster, 80)},
		{"outside to node port", outside, netip.AddrPortFrom(node.Address(h.is4()), 30080)},
		{outPath, h.ends[0], echo(outside)},
	}
	return nil
}

// Names of paths.
const (
	nearPath = "pod to pod, one node"
	farPath  = "pod to pod, two nodes"
	outPath  = "pod to outside"
)

// finding is what a probe found on a path.
type finding struct {
	path, kind string
	traffic.Report
}

// Kinds of probes: long-lived sockets, and a new one for each request.
const (
	datagrams = "udp"
	streams   = "tcp"
	exchanges = "new udp"
	connects  = "new tcp"
)

// probe sends over all paths in all ways until stop is called.
func (h *harness) probe() (stop func() []finding, err error) {
	type running struct {
		finding
		probe *traffic.Probe
	}
	var all []running
	interval := time.Second / time.Duration(run.rate)
	for _, p := range h.paths {
		if err := eventually(h.ctx, patience, func() error { return h.works(p) }); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		for kind, start := range map[string]func(context.Context, traffic.Place, netip.AddrPort, time.Duration) (*traffic.Probe, error){
			datagrams: traffic.Datagrams, streams: traffic.Stream, exchanges: traffic.Exchanges, connects: traffic.Connects,
		} {
			probe, err := start(h.ctx, p.from, p.to, interval)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", p.name, kind, err)
			}
			all = append(all, running{finding{path: p.name, kind: kind}, probe})
		}
	}
	return func() []finding {
		out := make([]finding, len(all))
		var wg sync.WaitGroup
		for i, r := range all {
			wg.Go(func() {
				r.Report = r.probe.Stop()
				out[i] = r.finding
			})
		}
		wg.Wait()
		return out
	}, nil
}

// works tries a path once over each protocol.
func (h *harness) works(p path) error {
	for _, network := range []string{"udp", "tcp"} {
		ctx, cancel := context.WithTimeout(h.ctx, time.Second)
		err := traffic.EchoOnce(ctx, p.from, network, p.to, 64)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// healthy waits until everything runs, databases, master and agents are ready, and Kubernetes says so of the nodes.
func (h *harness) healthy(ctx context.Context) error {
	return eventually(ctx, patience, func() error {
		for _, m := range append([]string{plan.ControlPlane}, h.Nodes()...) {
			list, err := h.Components(ctx, m)
			if err != nil {
				return err
			}
			for _, c := range list {
				if c.State != supervise.StateRunning {
					return fmt.Errorf("%s on %s is %s (%s)", c.Name, m, c.State, c.Detail)
				}
			}
		}
		if _, err := h.leader(ctx); err != nil {
			return err
		}
		errs := []error{h.readyz(ctx, plan.ControlPlane, plan.MasterHealth), h.readyz(ctx, plan.ControlPlane, plan.StandbyHealth)}
		for _, n := range h.Nodes() {
			errs = append(errs, h.readyz(ctx, n, plan.AgentHealth))
		}
		if h.clustered {
			for _, d := range rafts() {
				errs = append(errs, d.healthy(ctx, h))
			}
			errs = append(errs, h.readyz(ctx, plan.ControlPlane, plan.RelayHealth))
		}
		return errors.Join(append(errs, h.nodesReady(ctx))...)
	})
}

func (h *harness) nodesReady(ctx context.Context) error {
	for _, name := range h.Nodes() {
		node, err := h.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		}) {
			return fmt.Errorf("node %s is not ready", name)
		}
	}
	return nil
}

// leader is the component that holds the masters' Lease.
func (h *harness) leader(ctx context.Context) (string, error) {
	lease, err := h.client.CoordinationV1().Leases("kube-system").Get(ctx, "ovn-kubernetes-master", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	switch holder := lease.Spec.HolderIdentity; {
	case holder == nil || *holder == "":
		return "", errors.New("nobody leads")
	case *holder == plan.ControlPlane:
		return plan.Master, nil
	}
	return plan.StandbyMaster, nil
}

// readyz asks the health server of a master or an agent.
func (h *harness) readyz(ctx context.Context, machine string, port uint16) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	place, err := places.Machine(h.Lab, machine)
	if err != nil {
		return err
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return nil, err
		}
		return place.Dial(ctx, network, to)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", port), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s on %s, port %d", resp.Status, machine, port)
	}
	return nil
}

// ready waits until a pod is ready.
func (h *harness) ready(ctx context.Context, name string) (pod *corev1.Pod, err error) {
	err = eventually(ctx, patience, func() error {
		var err error
		if pod, err = h.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !isReady(pod) {
			return fmt.Errorf("pod %s is %s and not ready", name, pod.Status.Phase)
		}
		return nil
	})
	return pod, err
}

func isReady(pod *corev1.Pod) bool {
	return len(pod.Status.PodIPs) > 0 && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// eventually tries until fn says that nothing is wrong.
func eventually(ctx context.Context, limit time.Duration, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still wrong after %v: %w", limit, err)
		case <-time.After(pollEach):
		}
	}
}
