//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/release"
)

// TestHelm is the product as users get it: an image with Debian 13's Open vSwitch and OVN, and a chart, on nodes that run nothing but
// kubelet and containerd.
func TestHelm(t *testing.T) {
	o := labOptions{install: plan.InstallHelm, suffix: "h", nodes: 2}
	if run.full {
		o.nodes = 3 // outside clients need another node beside those with endpoints
	}
	c := bringUp(t, plan.Dual, o)
	st := c.Status(run.context(t))
	measured(t, "image %s: Open vSwitch %s, OVN %s", c.Image(), st.OVS, st.OVN)
	for _, s := range []scenario{
		{name: "OperatorsView", run: testOperatorsView},
		{name: "Reachability", run: testReachability},
		{name: "DNS", run: testDNS},
		{name: "Services", run: testServices},
		{name: "Policies", run: testPoliciesBriefly},
		{name: "Egress", run: testEgress, lengthy: true},
		{name: "ExternalServices", run: testExternalServices, lengthy: true},
		{name: "Spoofing", run: testSpoofing, lengthy: true},
		{name: "StatefulSet", run: testStatefulSet, lengthy: true},
		{name: "Upgrade", run: testHelmUpgrade, lengthy: true},
		{name: "Uninstall", run: testHelmUninstall, lengthy: true},
	} {
		c.runScenario(t, s)
	}
}

// nextTag is the tag of what is upgraded to: the same image under another name, so that all pods are replaced.
const nextTag = "next"

// retag gives the image of the lab another tag on all nodes.
func (e *env) retag(tag string) {
	e.Helper()
	image := e.Image()
	for _, node := range e.Nodes() {
		e.on(node, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, image[:strings.LastIndexByte(image, ':')+1]+tag)
	}
}

// upgradeLimit is how long traffic may stop while Open vSwitch's daemons are replaced: the userspace datapath ends with them.
const upgradeLimit = 15 * time.Second

// testHelmUpgrade replaces all pods under traffic, and goes back: first those of master, databases and nodes, with the pods of Open
// vSwitch as they are, then all.
func testHelmUpgrade(e *env) {
	e.errorsExpected = true
	e.retag(nextTag)
	p := e.pair()
	for _, c := range []struct {
		name    string
		set     []string
		allowed time.Duration
	}{
		{"all but Open vSwitch", []string{"image.tag=" + nextTag, "ovs.image=" + e.Image()}, time.Second},
		{"Open vSwitch, too", []string{"image.tag=" + nextTag}, upgradeLimit},
	} {
		stop := e.probe(p[0], p[1])
		began := time.Now()
		e.installRelease(c.set...)
		e.measured("upgrade of %s took %v", c.name, time.Since(began).Round(100*time.Millisecond))
		e.report("upgrade of "+c.name, stop(), c.allowed)
		stop = e.probe(p[0], p[1])
		began = time.Now()
		e.must(e.Release().Rollback())
		e.must(e.WaitRelease(e.ctx))
		e.measured("rollback of %s took %v", c.name, time.Since(began).Round(100*time.Millisecond))
		e.report("rollback of "+c.name, stop(), c.allowed)
	}
	e.mustReach(e.start("later", onNode(e.Nodes()[1])), p[0], tcp, httpPort)
}

// installRelease installs or upgrades the chart and waits until all pods are ready.
func (e *env) installRelease(set ...string) {
	e.Helper()
	values, err := e.Values(set...)
	e.must(err)
	e.must(e.Release().Install(e.ctx, release.Install{Chart: e.Chart(), Values: values, Wait: true}))
	e.must(e.WaitRelease(e.ctx))
}

// testHelmUninstall removes the product as the guide says, looks for what is left on the nodes, and installs it again.
func testHelmUninstall(e *env) {
	e.errorsExpected = true
	e.installRelease("node.cleanup=true")
	e.must(e.Release().Uninstall())
	e.untilAll(func() (int, string) {
		left := e.seen.podsOf(plan.ReleaseNamespace)
		if len(left) == 0 {
			return 0, ""
		}
		return len(left), "pods of the release are left, such as " + left[0].Name
	})
	for _, node := range e.Nodes() {
		e.nothingLeft(node)
	}
	e.installRelease()
	e.must(e.WaitNodesReady(e.ctx, e.Nodes()...))
	e.mustReach(e.start("near", onNode(e.Nodes()[0])), e.start("far", onNode(e.Nodes()[1])), tcp, httpPort)
}

// nothingLeft wants a node as it was before: its NIC has its addresses and routes, there are no devices, rules, plugin and network
// configuration of the product.
func (e *env) nothingLeft(node string) {
	e.Helper()
	for what, script := range map[string]string{
		"a device":                    "ip -o link | grep -E ' (br-int|br-ex|" + names.ManagementPort + "|genev_sys[^:]*|ovs-netdev)[:@]'",
		"a table of nftables":         "nft list tables | grep -v 'inet ovnlab'",
		"a network configuration":     "ls -A /etc/cni/net.d | grep .",
		"the plugin":                  "ls /opt/cni/bin | grep ovn",
		"a route to pods or services": "{ ip route; ip -6 route; } | grep -E '" + names.ManagementPort + "|br-ex'",
		"a process":                   "pgrep -a 'ovs|ovn'",
	} {
		if out, err := e.Exec(e.ctx, node, "sh", "-c", script); err == nil {
			e.Errorf("%s is left on %s: %s", what, node, out)
		}
	}
	if out := e.on(node, "ip", "-o", "addr", "show", "eth0"); !strings.Contains(out, e.machine(node).Addresses[0].String()) {
		e.Errorf("eth0 of %s lacks its address: %s", node, out)
	}
	if out := e.on(node, "ip", "route", "show", "default"); !strings.Contains(out, "dev eth0") {
		e.Errorf("the default route of %s is %q", node, out)
	}
}
