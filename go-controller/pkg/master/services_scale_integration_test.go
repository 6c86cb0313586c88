//go:build integration

package master

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// newManyNodes is a running master with nodes that have gateway routers.
func newManyNodes(t *testing.T, nodes int) *live {
	klog.SetOutput(discard{})
	klog.LogToStderr(false)
	l := newLive(t)
	for i := range nodes {
		name, address := fmt.Sprintf("n%d", i), fmt.Sprintf("172.18.1.%d", i+10)
		l.gatewayNode(name, address)
		l.annotateNode(name, map[string]string{names.HostCIDRsAnnotation: fmt.Sprintf(`["%s/24"]`, address)})
	}
	l.run()
	l.await("nodes are served", l.quiet)
	return l
}

// Transactions for many services do not grow with services or nodes, and a change costs one row, whatever there is.
func TestManyServices(t *testing.T) {
	l := newManyNodes(t, 50)
	const services = 500
	before, start := l.nb.Transactions(), time.Now()
	for i := range services {
		l.do(func() {
			l.putEndpoints(fmt.Sprintf("s%d", i), fmt.Sprintf("10.128.0.%d@n0", i%250), fmt.Sprintf("10.128.2.%d@n1", i%250))
			l.putService(fmt.Sprintf("s%d", i), fmt.Sprintf("172.30.%d.%d", 1+i/250, i%250), func(s *kube.Service) {
				s.Ports[0].NodePort = uint16(30000 + i)
			})
		})
	}
	rows := func() int { return len(strings.Fields(l.nb.Ctl("--bare", "--columns=name", "list", "Load_Balancer"))) }
	l.await("services are served", func() bool { return l.quiet() && rows() == 2*services })
	t.Logf("%d services on 50 nodes: %d transactions, %d rows, %s", services, l.nb.Transactions()-before, rows(), time.Since(start).Round(time.Millisecond))
	if n := l.nb.Transactions() - before; n > 30 {
		t.Errorf("%d transactions, want at most 30", n)
	}
	if of := l.nb.Ctl("--bare", "--columns=load_balancer", "list", "Logical_Switch", "n7") + l.nb.Ctl("--bare", "--columns=load_balancer", "list", "Logical_Router", "GR_n7"); strings.TrimSpace(of) != "" {
		t.Errorf("services that are the same on all nodes are in the rows of a node: %s", of)
	}

	var latencies []time.Duration
	for i := range 30 {
		latencies = append(latencies, l.change(fmt.Sprintf("s%d", i), fmt.Sprintf("10.128.0.%d@n0", i)))
	}
	slices.Sort(latencies)
	t.Logf("endpoint change to commit: p50 %s, slowest %s", latencies[15], latencies[29])
}

// change sets a service's endpoints and returns how long it took until the database had them.
func (l *live) change(name string, endpoints ...string) time.Duration {
	owner := serviceOwner("ns/" + name)
	before, start := l.engine.store.Generation(owner), time.Now()
	l.do(func() { l.putEndpoints(name, endpoints...) })
	p := &l.engine.progress
	for {
		changed := l.engine.store.Generation(owner) != before
		p.mu.Lock()
		_, due := p.due[owner]
		p.mu.Unlock()
		if changed && !due {
			return time.Since(start)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// No endpoint of a large service is left out, and one more is one more change of one row.
func TestManyEndpoints(t *testing.T) {
	l := newManyNodes(t, 2)
	endpoints := make([]string, 5000)
	address := netip.MustParseAddr("10.128.4.5")
	for i := range endpoints {
		endpoints[i] = address.String() + "@n0"
		address = address.Next()
	}
	l.do(func() { l.putService("large", "172.30.0.9") })
	l.await("the service is served", func() bool { return l.engine.store.Generation(serviceOwner("ns/large")) != 0 && l.quiet() })
	first := l.change("large", endpoints[:4999]...)
	before := l.nb.Transactions()
	second := l.change("large", endpoints...)
	t.Logf("4,999 endpoints took %s, one more %s", first, second)
	if n := l.nb.Transactions() - before; n != 1 {
		t.Errorf("one more endpoint made %d transactions", n)
	}
	vips := l.nb.Ctl("--bare", "--columns=vips", "find", "Load_Balancer", "name=Service_ns/large_TCP_cluster")
	if n := strings.Count(vips, ":8080"); n != len(endpoints) {
		t.Errorf("%d endpoints in the database, want %d", n, len(endpoints))
	}
}
