//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/test/lab/plan"
	"github.com/ovnkube/ovnkube/test/lab/release"
)

// TestGrowth is a chart's release with one database that gets three, and loses most of them.
func TestGrowth(t *testing.T) {
	if !run.full {
		t.Skip("runs with -full")
	}
	c := bringUp(t, plan.Dual, labOptions{install: plan.InstallHelm, suffix: "g", nodes: 3})
	for _, s := range []scenario{
		{name: "OneToThree", run: testOneToThree},
		{name: "MajorityLost", run: testMajorityLost},
	} {
		c.runScenario(t, s)
	}
}

// databasesAt are the chart's settings for databases at nodes, in that order.
func (e *env) databasesAt(nodes ...string) string {
	e.Helper()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, e.machine(n).Addresses[0].String())
	}
	return "databases.addresses={" + strings.Join(addresses, ",") + "}"
}

// upgradeRelease changes the release and does not wait for its pods.
func (e *env) upgradeRelease(set ...string) error {
	e.Helper()
	values, err := e.Values(set...)
	e.must(err)
	return e.Release().Install(e.ctx, release.Install{Chart: e.Chart(), Values: values})
}

// released runs kubectl in the release's namespace.
func (e *env) released(args ...string) string {
	e.Helper()
	out, err := e.Kubectl(e.ctx, append([]string{"-n", plan.ReleaseNamespace}, args...)...)
	e.must(err)
	return strings.TrimSpace(out)
}

// databasePod is a pod of the databases, by its number or its node.
func (e *env) databasePod(which string) *corev1.Pod {
	for _, p := range e.seen.podsOf(plan.ReleaseNamespace) {
		if strings.HasPrefix(p.Name, "ovnkube-db-") && (p.Name == "ovnkube-db-"+which || p.Spec.NodeName == which) {
			return p
		}
	}
	return nil
}

// databaseRuns waits until the databases on a node are processes that run; ready they need not be.
func (e *env) databaseRuns(node string) {
	e.Helper()
	e.until(func() string {
		p := e.databasePod(node)
		if p == nil {
			return "no pod of the databases on " + node
		}
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running == nil {
				return c.Name + " on " + node + " does not run"
			}
		}
		if len(p.Status.ContainerStatuses) == 0 {
			return p.Name + " has no containers yet"
		}
		return ""
	})
}

type databaseStatus struct {
	ClusterID, Leader string
	Servers           []struct{ Address string }
}

// clusterHas wants both databases to have members at these nodes and no others, and returns the clusters' identities.
func (e *env) clusterHas(nodes ...string) (ids []string) {
	e.Helper()
	var want []string
	for _, n := range nodes {
		want = append(want, e.machine(n).Addresses[0].String())
	}
	slices.Sort(want)
	for kind := range databaseComponents() {
		var s databaseStatus
		e.eventually(func() error {
			out, err := e.Kubectl(e.ctx, "-n", plan.ReleaseNamespace, "exec", "ovnkube-db-0", "-c", kind+"-ovsdb", "--", "ovnkube", "db", "status", kind, "-o", "json")
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(out), &s); err != nil {
				return err
			}
			var got []string
			for _, server := range s.Servers {
				got = append(got, strings.TrimPrefix(server.Address[:strings.LastIndexByte(server.Address, ':')], "ssl:"))
			}
			slices.Sort(got)
			if !slices.Equal(got, want) || s.Leader == "" {
				return fmt.Errorf("%s: leader %q, members %v, want %v", kind, s.Leader, got, want)
			}
			return nil
		})
		ids = append(ids, s.ClusterID)
	}
	return ids
}

// testOneToThree adds two databases to the one there is, by the steps of the guide. Traffic goes on, and what was written stays.
func testOneToThree(e *env) {
	e.errorsExpected = true
	nodes := e.Nodes()
	if err := e.upgradeRelease(e.databasesAt(nodes[1], nodes[0], nodes[2])); err == nil || !strings.Contains(err.Error(), "begin with "+e.machine(nodes[0]).Addresses[0].String()) {
		e.Errorf("the present database is not the first: %v", err)
	}
	p := e.pair()
	e.nb("ls-add", "foreign") // nobody makes it again
	stop := e.probe(p[0], p[1])
	began := time.Now()
	for _, n := range nodes[1:] {
		_, err := e.Kubectl(e.ctx, "label", "node", n, plan.ControlPlaneLabel+"=")
		e.must(err)
	}
	e.must(e.upgradeRelease(e.databasesAt(nodes...)))
	e.databaseRuns(nodes[1])
	e.databaseRuns(nodes[2])
	e.released("delete", "pod", "ovnkube-db-0")
	e.installRelease(e.databasesAt(nodes...)) // waits for what the step before has changed
	e.measured("from one database to three took %v", time.Since(began).Round(100*time.Millisecond))
	e.report("from one database to three", stop(), time.Second)
	e.clusterHas(nodes...)
	e.databasesServe(p[0].Name)
	e.programsAreSeen(nodes)
}

// programsAreSeen wants the metrics by which dead programs of OVN are noticed: all run, one ovn-northd is active.
func (e *env) programsAreSeen(nodes []string) {
	e.Helper()
	e.eventually(func() error {
		counts := map[string]int{}
		for _, n := range nodes {
			for _, port := range []int{plan.MasterHealth, plan.AgentHealth} {
				out, err := e.Exec(e.ctx, n, "curl", "-sf", fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
				if err != nil {
					return err
				}
				for line := range strings.Lines(out) {
					if series, ok := strings.CutSuffix(strings.TrimSpace(line), " 1"); ok && strings.Contains(series, "{state=") {
						counts[series]++
					}
				}
			}
		}
		want := map[string]int{
			`ovnkube_master_ovn_northd{state="running"}`: len(nodes), `ovnkube_master_ovn_northd{state="active"}`: 1,
			`ovnkube_node_ovn_controller{state="running"}`: len(nodes), `ovnkube_node_ovn_controller{state="connected"}`: len(nodes),
		}
		if diff := cmp.Diff(want, counts); diff != "" {
			return fmt.Errorf("programs that are seen (-want +got):\n%s", diff)
		}
		return nil
	})
}

// databasesServe wants a row that only the databases have, no listener at the members' port, and new pods.
func (e *env) databasesServe(name string) {
	e.Helper()
	query := func(args ...string) string {
		return e.released(append([]string{"exec", "ovnkube-db-0", "-c", "nb-ovsdb", "--"}, args...)...)
	}
	if out := query("ovn-nbctl", "ls-list"); !strings.Contains(out, "(foreign)") {
		e.Errorf("a row is lost; there are %s", out)
	}
	if out := query("ovn-sbctl", "get-connection"); strings.Contains(out, "pssl:6642") {
		e.Errorf("relays listen at %s", out)
	}
	e.measured("a new pair of pods took %v", e.usable("after-"+name).Round(time.Millisecond))
}

// testMajorityLost loses the files of two of three members, and makes a new cluster of the third's, by the steps of the guide.
func testMajorityLost(e *env) {
	e.errorsExpected = true
	nodes := e.Nodes()
	before := e.clusterHas(nodes...)
	p := e.pair()
	stop := e.probe(p[0], p[1])
	survivor, lost := nodes[1], []string{nodes[0], nodes[2]}
	e.noDatabases()
	for _, n := range lost {
		e.on(n, "sh", "-c", "rm -f /var/lib/ovn/* /var/lib/ovn/.*lock~")
	}
	e.released("scale", "statefulset", "ovnkube-db", "--replicas=3")
	for _, n := range nodes {
		e.databaseRuns(n)
	}
	e.eventually(func() error {
		out, err := e.Kubectl(e.ctx, "-n", plan.ReleaseNamespace, "exec", e.databasePod(survivor).Name, "-c", "nb-ovsdb", "--", "ovnkube", "db", "status", "nb")
		if err == nil && !strings.Contains(out, "leader unknown") {
			err = fmt.Errorf("it has a leader: %s", out)
		}
		return err
	})
	began := time.Now()
	e.noDatabases()
	e.maintain(survivor, "recover")
	for _, n := range lost {
		e.maintain(n, "reset")
	}
	e.installRelease(e.databasesAt(append([]string{survivor}, lost...)...))
	e.measured("a new cluster of one member's file took %v", time.Since(began).Round(100*time.Millisecond))
	e.report("most members lost", stop(), time.Second)
	for _, id := range e.clusterHas(nodes...) {
		if slices.Contains(before, id) {
			e.Errorf("the cluster is %s, as before", id)
		}
	}
	e.databasesServe(p[0].Name)
}

// noDatabases stops all of the databases.
func (e *env) noDatabases() {
	e.Helper()
	e.released("scale", "statefulset", "ovnkube-db", "--replicas=0")
	e.released("wait", "pod", "-l", "app.kubernetes.io/component=db", "--for=delete", "--timeout=2m")
}

// maintain runs a command about both databases on a node where none runs.
func (e *env) maintain(node, command string) {
	e.Helper()
	out := e.released("debug", "node/"+node, "--image="+e.Image(), "--profile=sysadmin", "--",
		"sh", "-ec", "for db in nb sb; do ovnkube db "+command+" $db --db-dir=/host/var/lib/ovn; done")
	pod := regexp.MustCompile("node-debugger-" + node + "-[a-z0-9]+").FindString(out)
	e.released("wait", "pod", pod, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=1m")
	if said := e.released("logs", pod); strings.Count(said, "the old file is ") != 2 {
		e.Errorf("%s on %s: %s", command, node, said)
	}
	e.released("delete", "pod", pod)
}
