// Package datapath measures in a lab what connections get: throughput, requests a second over one connection, and new connections a
// second, from pod to pod, through a cluster IP and through a node port, by turns in one run, so that their ratios mean something on a
// machine that is not quiet.
package datapath

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/scale/inlab"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Options say how much to measure.
type Options struct {
	inlab.Options
	// Rounds in which every path has its turn; Turn is how long one measurement takes.
	Rounds int
	Turn   time.Duration
}

// Nodes that the pods are on.
const (
	clientNode = "node1"
	serverNode = "node2"
)

// limit is the least that a service path may be of what pod to pod gets.
const limit = 0.9

// path is a way to the server.
type path struct {
	name string
	from traffic.Place
	// to returns where a port of the server is reached.
	to func(port uint16) netip.AddrPort
	// limited paths have a target; note says what is particular.
	limited bool
	note    string
}

// way is a path to one port of the server.
type way struct {
	from traffic.Place
	at   netip.AddrPort
}

func (p path) way(port uint16) way { return way{from: p.from, at: p.to(port)} }

// kind is something to measure on a path.
type kind struct {
	name string
	unit string
	// port of the server for the n-th turn of all.
	port func(n int) uint16
	// run returns the figure in unit.
	run func(ctx context.Context, w way, turn time.Duration) (float64, error)
	// reference is OVN-Kubernetes' figure for each path.
	reference []string
}

// bench is a measurement in progress.
type bench struct {
	Options
	*inlab.Bench
	servers *servers
	paths   []path
}

// Run measures in a lab of its own.
func Run(ctx context.Context, o Options) (*report.Result, error) {
	o.Nodes = 2
	b := &bench{Options: o}
	defer func() { b.servers.close() }()
	return inlab.Run(ctx, o.Options, func(_ context.Context, in *inlab.Bench) ([]inlab.Phase, error) {
		b.Bench = in
		phases := []inlab.Phase{{Name: "pods and services", Do: b.prepare}}
		for _, k := range b.kinds() {
			phases = append(phases, inlab.Phase{Name: k.name, Do: func(ctx context.Context) error { return b.measure(ctx, k) }})
		}
		return phases, nil
	})
}

func (b *bench) kinds() []kind {
	return []kind{
		{"TCP throughput", report.GbitPerSecond, always(sinkPort), b.throughput, []string{"0.77 Gbit/s", "0.75 Gbit/s"}},
		{"TCP requests, one at a time", report.PerSecond, always(echoPort), b.requests, nil},
		{fmt.Sprintf("new HTTP connections, %d at a time", workers), report.PerSecond, httpPort, b.connections, []string{"4,241/s", "4,142/s"}},
	}
}

func (b *bench) prepare(ctx context.Context) error {
	if err := b.MakeNamespace(ctx); err != nil {
		return err
	}
	client, err := b.StartPod(ctx, "client", clientNode)
	if err != nil {
		return err
	}
	server, err := b.StartPod(ctx, "server", serverNode)
	if err != nil {
		return err
	}
	if b.servers, err = serve(server, b.ports()); err != nil {
		return err
	}
	s, err := b.service(ctx)
	if err != nil {
		return err
	}
	if b.paths, err = b.ways(client, server, s); err != nil {
		return err
	}
	for _, p := range b.paths {
		if err := reachable(ctx, p, b.ports()); err != nil {
			return err
		}
	}
	return nil
}

// ports are those of the servers, and of the service.
func (b *bench) ports() []uint16 {
	all := []uint16{sinkPort, echoPort}
	for n := range b.Rounds * pathCount {
		all = append(all, httpPort(n))
	}
	return all
}

// service has all ports of the server.
func (b *bench) service(ctx context.Context) (*corev1.Service, error) {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: inlab.Namespace, Name: "server"},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Selector: map[string]string{"app": "server"}},
	}
	for _, port := range b.ports() {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: fmt.Sprint("port-", port), Protocol: corev1.ProtocolTCP, Port: int32(port), TargetPort: intstr.FromInt32(int32(port)),
		})
	}
	s, err := b.Client.CoreV1().Services(inlab.Namespace).Create(ctx, s, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("create the service: %w", err)
	}
	return s, nil
}

// pathCount is how many ways there are.
const pathCount = 4

// ways returns the paths; the first is what the others are compared with.
func (b *bench) ways(client, server traffic.Place, s *corev1.Service) ([]path, error) {
	clusterIP, err := netip.ParseAddr(s.Spec.ClusterIP)
	if err != nil {
		return nil, fmt.Errorf("address of the service: %w", err)
	}
	outside, err := b.Machine(plan.Outside)
	if err != nil {
		return nil, err
	}
	at := func(a netip.Addr) func(uint16) netip.AddrPort {
		return func(port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
	}
	out := []path{
		{name: "pod → pod on another node", from: client, to: at(server.Address(true))},
		{name: "pod → ClusterIP, backend on another node", from: client, to: at(clusterIP), limited: true},
	}
	for _, n := range []struct {
		node, name, note string
		limited          bool
	}{
		{serverNode, "outside → NodePort of the backend's node", "", true},
		{clientNode, "outside → NodePort of another node", "every packet crosses the underlay twice", false},
	} {
		node, err := b.Machine(n.node)
		if err != nil {
			return nil, err
		}
		out = append(out, path{name: n.name, from: outside, to: nodePorts(s, node.Address(true)), limited: n.limited, note: n.note})
	}
	return out, nil
}

func nodePorts(s *corev1.Service, node netip.Addr) func(uint16) netip.AddrPort {
	return func(port uint16) netip.AddrPort {
		i := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == int32(port) })
		return netip.AddrPortFrom(node, uint16(s.Spec.Ports[i].NodePort)) //nolint:gosec // a port
	}
}

// reachable waits until all ports answer on a path.
func reachable(ctx context.Context, p path, ports []uint16) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, fmt.Errorf("waited 30 s"))
	defer cancel()
	for _, port := range ports {
		for {
			err := connects(ctx, p, port)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("%s: %s is not reached: %w", p.name, p.to(port), err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func connects(ctx context.Context, p path, port uint16) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := p.from.Dial(ctx, "tcp", p.to(port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// measure lets the paths take turns.
func (b *bench) measure(ctx context.Context, k kind) error {
	values := make([][]float64, len(b.paths))
	for round := range b.Rounds {
		for turn := range b.paths {
			// Nobody is always the first.
			i := (round + turn) % len(b.paths)
			v, err := k.run(ctx, b.paths[i].way(k.port(round*len(b.paths)+i)), b.Turn)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", b.paths[i].name, round+1, err)
			}
			values[i] = append(values[i], v)
		}
	}
	for i, p := range b.paths {
		f := b.Result.Add(k.name+": "+p.name, median(values[i]), k.unit)
		f.Say("median of %d, %s to %s", b.Rounds, report.Amount(slices.Min(values[i]), k.unit), report.Amount(slices.Max(values[i]), k.unit))
		if i < len(k.reference) {
			f.Ref(k.reference[i])
		}
	}
	for i, p := range b.paths[1:] {
		ratios := make([]float64, b.Rounds)
		for r := range ratios {
			ratios[r] = values[i+1][r] / values[0][r]
		}
		f := b.Result.Add(k.name+": "+p.name+" ÷ pod → pod", median(ratios), report.Ratio).Say("%s", p.note)
		if p.limited {
			f.AtLeast(limit)
		}
	}
	return nil
}

// median is the middle one of the values, the lower one of two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
