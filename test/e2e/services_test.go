//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// servicePort is what the tests' services listen at; their targets are the test program's ports.
const servicePort = 80

// enough requests that each of three backends gets one but for a chance of one in 30,000.
const enough = 30

// labelled gives a pod a label of its own, so that services select it.
func labelled(value string) podOption { return func(p *corev1.Pod) { p.Labels["service"] = value } }

// newService describes a service of all protocols of the test program, in all families of the lab.
func (e *env) newService(name string, edits ...func(*corev1.Service)) *corev1.Service {
	dual := corev1.IPFamilyPolicyPreferDualStack
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"service": name}, IPFamilyPolicy: &dual,
			Ports: []corev1.ServicePort{
				{Name: tcp, Protocol: corev1.ProtocolTCP, Port: servicePort, TargetPort: intstr.FromInt32(httpPort)},
				{Name: udp, Protocol: corev1.ProtocolUDP, Port: servicePort, TargetPort: intstr.FromInt32(udpPort)},
			},
		},
	}
	for _, edit := range edits {
		edit(s)
	}
	return s
}

// service creates a service and returns it with what the API server has added.
func (e *env) service(name string, edits ...func(*corev1.Service)) *corev1.Service {
	e.Helper()
	s, err := e.client.CoreV1().Services(e.ns).Create(e.ctx, e.newService(name, edits...), metav1.CreateOptions{})
	e.must(err)
	if want := len(e.families()); s.Spec.ClusterIP != corev1.ClusterIPNone && len(s.Spec.ClusterIPs) != want {
		e.Fatalf("service %s has addresses %v, want %d", name, s.Spec.ClusterIPs, want)
	}
	return s
}

// clusterIP returns a service's address of a family.
func clusterIP(s *corev1.Service, is4 bool) netip.Addr {
	for _, text := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(text); err == nil && a.Is4() == is4 {
			return a
		}
	}
	return netip.Addr{}
}

// askName asks a server of the test program for its pod's name, over a connection of its own.
func askName(ctx context.Context, from traffic.Place, proto string, at netip.AddrPort) (string, error) {
	return askNameWithin(ctx, time.Second, from, proto, at)
}

// answerTime lets TCP send its first packet again, after one second and after three: Open vSwitch 3.1's userspace datapath may, rarely, translate a connection
// to a port that the server has not forgotten yet. Who needs it is told. Datagrams are sent once.
const answerTime = 4 * time.Second

// mustAnswer is askName for what has to answer.
func (e *env) mustAnswer(from traffic.Place, proto string, at netip.AddrPort) (string, error) {
	e.Helper()
	began := time.Now()
	name, err := askNameWithin(e.ctx, answerTime, from, proto, at)
	if took := time.Since(began); err == nil && took > time.Second {
		e.measured("%s → %s over %s was answered after %v", from, at, proto, took.Round(time.Millisecond))
	}
	return name, err
}

func askNameWithin(ctx context.Context, limit time.Duration, from traffic.Place, proto string, at netip.AddrPort) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var name string
	var err error
	if proto == tcp {
		name, err = httpGet(ctx, from, at, "/hostname")
	} else {
		name, err = traffic.Ask(ctx, from, proto, at, "hostname")
	}
	return strings.TrimSpace(name), err
}

// answered is who answered how often.
type answered map[string]int

func (a answered) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		parts = append(parts, fmt.Sprintf("%s %d×", name, a[name]))
	}
	return strings.Join(parts, ", ")
}

// askMany waits until the first request is answered, then sends n, none of which may fail.
func (e *env) askMany(from traffic.Place, proto string, at netip.AddrPort, n int) answered {
	e.Helper()
	e.firstAnswer(from, proto, at)
	out, failed := e.askAtOnce(from, proto, at, n)
	if few := max(1, n/5); len(failed) > 0 && len(failed) <= few && e.mayForget(proto) {
		e.measured("%s → %s over %s: %d of %d: %v; once more", from, at, proto, len(failed), n, failed[0])
		for range failed {
			out[e.firstAnswer(from, proto, at)]++
		}
		failed = nil
	}
	if len(failed) > 0 {
		e.Errorf("%s → %s over %s, beside %s: %d without an answer: %v", from, at, proto, out, len(failed), failed[0])
	}
	return out
}

// firstAnswer asks until somebody answers, and returns who.
func (e *env) firstAnswer(from traffic.Place, proto string, at netip.AddrPort) (name string) {
	e.Helper()
	e.settled(func() (err error) {
		if name, err = askName(e.ctx, from, proto, at); err != nil {
			return fmt.Errorf("%s gets no answer at %s over %s: %w", from, at, proto, err)
		}
		return nil
	})
	return name
}

// clients ask at the same time: where each answer takes long, all do not take as much longer.
const clients = 10

// askAtOnce sends n requests and returns who answered, and the errors of the others.
func (e *env) askAtOnce(from traffic.Place, proto string, at netip.AddrPort, n int) (answered, []error) {
	e.Helper()
	var mu sync.Mutex
	out, failed := answered{}, []error(nil)
	var g errgroup.Group
	g.SetLimit(clients)
	for range n {
		g.Go(func() error {
			name, err := e.mustAnswer(from, proto, at)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
			} else {
				out[name]++
			}
			return nil
		})
	}
	_ = g.Wait()
	return out, failed
}

// mayForget: the userspace datapath forgets a closed connection after 45 s, Linux after 60: a new one that a gateway router translates to the same port may meet
// a server that takes it for the former, and stay without an answer. Ports to one destination follow each other, so where one meets a former one the next may, too.
func (e *env) mayForget(proto string) bool { return proto == tcp && e.userspace(e.Nodes()[0]) }

// mustSpread wants every one of backends, and nobody else, to answer at an address.
func (e *env) mustSpread(from traffic.Place, proto string, at netip.AddrPort, backends ...string) {
	e.Helper()
	got := e.askMany(from, proto, at, enough)
	slices.Sort(backends)
	if who := slices.Sorted(maps.Keys(got)); !slices.Equal(who, backends) {
		e.Errorf("%s → %s over %s was answered by %s, want each of %v", from, at, proto, got, backends)
	}
}

// mustBeRefused wants a connection to be refused at once, not to be left without an answer.
func (e *env) mustBeRefused(from traffic.Place, proto string, at netip.AddrPort) {
	e.Helper()
	took := e.settled(func() error {
		began := time.Now()
		name, err := askName(e.ctx, from, proto, at)
		if err == nil {
			return fmt.Errorf("%s → %s over %s was answered by %s", from, at, proto, name)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("%s → %s over %s: %w after %v, want it refused at once", from, at, proto, err, time.Since(began).Round(time.Millisecond))
		}
		return nil
	})
	if took > 100*time.Millisecond {
		e.measured("%s → %s over %s: refused after %v", from, at, proto, took.Round(time.Millisecond))
	}
}

// eachProtocol calls f for each family of the lab and protocol of the test program.
func (e *env) eachProtocol(s *corev1.Service, f func(at netip.AddrPort, proto string)) {
	for _, is4 := range e.families() {
		for _, proto := range []string{tcp, udp} {
			f(port(clusterIP(s, is4), servicePort), proto)
		}
	}
}

// testServices covers what a pod expects of services.
func testServices(e *env) {
	var backends []string
	var pods []*corev1.Pod
	for i, n := range e.Nodes() {
		backends = append(backends, fmt.Sprintf("backend-%d", i))
		pods = append(pods, newPod(e.ns, backends[i], onNode(n), labelled("spread"), namedPorts))
	}
	pods = append(pods, newPod(e.ns, "near", onNode(e.Nodes()[0])), newPod(e.ns, "loner", onNode(e.Nodes()[1]), labelled("loner")),
		newPod(e.ns, "in-host", onNode(e.Nodes()[1]), hostNetwork, labelled("host")))
	places := e.startAll(pods...)
	fixture := serviceCheck{near: places[len(backends)], loner: places[len(backends)+1], backends: backends}
	for _, n := range e.Nodes() {
		e.acquaint([]traffic.Place{fixture.near, fixture.loner}, e.machine(n))
	}
	bind := func(e *env) serviceCheck { fixture.env = e; return fixture }
	runParts(e, bind, []part[serviceCheck]{
		{"ClusterIP", serviceCheck.clusterIP},
		{"NamedPort", serviceCheck.namedPort},
		{"NoEndpoints", serviceCheck.noEndpoints},
		{"Affinity", serviceCheck.affinity},
		{"Hairpin", serviceCheck.hairpin},
		{"HostEndpoints", serviceCheck.hostEndpoints},
		{"APIServer", serviceCheck.apiServer},
		{"InternalTrafficLocal", serviceCheck.internalTrafficLocal},
		{"PortChanges", serviceCheck.portChanges},
		{"EndpointLeaves", serviceCheck.endpointLeaves},
	})
}

// part of a scenario, with what its parts have in common.
type part[C any] struct {
	name string
	run  func(C)
}

// runParts runs the parts one after the other, each bound to an env of its own.
func runParts[C any](e *env, bind func(*env) C, parts []part[C]) {
	for _, p := range parts {
		e.part(p.name, func(e *env) { p.run(bind(e)) })
	}
}

// namedPorts gives the test program's ports the names that services may use.
func namedPorts(p *corev1.Pod) {
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{
		{Name: "web", Protocol: corev1.ProtocolTCP, ContainerPort: httpPort},
		{Name: "datagrams", Protocol: corev1.ProtocolUDP, ContainerPort: udpPort},
	}
}

// serviceCheck is what the parts of testServices have in common.
type serviceCheck struct {
	*env
	// near is a pod beside the first backend, loner one that is the only backend of its service, on the second node.
	near, loner traffic.Place
	backends    []string
}

// spread selects the backends.
func spread(s *corev1.Service) { s.Spec.Selector = map[string]string{"service": "spread"} }

func (c serviceCheck) clusterIP() {
	s := c.service("spread")
	for _, from := range []traffic.Place{c.near, c.loner} {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(from, proto, at, c.backends...) })
	}
}

func (c serviceCheck) namedPort() {
	s := c.service("named", spread, func(s *corev1.Service) {
		s.Spec.Ports[0].TargetPort, s.Spec.Ports[1].TargetPort = intstr.FromString("web"), intstr.FromString("datagrams")
	})
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(c.near, proto, at, c.backends...) })
}

func (c serviceCheck) noEndpoints() {
	s := c.service("nobody")
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustBeRefused(c.near, proto, at) })
}

func (c serviceCheck) affinity() {
	s := c.service("sticky", spread, func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP })
	c.eachProtocol(s, func(at netip.AddrPort, proto string) {
		if got := c.askMany(c.near, proto, at, enough); len(got) > 1 {
			c.Errorf("%s with ClientIP affinity was answered over %s by %s", at, proto, got)
		}
	})
}

func (c serviceCheck) hairpin() {
	s := c.service("loner")
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(c.loner, proto, at, "loner") })
}

func (c serviceCheck) hostEndpoints() {
	s := c.service("host", func(s *corev1.Service) {
		s.Spec.Ports[0].TargetPort, s.Spec.Ports[1].TargetPort = intstr.FromInt32(hostHTTPPort), intstr.FromInt32(hostUDPPort)
	})
	for _, from := range []traffic.Place{c.near, c.loner} {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(from, proto, at, c.Nodes()[1]) })
	}
}

// apiServer is a service without selector, whose endpoints are in no pod's network.
func (c serviceCheck) apiServer() {
	s, err := c.client.CoreV1().Services(metav1.NamespaceDefault).Get(c.ctx, "kubernetes", metav1.GetOptions{})
	c.must(err)
	for _, text := range s.Spec.ClusterIPs {
		a, err := netip.ParseAddr(text)
		c.must(err)
		c.eventually(func() error {
			ctx, cancel := context.WithTimeout(c.ctx, time.Second)
			defer cancel()
			conn, err := c.near.Dial(ctx, "tcp", port(a, 443))
			if err != nil {
				return fmt.Errorf("a pod does not reach the API server at %s: %w", a, err)
			}
			return conn.Close()
		})
	}
}

// internalTrafficLocal: only backends on the client's node, and no answer at all where there is none.
func (c serviceCheck) internalTrafficLocal() {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s := c.service("internal", spread, func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local })
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(c.near, proto, at, c.backends[0]) })
	alone := c.service("alone", func(s *corev1.Service) {
		s.Spec.InternalTrafficPolicy, s.Spec.Selector = &local, map[string]string{"service": "loner"}
	})
	c.eachProtocol(alone, func(at netip.AddrPort, proto string) {
		c.mustSpread(c.loner, proto, at, "loner")
		if name, err := askName(c.ctx, c.near, proto, at); err == nil {
			c.Errorf("%s → %s over %s: answered by %s on another node", c.near, at, proto, name)
		}
	})
}

// portChanges: a changed port answers, and the old one no longer does.
func (c serviceCheck) portChanges() {
	s := c.service("moving", spread)
	const newPort = 81
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.askMany(c.near, proto, at, 1) })
	s.Spec.Ports[0].Port, s.Spec.Ports[1].Port = newPort, newPort
	_, err := c.client.CoreV1().Services(c.ns).Update(c.ctx, s, metav1.UpdateOptions{})
	c.must(err)
	c.eachProtocol(s, func(at netip.AddrPort, proto string) {
		c.mustSpread(c.near, proto, port(at.Addr(), newPort), c.backends...)
		if name, err := askName(c.ctx, c.near, proto, at); err == nil {
			c.Errorf("%s still answers over %s: %s", at, proto, name)
		}
	})
}

// endpointLeaves: a second after a backend has lost the label it gets no new connection, and none fails; but a datagram's answer
// that is under way when a node forgets the connections to the backend is lost, and each node does so at its own time.
func (c serviceCheck) endpointLeaves() {
	s := c.service("leaving", spread)
	c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.mustSpread(c.near, proto, at, c.backends...) })
	leaver := c.backends[len(c.backends)-1]
	patch := []byte(`{"metadata":{"labels":{"service":"none"}}}`)
	_, err := c.client.CoreV1().Pods(c.ns).Patch(c.ctx, leaver, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	c.must(err)
	c.watchLeaver(s, leaver, time.Now())
}

// watchLeaver asks for two seconds; leaver may answer in the first.
func (c serviceCheck) watchLeaver(s *corev1.Service, leaver string, left time.Time) {
	var last time.Duration
	lost := map[netip.AddrPort]int{}
	for time.Since(left) < 2*time.Second {
		c.eachProtocol(s, func(at netip.AddrPort, proto string) {
			asked := time.Since(left)
			name, err := c.mustAnswer(c.near, proto, at)
			switch {
			case err != nil && proto == udp && lost[at] < len(c.Nodes()):
				lost[at]++
			case err != nil:
				c.Errorf("while an endpoint leaves, %s → %s over %s: %v", c.near, at, proto, err)
			case name == leaver:
				last = asked
			}
		})
	}
	c.measured("an endpoint that left got its last new connection after %v", last.Round(time.Millisecond))
	if last > time.Second {
		c.Errorf("%s got a new connection %v after it had left the service, want a second at most", leaver, last)
	}
}
