//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// Sizes of testServiceChurn.
const (
	churnServices = 20
	churnPods     = 50
	// churnSteady pods never leave; of the others churnLeave leave all services in each of churnRounds.
	churnSteady = 10
	churnLeave  = 10
	churnRounds = 4
	// churnPromise is how long after its removal an endpoint may still get something new.
	churnPromise = time.Second
	// churnSlow is what no machine is too slow for.
	churnSlow = 15 * time.Second
)

// inChurn selects the endpoints of all services of testServiceChurn.
const inChurn = "in"

// churn is testServiceChurn in progress.
type churn struct {
	*env
	services []*corev1.Service
	// pods are the names of all endpoints; the first churnSteady never leave.
	pods []string
	// addresses are those of the pods, by name.
	addresses map[string][]netip.Addr
	// nodeOf says where clients are.
	nodeOf map[string]string
	slices interface{ List() []any }

	mu sync.Mutex
	// answers are all that clients got from endpoints, absences when these were away.
	answers  []answer
	absences []absence
	// failures are what clients did not get.
	failures []string
}

// answer is something new that an endpoint got: a connection, or a datagram.
type answer struct {
	// at is before the client sent.
	at    time.Time
	pod   string
	proto string
	what  string
	// flow is nil for what a client sent from a new socket.
	flow *flow
}

// absence is a time in which a pod was no endpoint.
type absence struct {
	pod string
	// removed is when the last EndpointSlice had lost it, known when all nodes had installed that, late when nothing new may reach it any
	// more, until when it was about to return.
	removed, known, late, until time.Time
}

// testServiceChurn: endpoints leave and come back while connections and datagrams go to 20 services with 50 endpoints each. A second after
// every node has learned of a removal nothing new reaches the endpoint, nothing new fails meanwhile, what is there stays, and clients that keep
// sending datagrams to the endpoint are led to others.
//
// What a connection may meet depends on how far a change has got, not on how fast the machine is: the northbound database and all nodes are
// waited for before the promised second begins. The time from the EndpointSlice on is printed.
func testServiceChurn(e *env) {
	c := &churn{env: e, addresses: map[string][]netip.Addr{}}
	clients := c.setUp()
	ctx, stop := context.WithCancel(e.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	flows := c.startTraffic(ctx, &running, clients)
	for round := range churnRounds {
		c.round(round)
	}
	c.allReturned(time.Now())
	stop()
	running.Wait()
	c.judge(flows)
}

// setUp makes services, endpoints and clients, and serves in the endpoints' networks.
func (c *churn) setUp() (clients []traffic.Place) {
	for i := range churnServices {
		c.services = append(c.services, c.service(fmt.Sprintf("churn-%02d", i), func(s *corev1.Service) {
			s.Spec.Selector = map[string]string{"service": inChurn}
		}))
	}
	nodes := c.Nodes()
	pods := []*corev1.Pod{newPod(c.ns, "client-0", onNode(nodes[0]), pausing), newPod(c.ns, "client-1", onNode(nodes[1]), pausing)}
	for i := range churnPods {
		c.pods = append(c.pods, fmt.Sprintf("endpoint-%02d", i))
		pods = append(pods, newPod(c.ns, c.pods[i], onNode(nodes[i%len(nodes)]), pausing, labelled(inChurn)))
	}
	c.create(pods...)
	c.ready(append([]string{"client-0", "client-1"}, c.pods...)...)
	for _, p := range c.places(c.pods...) {
		c.addresses[p.Name] = p.Addresses
		for _, a := range p.Addresses {
			c.serve(p, a)
		}
	}
	c.watchSlices()
	c.eventually(func() error { return c.inSlices(c.pods, true) })
	clients = append(c.places("client-0", "client-1"), c.machine(nodes[len(nodes)-1]))
	c.nodeOf = map[string]string{"client-0": nodes[0], "client-1": nodes[1], clients[2].Name: clients[2].Name}
	for _, from := range clients {
		for _, s := range c.services {
			c.eachProtocol(s, func(at netip.AddrPort, proto string) { c.served(from, proto, at) })
		}
	}
	return clients
}

// served waits until a service answers for the first time.
func (c *churn) served(from traffic.Place, proto string, at netip.AddrPort) {
	c.eventually(func() error {
		_, err := c.ask(c.ctx, from, proto, at)
		return err
	})
}

func (c *churn) watchSlices() {
	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithNamespace(c.ns))
	informer := factory.Discovery().V1().EndpointSlices().Informer()
	life, cancel := context.WithCancel(c.ctx)
	factory.Start(life.Done())
	c.Cleanup(func() { cancel(); factory.Shutdown() })
	for _, ok := range factory.WaitForCacheSync(c.ctx.Done()) {
		if !ok {
			c.Fatal("list EndpointSlices: out of time")
		}
	}
	c.slices = informer.GetStore()
}

// inSlices says what is wrong unless the pods are in all services' slices of all families, or in none.
func (c *churn) inSlices(pods []string, want bool) error {
	found := map[string]int{}
	for _, object := range c.slices.List() {
		for _, endpoint := range object.(*discoveryv1.EndpointSlice).Endpoints {
			found[endpoint.TargetRef.Name]++
		}
	}
	all := 0
	if want {
		all = churnServices * len(c.families())
	}
	for _, p := range pods {
		if found[p] != all {
			return fmt.Errorf("%s is in %d EndpointSlices, want %d", p, found[p], all)
		}
	}
	return nil
}

// label puts pods into the services, or takes them out.
func (c *churn) label(pods []string, value string) {
	c.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"service":%q}}}`, value)
	for _, p := range pods {
		_, err := c.client.CoreV1().Pods(c.ns).Patch(c.ctx, p, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		c.must(err)
	}
}

// round takes pods out of all services, and puts them back when it has been seen long enough who gets connections.
func (c *churn) round(round int) {
	first := churnSteady + round*churnLeave%(churnPods-churnSteady)
	leavers := c.pods[first : first+churnLeave]
	c.label(leavers, "out")
	c.eventually(func() error { return c.inSlices(leavers, false) })
	removed := time.Now()
	c.eventually(func() error { return c.inNorthbound(leavers) })
	committed := time.Since(removed)
	// It returns when all nodes have installed what is in the database.
	c.nb("--timeout=60", "--wait=hv", "sync")
	known := time.Now()
	// Where the nodes were slow to know, Open vSwitch may be as slow to forget its caches: then the machine is busy.
	late := known.Add(max(churnPromise, known.Sub(removed)))
	select {
	case <-c.ctx.Done():
	case <-time.After(time.Until(late.Add(churnPromise))):
	}
	until := time.Now()
	c.label(leavers, inChurn)
	c.eventually(func() error { return c.inSlices(leavers, true) })
	c.explain(leavers, late)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range leavers {
		c.absences = append(c.absences, absence{p, removed, known, late, until})
	}
	c.measured("%d endpoints left %d services: in the northbound database %v after the EndpointSlices, on all nodes after %v", churnLeave,
		churnServices, committed.Round(time.Millisecond), known.Sub(removed).Round(time.Millisecond))
}

// explain shows what Open vSwitch remembers of flows that stay with endpoints that have left.
func (c *churn) explain(leavers []string, late time.Time) {
	c.mu.Lock()
	seen := map[*flow]string{}
	for _, a := range c.answers {
		if a.flow != nil && a.at.After(late) && slices.Contains(leavers, a.pod) {
			seen[a.flow] = a.pod
		}
	}
	c.mu.Unlock()
	for f, pod := range seen {
		out := c.on(f.node, "ovs-appctl", "dpctl/dump-conntrack")
		for line := range strings.Lines(out) {
			if strings.Contains(line, f.service) && strings.HasPrefix(line, udp) {
				c.Logf("%s is with %s: %s", f.name, pod, strings.TrimSpace(line))
			}
		}
	}
}

// inNorthbound finds a load balancer of the services that still has one of the pods.
func (c *churn) inNorthbound(pods []string) error {
	vips := c.nb("--bare", "--columns=vips", "list", "Load_Balancer")
	for _, p := range pods {
		for _, a := range c.addresses[p] {
			// The port keeps one address from being found in another.
			for _, target := range []uint16{httpPort, udpPort} {
				if strings.Contains(vips, port(a, target).String()) {
					return fmt.Errorf("%s (%s) is still in the northbound database", p, a)
				}
			}
		}
	}
	return nil
}

// allReturned waits until every pod gets connections again.
func (c *churn) allReturned(since time.Time) {
	took := c.eventually(func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		missing := map[string]bool{}
		for _, p := range c.pods {
			missing[p] = true
		}
		for _, a := range c.answers {
			if a.at.After(since) {
				delete(missing, a.pod)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%d of %d endpoints have got nothing since they came back", len(missing), churnPods)
		}
		return nil
	})
	c.measured("every endpoint had got something %v after the last had come back", took.Round(time.Millisecond))
}

// departure is that of an endpoint that a client was sending datagrams to.
type departure struct {
	flow *flow
	absence
}

// judgeDepartures wants clients to be led to other endpoints. A datagram on its way through Open vSwitch just when the nodes forget the
// connections to an endpoint may bring back one of them; that must be rare, and is seen as a line of this.
func (c *churn) judgeDepartures(stay map[departure]bool) {
	stayed := 0
	for d, s := range stay {
		if s {
			stayed++
			c.Logf("%s stayed with %s, which had left", d.flow.name, d.pod)
		}
	}
	c.measured("udp: %d of %d flows stayed with an endpoint that left", stayed, len(stay))
	if 4*stayed > len(stay) {
		c.Errorf("%d of %d flows of datagrams stayed with an endpoint that left", stayed, len(stay))
	}
}

// judge looks at everything that clients have seen.
func (c *churn) judge(flows []*flow) {
	for _, f := range flows {
		f.judge(c.env, c.pods[:churnSteady])
	}
	for _, f := range c.failures[:min(10, len(c.failures))] {
		c.Error(f)
	}
	if n := len(c.failures); n > 10 {
		c.Errorf("%d more failures", n-10)
	}
	late := map[string]time.Duration{}
	counted := map[string]int{}
	stay := map[departure]bool{}
	for _, a := range c.answers {
		counted[a.proto]++
		for _, away := range c.absences {
			switch {
			case a.pod != away.pod || !a.at.Before(away.until):
			case a.flow != nil && a.at.After(away.removed.Add(-churnPromise)):
				d := departure{a.flow, away}
				stay[d] = stay[d] || a.at.After(away.late)
			case a.flow == nil && a.at.After(away.removed):
				late[a.proto] = max(late[a.proto], a.at.Sub(away.removed))
				if a.at.After(away.late) {
					c.Errorf("%s reached %s %v after all nodes knew that it had left", a.what, a.pod, a.at.Sub(away.known).Round(time.Millisecond))
				}
			}
		}
	}
	c.judgeDepartures(stay)
	for _, proto := range slices.Sorted(slices.Values([]string{tcp, udp})) {
		c.measured("%s: %d answers; an endpoint that left got its last one %v after the EndpointSlices (promised: %v)", proto, counted[proto],
			late[proto].Round(time.Millisecond), churnPromise)
		if late[proto] > churnSlow {
			c.Errorf("%s: an endpoint still got something new %v after it had left", proto, late[proto])
		}
	}
}
