//go:build integration

package master

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ipam"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// live is a master's engine, reconciler and janitor against real databases; only the API server is a fake.
type live struct {
	*harness
	t      *testing.T
	nb, sb *ovsdbtest.Server
	mu     sync.Mutex // of the harness' fake API server
	stop   func()
	noSNAT []netip.Prefix
}

func newLive(t *testing.T) *live {
	l := &live{t: t, nb: ovsdbtest.Start(t, ovsdbtest.NB()), sb: ovsdbtest.Start(t, ovsdbtest.SB())}
	l.harness = newHarness(t, "10.128.0.0/14/23", "fd01::/48/64")
	return l
}

// PatchPod and PatchNode serialize the many workers of the annotator.
func (l *live) PatchPod(ctx context.Context, ref kube.Ref, set map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.harness.PatchPod(ctx, ref, set)
}

func (l *live) PatchNode(ctx context.Context, ref kube.Ref, set map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.harness.PatchNode(ctx, ref, set)
}

// do changes the fake API server.
func (l *live) do(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *live) Warn(about kube.Ref, reason, message string) {
	l.t.Logf("%s %s %s", reason, about, message)
}

// run starts a master; stop of the former must have been called.
func (l *live) run() {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	options, err := nbsync.ConnectOptions([]string{l.nb.Endpoint()}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	nb, err := ovsdb.Connect(ctx, options)
	if err != nil {
		l.t.Fatal(err)
	}
	m := newMetrics(nil)
	j := newJanitor(config.Database{Endpoints: []string{l.sb.Endpoint()}}, l.nodes, m, always)
	n := network{
		join:   []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("fd98::/64")},
		noSNAT: l.noSNAT, mtu: 1400, nodePorts: true, serviceCIDRs: testServiceCIDRs(),
	}
	for _, p := range l.pools {
		n.pools = append(n.pools, ipam.Pool(p))
	}
	listening := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := operate(ctx, nb, n, deps{
			nodes: l.nodes, pods: l.pods, services: l.services, slices: l.slices, serviceCIDRs: l.serviceCIDRs, policies: l.policies, namespaces: l.namespaces,
			patcher: l, events: l, metrics: m, nodeGone: j.nodeGone, whileHeld: always,
		}, operation{
			sync:   nbsync.Options{Fence: "test"},
			listen: func(e *engine) { l.do(func() { l.engine = e }); close(listening) },
		})
		if ctx.Err() == nil {
			l.t.Errorf("operate: %v", err)
		}
	})
	wg.Go(func() {
		if err := j.run(ctx); err != nil {
			l.t.Errorf("janitor: %v", err)
		}
	})
	<-listening
	var once sync.Once
	l.stop = func() { once.Do(func() { cancel(); wg.Wait(); nb.Close(); l.do(func() { l.engine = nil }) }) }
	l.t.Cleanup(l.stop)
}

// takeOver has a new leader take over from the one that the record names, until it is about to read the rows. It returns what the record was then.
func (l *live) takeOver(whileHeld permission) string {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	options, err := nbsync.ConnectOptions([]string{l.nb.Endpoint()}, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	nb, err := ovsdb.Connect(ctx, options)
	if err != nil {
		l.t.Fatal(err)
	}
	defer nb.Close()
	record := ""
	d := deps{nodes: l.nodes, pods: l.pods, patcher: l, events: l, metrics: newMetrics(nil), whileHeld: whileHeld}
	n := network{join: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")}}
	err = operate(ctx, nb, n, d, operation{
		sync: nbsync.Options{Fence: "new"},
		// Called just before the rows are read.
		listen: func(*engine) { record = l.record(); cancel() },
	})
	if err != nil {
		l.t.Errorf("operate: %v", err)
	}
	return record
}

func (l *live) record() string { return l.nb.Ctl("get", "NB_Global", ".", "external_ids") }

// A former leader that still writes after the rows were read could give away addresses that are then given away again.
func TestFormerLeaderIsFencedBeforeRowsAreRead(t *testing.T) {
	l := newLive(t)
	l.nb.Ctl("init")
	l.nb.Ctl("set", "NB_Global", ".", `external_ids:"k8s.ovn.org/leader"=former`)
	if record := l.takeOver(always); !strings.Contains(record, "new") {
		t.Errorf("when the rows were read the leader record was %s, want it to name the new leader", record)
	}
}

// A leader that was suspended before it came to work must not depose the one that leads by now.
func TestOnlyTheHolderOfTheLeaseTakesTheRecord(t *testing.T) {
	l := newLive(t)
	l.nb.Ctl("init")
	l.nb.Ctl("set", "NB_Global", ".", `external_ids:"k8s.ovn.org/leader"=other`)
	suspended := ""
	record := l.takeOver(func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		suspended = l.record()
		return always(ctx)
	})
	if !strings.Contains(suspended, "other") || !strings.Contains(record, "new") {
		t.Errorf("while the Lease was not held the leader record was %q, afterwards %q", suspended, record)
	}
}

// await waits until what is wanted has come true.
func (l *live) await(what string, yes func() bool) {
	l.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !yes() {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within 60 s\n%s", what, l.nb.Dump())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// quiet tells whether every write was answered.
func (l *live) quiet() bool {
	p := &l.engine.progress
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settled && len(p.due) == 0
}

func (l *live) address(pod string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addressOf(pod)
}

func (l *live) ports() int {
	return len(strings.Fields(l.nb.Ctl("--bare", "--columns=name", "find", "Logical_Switch_Port", "external_ids:pod=true")))
}

func TestAgainstRealDatabases(t *testing.T) {
	l := newLive(t)
	l.nb.Ctl("ls-add", "foreign", "--", "lsp-add", "foreign", "foreign-port", "--", "lr-add", "foreign-router")
	for i, node := range []string{"n1", "n2", "n3", "stranger"} {
		l.sb.Ctl("chassis-add", "id-"+node, "geneve", fmt.Sprintf("192.0.2.%d", i+1), "--", "set", "Chassis", "id-"+node, "hostname="+node)
	}
	for i := 1; i <= 3; i++ {
		node := fmt.Sprintf("n%d", i)
		l.addNode(node)
		l.annotateNode(node, map[string]string{
			names.NodeChassisIDAnnotation: "id-" + node,
			names.HostCIDRsAnnotation:     fmt.Sprintf(`["172.18.0.1%d/24","fd00:172:18::1%d/64"]`, i, i),
		})
		for j := range 20 {
			l.addPod(fmt.Sprintf("p%d-%d", i, j), node)
		}
	}
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 60 && l.quiet() })

	l.stop()
	before := l.nb.Transactions()
	l.run()
	l.await("the next master is done", l.quiet)
	if after := l.nb.Transactions(); after != before {
		t.Errorf("a restart over an unchanged cluster made %d transactions", after-before)
	}

	l.do(func() {
		l.nodes.Remove("n3")
		for j := range 20 {
			l.deletePod(fmt.Sprintf("p2-%d", j))
		}
	})
	l.await("ports are gone", func() bool { return l.ports() == 20 && l.quiet() })
	l.await("n3's chassis is gone", func() bool {
		return strings.TrimSpace(l.sb.Ctl("--bare", "--columns=name", "find", "Chassis", "hostname=n3")) == ""
	})
	if got := strings.Fields(l.sb.Ctl("--bare", "--columns=name", "list", "Chassis")); len(got) != 3 {
		t.Errorf("chassis %v, want all but n3's", got)
	}
	l.stop()
	l.do(func() { l.nodes.Remove("n2") }) // While no master looks.
	l.run()
	l.await("n2's rows and chassis are gone", func() bool {
		return l.quiet() && !strings.Contains(l.nb.Ctl("ls-list"), "(n2)") && !strings.Contains(l.sb.Ctl("show"), "id-n2")
	})
	for _, want := range []string{"foreign", "foreign-port", "foreign-router"} {
		if !strings.Contains(l.nb.Ctl("show"), want) {
			t.Errorf("%s of somebody else is gone", want)
		}
	}
}

// What the rows mean is judged by OVN itself.
func TestTopologyTraced(t *testing.T) {
	l := newLive(t)
	ovsdbtest.StartNorthd(t, l.nb, l.sb)
	for i := 1; i <= 2; i++ {
		node := fmt.Sprintf("n%d", i)
		l.sb.Ctl("chassis-add", "id-"+node, "geneve", fmt.Sprintf("192.0.2.%d", i), "--", "set", "Chassis", "id-"+node, "hostname="+node)
		l.addNode(node)
		l.annotateNode(node, map[string]string{
			names.NodeChassisIDAnnotation: "id-" + node,
			names.HostCIDRsAnnotation:     fmt.Sprintf(`["172.18.0.1%d/24","fd00:172:18::1%d/64"]`, i, i),
		})
		l.addPod(fmt.Sprintf("a%d", i), node)
		l.addPod(fmt.Sprintf("b%d", i), node)
	}
	l.run()
	l.await("pods are served", func() bool { return l.ports() == 4 && l.quiet() })
	l.nb.Ctl("--wait=sb", "sync")
	for _, c := range []struct{ what, from, to, want string }{
		{"same node", "a1", "b1", "ns_b1"},
		{"other node", "a1", "a2", "ns_a2"},
		{"own node's host", "a1", "172.18.0.11 fd00:172:18::11", "k8s-n1"},
		{"other node's host", "a1", "172.18.0.12 fd00:172:18::12", "k8s-n1"}, // By way of the own one.
		{"the world", "a2", "192.0.2.200 2001:db8::1", "k8s-n2"},
		{"own management port", "a1", "10.128.0.2 fd01::2", "k8s-n1"},
	} {
		to := c.to
		if strings.HasPrefix(to, "a") || strings.HasPrefix(to, "b") {
			to = l.address(to)
		}
		for _, destination := range strings.Fields(to) {
			if got := l.trace(c.from, destination); got != c.want {
				t.Errorf("%s: %s → %s comes out at %q, want %q", c.what, c.from, destination, got, c.want)
			}
		}
	}
	if got := l.traceFrom("a1", "10.128.0.99", "10.128.2.3"); got != "" {
		t.Errorf("a spoofed source came out at %q", got)
	}
}

// trace sends a packet of a pod and returns the port at which it comes out.
func (l *live) trace(pod, to string) string {
	destination := netip.MustParseAddr(to)
	for _, source := range strings.Fields(l.address(pod)) {
		if netip.MustParseAddr(source).Is4() == destination.Is4() {
			return l.traceFrom(pod, source, to)
		}
	}
	return "no address of that family"
}

func (l *live) traceFrom(pod, source, to string) string {
	l.t.Helper()
	own := strings.Fields(l.address(pod))
	var mac [6]byte
	copy(mac[:], []byte{0x0a, 0x58})
	v4 := netip.MustParseAddr(own[0]).As4()
	copy(mac[2:], v4[:])
	subnet := netip.PrefixFrom(netip.MustParseAddr(own[0]), 23).Masked()
	gateway := subnet.Addr().Next().As4()
	nextMAC := fmt.Sprintf("0a:58:%02x:%02x:%02x:%02x", gateway[0], gateway[1], gateway[2], gateway[3])
	family := "ip6"
	if netip.MustParseAddr(to).Is4() {
		family = "ip4"
	}
	if d := netip.MustParseAddr(to); d.Is4() && subnet.Contains(d) || !d.Is4() && sameV6Subnet(own[1], to) {
		nextMAC = l.macOf(to)
	}
	flow := fmt.Sprintf(`inport=="ns_%s" && eth.src==%02x:%02x:%02x:%02x:%02x:%02x && eth.dst==%s && %s.src==%s && %s.dst==%s && ip.ttl==64 && tcp && tcp.dst==80`,
		pod, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], nextMAC, family, source, family, to)
	out, err := exec.Command("ovn-trace", "--db="+l.sb.Endpoint(), "--no-leader-only", "--minimal", flow).CombinedOutput()
	if err != nil {
		l.t.Fatalf("ovn-trace: %v: %s", err, out)
	}
	at := ""
	for line := range strings.Lines(string(out)) {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), `output("`); ok {
			at, _, _ = strings.Cut(rest, `"`)
		}
	}
	if at == "" {
		l.t.Logf("trace of %s:\n%s", flow, out)
	}
	return at
}

func sameV6Subnet(a, b string) bool {
	return netip.PrefixFrom(netip.MustParseAddr(a), 64).Masked().Contains(netip.MustParseAddr(b))
}

// macOf is the MAC of the port with that address.
func (l *live) macOf(address string) string {
	for line := range strings.Lines(l.nb.Ctl("--bare", "--columns=addresses", "list", "Logical_Switch_Port")) {
		fields := strings.Fields(line)
		for _, f := range fields {
			if f == address {
				return fields[0]
			}
		}
	}
	l.t.Fatalf("no port has %s", address)
	return ""
}
