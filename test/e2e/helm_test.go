//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/lab/image"
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
		{name: "KubectlOVN", run: testKubectlOVNThroughPods},
		{name: "Upgrade", run: testHelmUpgrade, lengthy: true},
		{name: "Uninstall", run: testHelmUninstall, lengthy: true},
	} {
		c.runScenario(t, s)
	}
}

// Tags of the image for upgrades: the one to upgrade to, which is the lab's own under another name, so that all pods are replaced, and the
// earlier version's.
const (
	nextTag     = "next"
	previousTag = "previous"
)

// tagged is the name of the product's image with another tag.
func (e *env) tagged(tag string) string {
	return e.Image()[:strings.LastIndexByte(e.Image(), ':')+1] + tag
}

// retag gives an image another name on all nodes.
func (e *env) retag(image, name string) {
	e.Helper()
	for _, node := range e.Nodes() {
		e.on(node, "ctr", "-n", "k8s.io", "images", "tag", "--force", image, name)
	}
}

// digest is that of an image on the first node.
func (e *env) digest(image string) string {
	e.Helper()
	for line := range strings.Lines(e.on(e.Nodes()[0], "ctr", "-n", "k8s.io", "images", "list")) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == image {
			return fields[2]
		}
	}
	e.Fatalf("no image %s", image)
	return ""
}

// version is what can be installed.
type version struct{ chart, image string }

// before is the version that an upgrade begins with: that of the folder -previous, whose image gets to all nodes, or the lab's own.
func (e *env) before() version {
	e.Helper()
	if run.previous == "" {
		return version{e.Chart(), e.Image()}
	}
	archive := filepath.Join(run.previous, "_output/image/ovnkube.tar")
	list, err := image.Names(archive)
	e.must(err)
	e.must(e.LoadImages(e.ctx, archive))
	e.retag(list[0], e.tagged(previousTag))
	e.retag(e.tagged(nextTag), e.Image()) // the archive may have had that name
	if e.digest(e.tagged(previousTag)) == e.digest(e.Image()) {
		e.Fatalf("%s is this version", archive)
	}
	v := version{filepath.Join(run.previous, "dist/helm/ovnkube"), e.tagged(previousTag)}
	e.install(v)
	return v
}

// upgradeLimit is how long traffic may stop while Open vSwitch's daemons are replaced: the userspace datapath ends with them.
const upgradeLimit = 15 * time.Second

// testHelmUpgrade replaces all pods under traffic, and goes back: first those of master, databases and nodes, with the pods of Open
// vSwitch as they are, then all. With -previous what is upgraded, and what it goes back to, is an earlier version.
func testHelmUpgrade(e *env) {
	e.errorsExpected = true
	e.retag(e.Image(), e.tagged(nextTag))
	before, after := e.before(), version{e.Chart(), e.tagged(nextTag)}
	p := e.pair()
	for _, c := range []struct {
		name    string
		set     []string
		allowed time.Duration
	}{
		{"all but Open vSwitch", []string{"ovs.image=" + before.image}, time.Second},
		{"Open vSwitch, too", nil, upgradeLimit},
	} {
		stop := e.probe(p[0], p[1])
		began := time.Now()
		e.install(after, c.set...)
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
	if run.previous != "" {
		e.installRelease()
	}
}

// installRelease installs or upgrades the lab's own version and waits until all pods are ready.
func (e *env) installRelease(set ...string) {
	e.Helper()
	e.install(version{e.Chart(), e.Image()}, set...)
}

// install installs a version, or changes the release to it, and waits until all pods are ready.
func (e *env) install(v version, set ...string) {
	e.Helper()
	colon := strings.LastIndexByte(v.image, ':')
	values, err := e.Values(append([]string{"image.repository=" + v.image[:colon], "image.tag=" + v.image[colon+1:]}, set...)...)
	e.must(err)
	e.must(e.Release().Install(e.ctx, release.Install{Chart: v.chart, Values: values, Wait: true}))
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
	} {
		if out, err := e.Exec(e.ctx, node, "sh", "-c", script); err == nil {
			e.Errorf("%s is left on %s: %s", what, node, out)
		}
	}
	// The container runtime may have called the plugin just before it was removed.
	e.eventually(func() error {
		if out, err := e.Exec(e.ctx, node, "pgrep", "-a", "ovs|ovn"); err == nil {
			return fmt.Errorf("a process is left on %s: %s", node, out)
		}
		return nil
	})
	if out := e.on(node, "ip", "-o", "addr", "show", "eth0"); !strings.Contains(out, e.machine(node).Addresses[0].String()) {
		e.Errorf("eth0 of %s lacks its address: %s", node, out)
	}
	if out := e.on(node, "ip", "route", "show", "default"); !strings.Contains(out, "dev eth0") {
		e.Errorf("the default route of %s is %q", node, out)
	}
}
