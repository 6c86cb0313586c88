//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// interval between requests of a probe: an outage is known to within it.
const interval = 20 * time.Millisecond

// probe starts everything that pods do with each other: pings, datagrams, a long connection and short ones.
func (e *env) probe(from, to traffic.Place) (stop func() []traffic.Report) {
	e.Helper()
	var probes []*traffic.Probe
	var echoes []*traffic.Echo
	add := func(p *traffic.Probe, err error) {
		e.Helper()
		e.must(err)
		probes = append(probes, p)
	}
	for _, is4 := range e.families() {
		dst := to.Address(is4)
		e.mustReachFamily(from, to, is4, icmp, 0)
		echo, err := traffic.ServeEcho(to, port(dst, 7000))
		e.must(err)
		echoes = append(echoes, echo)
		add(traffic.Echoes(e.ctx, from, dst, interval))
		add(traffic.Datagrams(e.ctx, from, echo.At, interval))
		add(traffic.Stream(e.ctx, from, echo.At, interval))
		add(traffic.Connects(e.ctx, from, echo.At, 5*interval))
	}
	return func() []traffic.Report {
		out := make([]traffic.Report, len(probes))
		var wg sync.WaitGroup
		for i, p := range probes {
			wg.Go(func() { out[i] = p.Stop() })
		}
		wg.Wait()
		for _, echo := range echoes {
			echo.Close()
		}
		return out
	}
}

// victim is a component to kill, and how much traffic that may cost.
type victim struct {
	component string
	// inNode says that it runs on the sender's node, not in the control plane.
	inNode bool
	// outage is the longest time without an answer that is allowed; 0 means that nothing may be lost.
	outage time.Duration
	// errors says that master and agents may log errors: they lose what they are connected to.
	errors bool
}

func testKilled(e *env) {
	e.errorsExpected = true // the parts look themselves
	near, far := e.Nodes()[0], e.Nodes()[1]
	p := e.startAll(newPod(e.ns, "near", onNode(near)), newPod(e.ns, "far", onNode(far)))
	for _, v := range []victim{
		{component: plan.Master},
		{component: plan.Northd},
		{component: plan.NBDB, errors: true},
		{component: plan.SBDB, errors: true},
		{component: plan.NodeAgent, inNode: true},
		{component: plan.Containerd, inNode: true},
		{component: plan.Kubelet, inNode: true},
		// Without its database ovs-vswitchd runs no bridges; with the userspace datapath packets wait, and are lost
		// when that takes too long.
		{component: plan.OVSDB, inNode: true, outage: 8 * time.Second, errors: true},
		// Its flows stay while it starts: it clears them only once it has computed the new ones.
		{component: plan.OVNController, inNode: true, outage: 2 * time.Second, errors: true},
		// With the userspace datapath this is the switch itself, and its devices go with it.
		{component: plan.VSwitchd, inNode: true, outage: 15 * time.Second, errors: true},
	} {
		e.part(v.component, func(e *env) { e.killWhileTalking(v, p[0], p[1], near, far) })
		if e.ctx.Err() != nil {
			return
		}
	}
}

func (e *env) killWhileTalking(v victim, from, to traffic.Place, near, far string) {
	e.Helper()
	machine := plan.ControlPlane
	if v.inNode {
		machine = near
	}
	e.errorsExpected = v.errors
	stop := e.probe(from, to)
	time.Sleep(time.Second)
	killed := time.Now()
	back := e.kill(v.component, machine)
	e.masterReady()
	e.agentReady(near)
	time.Sleep(2 * time.Second)
	reports := stop()
	for _, r := range reports {
		e.measured("%s killed: %s", v.component, r)
		if why := v.judge(r, slowestWithin(reports)); why != "" {
			e.Errorf("%s killed: %s: %s", v.component, why, r)
		}
	}
	healthy := time.Now()
	// Without probes: the userspace datapath may drop a packet while it gets a port.
	names := []string{"near-" + v.component, "far-" + v.component}
	fresh := e.startAll(newPod(e.ns, names[0], onNode(near)), newPod(e.ns, names[1], onNode(far)))
	usable := time.Since(healthy)
	e.mustReach(fresh[0], fresh[1], tcp, httpPort)
	e.mustReach(fresh[1], from, tcp, httpPort)
	e.measured("%s killed: runs again after %v; %v after the kill new pods on both nodes took %v", v.component,
		back.Round(time.Millisecond), healthy.Sub(killed).Round(time.Millisecond), usable.Round(time.Millisecond))
	e.delete(names...)
}

const (
	tcpProbe      = "tcp "
	connectsProbe = tcpProbe + "connects"
)

// slowestWithin is the slowest answer to what nobody sends again: so slow is the machine.
func slowestWithin(reports []traffic.Report) time.Duration {
	var slowest time.Duration
	for _, r := range reports {
		if !strings.HasPrefix(r.Name, tcpProbe) {
			slowest = max(slowest, r.Slowest)
		}
	}
	return slowest
}

// judge says what is wrong with what a probe found, or "". A first packet is sent again after a second (RFC 6298, section 2); where the machine takes half of
// that for an answer, a slow connection says nothing of lost packets. Nor does a time without answers that come later all the same.
func (v victim) judge(r traffic.Report, machine time.Duration) string {
	connects := strings.HasPrefix(r.Name, connectsProbe)
	switch {
	case v.outage == 0 && (r.Lost > 0 || r.Err != nil):
		return "traffic was lost, and must not be"
	case v.outage == 0 && connects && r.Slowest >= time.Second && machine < time.Second/2 && !v.errors:
		return "the first packet of a connection was lost"
	case v.outage > 0 && r.Outage > v.outage+machine:
		return fmt.Sprintf("outage longer than %v", v.outage)
	case v.outage > 0 && r.Err != nil && !connects:
		return "the connection broke"
	}
	return ""
}

func testMasterDown(e *env) {
	start := e.stopped(plan.Master, plan.ControlPlane)
	var list []string
	for i := range 6 {
		list = append(list, fmt.Sprintf("early-%d", i))
		e.create(newPod(e.ns, list[i], onNode(e.Nodes()[i%len(e.Nodes())])))
	}
	time.Sleep(3 * time.Second)
	for _, n := range list {
		if p := e.seen.pod(e.ns, n); p == nil || p.Status.Phase != corev1.PodPending {
			e.Errorf("without a master: %s; want Pending", describeNamed(p, n))
		}
	}
	began := time.Now()
	start()
	e.ready(list...)
	e.measured("%d pods created while the master was down: all ready %v after its start", len(list), time.Since(began).Round(time.Millisecond))
	p := e.places(list...)
	e.mustReach(p[0], p[1], tcp, httpPort)
	e.mustReach(p[0], p[3], tcp, httpPort)
}

func testAgentDown(e *env) {
	node := e.Nodes()[0]
	talker := e.startAll(newPod(e.ns, "old", onNode(node)), newPod(e.ns, "peer", onNode(e.Nodes()[1])))
	stop := e.probe(talker[0], talker[1])
	start := e.stopped(plan.NodeAgent, node)
	e.create(newPod(e.ns, "new", onNode(node)))
	// Long enough for kubelet to have called the plugin, and for a refused call to be in back-off.
	time.Sleep(4 * time.Second)
	if e.notReady([]string{"new"}) == "" {
		e.Error("a pod is ready without an agent")
	}
	for _, r := range stop() {
		e.measured("agent stopped for 4 s: %s", r)
		if r.Lost > 0 || r.Err != nil {
			e.Errorf("an agent that is away costs traffic: %s", r)
		}
	}
	began := time.Now()
	start()
	e.agentReady(node)
	returned := time.Since(began)
	e.ready("new")
	running := time.Since(began)
	e.measured("agent ready %v after its start; a pod created before runs %v after that", returned.Round(time.Millisecond), (running - returned).Round(time.Millisecond))
	e.mustReach(talker[1], e.places("new")[0], tcp, httpPort)
}
