//go:build integration

package netfilter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	fcache "k8s.io/client-go/tools/cache/testing"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

const (
	limit        = 3 * time.Second
	clusterV4    = "172.30.44.86"
	clusterV6    = "fd02::5"
	podV4        = "10.128.2.7"
	masqueradeV4 = "169.254.169.3"
)

// renderers runs a test with each of them, on hosts of their own.
func renderers(t *testing.T, body func(t *testing.T, name string)) {
	for _, name := range []string{names.NetfilterNFTables, names.NetfilterIPTables} {
		t.Run(name, func(t *testing.T) {
			nodetest.Main(t, func(t *testing.T) {
				plumb(t)
				body(t, name)
			})
		})
	}
}

// plumb adds a management port whose other end stands for OVN, and puts the addresses of services on the host itself.
func plumb(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"ip netns add pods", "ip link add ovn-k8s-mp0 type veth peer name eth0 netns pods",
		"ip link set ovn-k8s-mp0 up", "ip -n pods link set eth0 up", "ip -n pods link set lo up",
		"ip addr add 10.128.2.2/23 dev ovn-k8s-mp0", "ip addr add fd01:0:0:1::2/64 dev ovn-k8s-mp0 nodad",
		"ip -n pods addr add " + podV4 + "/23 dev eth0", "ip -n pods addr add fd01:0:0:1::7/64 dev eth0 nodad",
		"ip -n pods route add default via 10.128.2.2", "ip -n pods route add default via fd01:0:0:1::2",
		"ip addr add " + clusterV4 + "/32 dev lo", "ip addr add " + clusterV6 + "/128 dev lo",
		"ip addr add " + masqueradeV4 + "/32 dev lo",
	} {
		nodetest.Run(t, command)
	}
}

// cluster is an API server's view of services, and a controller that follows it.
type cluster struct {
	t        *testing.T
	services *fcache.FakeControllerSource
	slices   *fcache.FakeControllerSource
	names    map[string]*corev1.Service
	stop     func()
	c        *Controller
}

func start(t *testing.T, setting string, services ...*corev1.Service) *cluster {
	t.Helper()
	out := &cluster{t: t, services: fcache.NewFakeControllerSource(), slices: fcache.NewFakeControllerSource(), names: map[string]*corev1.Service{}}
	for _, s := range services {
		out.put(s)
	}
	serviceMirror, sliceMirror := kube.NewServiceMirror(), kube.NewEndpointSliceMirror()
	out.c = New(Options{
		Services: serviceMirror, Slices: sliceMirror, Index: kube.NewServiceSlices(sliceMirror),
		Facts:  func() (Facts, error) { return testFacts(), nil },
		Choose: func(ctx context.Context) (Renderer, []Renderer, string, error) { return Choose(ctx, setting) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { serviceMirror.Run(ctx, out.services) })
	wg.Go(func() { sliceMirror.Run(ctx, out.slices) })
	wg.Go(func() { out.c.Run(ctx) })
	out.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(out.stop)
	nodetest.Eventually(t, limit, out.c.Loop().Err)
	return out
}

func (c *cluster) put(s *corev1.Service) {
	if c.names[s.Name] == nil {
		c.services.Add(s)
	} else {
		c.services.Modify(s)
	}
	c.names[s.Name] = s
}

func (c *cluster) remove(s *corev1.Service) {
	c.services.Delete(s)
	delete(c.names, s.Name)
}

// endpoint makes the only endpoint of a service.
func (c *cluster) endpoint(service, address, node string, port int32) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: service + "-1"}}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	name, protocol := "p", c.names[service].Spec.Ports[0].Protocol
	slice.Ports = []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}}
	slice.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{address}, NodeName: &node}}
	c.slices.Add(slice)
}

func newService(name string, protocol corev1.Protocol, nodePort int32, edit func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
	s.Spec = corev1.ServiceSpec{
		Type: corev1.ServiceTypeNodePort, ClusterIP: clusterV4, ClusterIPs: []string{clusterV4, clusterV6},
		Ports: []corev1.ServicePort{{Name: "p", Protocol: protocol, Port: 80, NodePort: nodePort, TargetPort: intstr.FromInt32(8080)}},
	}
	if edit != nil {
		edit(s)
	}
	return s
}

// everythingOf lets a service have rules of most kinds.
func everythingOf(s *corev1.ServiceSpec) {
	policy := corev1.ServiceInternalTrafficPolicyLocal
	s.ExternalIPs = []string{"192.0.2.80", "2001:db8::80"}
	s.ExternalTrafficPolicy, s.InternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal, &policy
}

// listen answers each connection or datagram on an address with "name client's address".
func listen(t *testing.T, network, name, address string) {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			buffer := make([]byte, 100)
			for {
				_, from, err := conn.ReadFrom(buffer)
				if err != nil {
					return
				}
				conn.WriteTo([]byte(name+" "+host(from.String())), from)
			}
		}()
		return
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, name+" "+host(conn.RemoteAddr().String()))
			conn.Close()
		}
	}()
}

func host(s string) string { return netip.MustParseAddrPort(s).Addr().String() }

// ask connects from the host and returns the answer.
func ask(network, address string) (string, error) {
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if network == "udp" {
		fmt.Fprint(conn, "?")
		buffer := make([]byte, 100)
		n, err := conn.Read(buffer)
		return string(buffer[:n]), err
	}
	out, err := io.ReadAll(conn)
	return string(out), err
}

// askFrom connects from another network namespace.
func askFrom(namespace, address string) (string, error) {
	at := netip.MustParseAddrPort(address)
	return nodetest.Try(fmt.Sprintf("ip netns exec %s nc -d -w 1 %s %d", namespace, at.Addr(), at.Port()))
}

func answers(t *testing.T, what, want string, try func() (string, error)) {
	t.Helper()
	nodetest.Eventually(t, limit, func() error {
		got, err := try()
		if err != nil || got != want {
			return fmt.Errorf("%s: %q, %w; want %q", what, got, err, want)
		}
		return nil
	})
}

func refused(t *testing.T, what string, try func() (string, error)) {
	t.Helper()
	nodetest.Eventually(t, limit, func() error {
		if got, err := try(); err == nil && got != "" {
			return fmt.Errorf("%s: still answered: %q", what, got)
		}
		return nil
	})
}

// ruleset is all there is of netfilter, without counters, comments and, if so wished, what is ours.
func ruleset(t *testing.T, foreignOnly bool) string {
	t.Helper()
	var out bytes.Buffer
	for _, program := range []string{"iptables-save", "ip6tables-save"} {
		for line := range strings.SplitSeq(nodetest.Run(t, program), "\n") {
			if strings.HasPrefix(line, "-A") && (!foreignOnly || !strings.Contains(line, "OVN-KUBE")) {
				fmt.Fprintln(&out, line)
			}
		}
	}
	for line := range strings.SplitSeq(nodetest.Run(t, "nft list tables"), "\n") {
		if strings.HasPrefix(line, "table inet foreign") || strings.HasPrefix(line, "table inet ovn-kubernetes") && !foreignOnly {
			out.WriteString(nodetest.Run(t, "nft list "+line))
		}
	}
	return out.String()
}

// monitor collects the changes of netfilter while do runs.
func monitor(t *testing.T, do func()) []string {
	t.Helper()
	p := nodetest.Start(t, "stdbuf -oL nft monitor")
	marker := func(n string) {
		nodetest.Eventually(t, limit, func() error { // until it listens
			nodetest.Run(t, "nft add table inet marker"+n)
			nodetest.Run(t, "nft delete table inet marker"+n)
			if !strings.Contains(p.Log(), "delete table inet marker"+n) {
				return fmt.Errorf("the monitor is silent")
			}
			return nil
		})
	}
	marker("1")
	do()
	marker("2")
	p.Kill()
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(p.Log()), "\n"), func(line string) bool {
		return strings.Contains(line, "marker") || strings.HasPrefix(line, "#")
	})
}
