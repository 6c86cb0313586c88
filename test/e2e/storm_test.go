//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gopacket/gopacket/layers"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// stormLength is how long each flood lasts.
const stormLength = 4 * time.Second

// testStorm lets a pod send at full speed what others, or OVN's controller, have to look at, and measures what that does to others. Pods are started
// meanwhile, and all is well afterwards.
func testStorm(e *env) {
	node := e.Nodes()[0]
	p := e.startAll(newPod(e.ns, "self", onNode(node)), newPod(e.ns, "client", onNode(node)), newPod(e.ns, "near", onNode(node)), newPod(e.ns, "far", onNode(e.Nodes()[1])))
	none := e.service("none", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "nobody"} })
	out, err := p[0].Wire("eth0")
	e.must(err)
	defer out.Close()
	floods := map[string][]byte{}
	for _, is4 := range e.families() {
		self := e.identityOf("self", is4)
		router := liars{env: e, is4: is4}.routerOf(node)
		if is4 {
			b := router.ip.As4()
			b[3] = 250
			floods["ARP requests for nobody"] = arp(self.mac, broadcast, layers.ARPRequest, self, netip.AddrFrom4(b), 0)
			floods["ARP requests for the router"] = arp(self.mac, broadcast, layers.ARPRequest, self, router.ip, 0)
			floods["broadcasts"] = datagram(self, identity{broadcast, netip.MustParseAddr("255.255.255.255")}, 40000, 9, 0)
			floods["datagrams to a service without endpoints"] = datagram(self, identity{router.mac, clusterIP(none, true)}, 40000, servicePort, 0)
		} else {
			floods["solicitations for the router"] = solicitation(self, self.mac, router.ip, 0)
		}
	}
	e.storm(p, out, "nothing", nil)
	for what, frame := range floods {
		e.storm(p, out, what, frame)
		for _, to := range p[2:] {
			e.mustReach(p[1], to, tcp, httpPort)
		}
	}
}

// storm floods with a frame, or not, and reports what that does.
func (e *env) storm(p []traffic.Place, out *traffic.Wire, what string, frame []byte) {
	e.Helper()
	is4 := e.families()[0]
	var probes []*traffic.Probe
	for _, to := range p[2:] {
		probe, err := traffic.Echoes(e.ctx, p[1], to.Address(is4), 10*time.Millisecond)
		e.must(err)
		probes = append(probes, probe)
	}
	node := e.Nodes()[0]
	before := [2]time.Duration{e.busy(node, "ovn-controller"), e.busy(node, "ovs-vswitchd")}
	ctx, cancel := context.WithTimeout(e.ctx, stormLength)
	defer cancel()
	sent, began := 0, time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		for frame != nil && ctx.Err() == nil {
			if out.Send(frame) == nil {
				sent++
			}
		}
		<-ctx.Done()
	})
	name := "fresh-" + strings.ReplaceAll(strings.ToLower(what), " ", "-")
	e.start(name, onNode(node), pausing)
	fresh := time.Since(began)
	wg.Wait()
	e.measured("flood of %s: %d frames in %v; ovn-controller busy %v, ovs-vswitchd %v; a pod was ready after %v", what, sent, stormLength,
		e.busy(node, "ovn-controller")-before[0], e.busy(node, "ovs-vswitchd")-before[1], fresh.Round(time.Millisecond))
	for _, probe := range probes {
		e.measured("  %s", probe.Stop())
	}
	e.delete(name)
}

// busy is the processor time that a daemon of a node has used.
func (e *env) busy(node, daemon string) time.Duration {
	e.Helper()
	stat := e.on(node, "sh", "-c", "cat /proc/$(pgrep -x "+daemon+" | head -1)/stat")
	// proc(5): utime and stime are the 12th and 13th after the name, in hundredths of a second.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	total := 0
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		e.must(err)
		total += n
	}
	return time.Duration(total) * 10 * time.Millisecond
}
