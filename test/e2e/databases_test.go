//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// databaseMembers of the lab in TestDatabases.
const databaseMembers = 3

// TestDatabases is about OVN's databases as clusters of three: with nodes at a relay: who gets in, the loss of any one, and of all.
func TestDatabases(t *testing.T) {
	c := bringUp(t, plan.IPv4, labOptions{suffix: "c", databases: databaseMembers, nodes: 2})
	for _, s := range []scenario{
		{name: "Reachability", run: testReachability},
		{name: "Access", run: testSouthboundAccess},
		{name: "Leaders", run: testDatabaseLeaders},
		{name: "Frozen", run: testDatabasesFrozen},
		{name: "Authorities", run: testAuthoritiesReplaced, lengthy: true},
		{name: "AllLost", run: testDatabasesLost},
	} {
		c.runScenario(t, s)
	}
}

// databaseStatus is what the n-th member says of itself, nothing if it says nothing.
func (e *env) databaseStatus(kind string, n int) ovndb.Status {
	s, err := e.DatabaseStatus(e.ctx, kind, n)
	if err != nil {
		return ovndb.Status{}
	}
	return s
}

// databaseLeader returns the member that leads, from 1.
func (e *env) databaseLeader(kind string) int {
	e.Helper()
	leader := 0
	e.eventually(func() error {
		for n := 1; n <= databaseMembers; n++ {
			if e.databaseStatus(kind, n).Role == "leader" {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("no member of %s leads", kind)
	})
	return leader
}

// databasePID is the process of a member's server.
func (e *env) databasePID(kind string, n int) string {
	e.Helper()
	return strings.TrimSpace(e.on(plan.ControlPlane, "pgrep", "-f", fmt.Sprintf("^ovsdb-server .*--unixctl=%s/ovn%s_db.ctl .*", plan.DatabaseRunDir(n), kind)))
}

// components of the databases, by kind.
func databaseComponents() map[string]string {
	return map[string]string{"nb": plan.NBDB, "sb": plan.SBDB}
}

// usable makes a pod on each node and returns how long it took until they reached each other.
func (e *env) usable(name string) time.Duration {
	e.Helper()
	began := time.Now()
	list := []string{"near-" + name, "far-" + name}
	p := e.startAll(newPod(e.ns, list[0], onNode(e.Nodes()[0])), newPod(e.ns, list[1], onNode(e.Nodes()[1])))
	e.mustReach(p[0], p[1], tcp, httpPort)
	took := time.Since(began)
	e.delete(list...)
	return took
}

// pair are two pods on different nodes.
func (e *env) pair() []traffic.Place {
	e.Helper()
	return e.startAll(newPod(e.ns, "a", onNode(e.Nodes()[0])), newPod(e.ns, "b", onNode(e.Nodes()[1])))
}

func (e *env) report(what string, reports []traffic.Report, allowed time.Duration) {
	e.Helper()
	for _, r := range reports {
		e.measured("%s: %s", what, r)
		if why := (victim{outage: allowed, errors: true}).judge(r, slowestWithin(reports)); why != "" {
			e.Errorf("%s: %s: %s", what, why, r)
		}
	}
}

// The leader of either database is stopped, killed and frozen: traffic does not notice, and new pods come soon.
func testDatabaseLeaders(e *env) {
	e.errorsExpected = true
	p := e.pair()
	e.measured("undisturbed: a new pair of pods took %v", e.usable("before").Round(time.Millisecond))
	for kind, component := range databaseComponents() {
		for _, how := range []string{"restarted", "killed", "frozen"} {
			n := e.databaseLeader(kind)
			stop := e.probe(p[0], p[1])
			time.Sleep(time.Second)
			switch member := plan.DatabaseMember(component, n); how {
			case "restarted":
				e.restart(member, plan.ControlPlane)
			case "killed":
				e.kill(member, plan.ControlPlane)
			case "frozen":
				pid := e.databasePID(kind, n)
				e.on(plan.ControlPlane, "kill", "-STOP", pid)
				e.Cleanup(func() { e.on(plan.ControlPlane, "kill", "-CONT", pid) })
			}
			took := e.usable(kind + "-" + how)
			e.measured("leader of %s %s: a new pair of pods took %v", kind, how, took.Round(time.Millisecond))
			if how == "frozen" {
				e.on(plan.ControlPlane, "kill", "-CONT", e.databasePID(kind, n))
			}
			// The userspace datapath may drop a packet while it gets the new pods' ports.
			e.report(kind+" leader "+how, stop(), time.Second)
		}
	}
}

// When no member of the northbound database answers, the master says so and gives up its Lease; it takes over again when they do.
func testDatabasesFrozen(e *env) {
	e.errorsExpected = true
	p := e.pair()
	stop := e.probe(p[0], p[1])
	var pids []string
	for n := 1; n <= databaseMembers; n++ {
		pids = append(pids, e.databasePID("nb", n))
	}
	resume := func() { e.on(plan.ControlPlane, append([]string{"kill", "-CONT"}, pids...)...) }
	e.Cleanup(resume)
	e.expected[plan.ControlPlane+"/"+plan.Master]++
	e.on(plan.ControlPlane, append([]string{"kill", "-STOP"}, pids...)...)
	reason := ""
	unready := e.eventually(func() error {
		err := e.readyz(plan.ControlPlane, plan.MasterHealth)
		if err == nil {
			return errors.New("the master is still ready")
		}
		reason = err.Error()
		return nil
	})
	e.measured("northbound database frozen: the master was not ready after %v: %s", unready.Round(time.Millisecond), reason)
	given := e.eventually(func() error {
		lease, err := e.client.CoordinationV1().Leases("kube-system").Get(e.ctx, "ovn-kubernetes-master", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if h := lease.Spec.HolderIdentity; h != nil && *h != "" {
			return fmt.Errorf("the lease is held by %s", *h)
		}
		return nil
	})
	e.measured("northbound database frozen: the lease was given up %v later", given.Round(time.Millisecond))
	resume()
	e.measured("northbound database thawed: the master was ready after %v", e.masterReady().Round(time.Millisecond))
	e.usable("thawed")
	e.report("northbound frozen", stop(), time.Second)
}

// All members of both databases lose their files: everything is rebuilt from Kubernetes, and pods keep their addresses.
func testDatabasesLost(e *env) {
	e.errorsExpected = true
	p := e.pair()
	before := e.mustCensus()
	stop := e.probe(p[0], p[1])
	time.Sleep(time.Second)
	var starts []func()
	for _, component := range databaseComponents() {
		for n := 1; n <= databaseMembers; n++ {
			starts = append(starts, e.stopped(plan.DatabaseMember(component, n), plan.ControlPlane))
		}
	}
	for n := 1; n <= databaseMembers; n++ {
		e.on(plan.ControlPlane, "rm", "-rf", plan.DatabaseDir(n))
	}
	for _, start := range starts {
		start()
	}
	began := time.Now()
	e.masterReady()
	e.eventually(func() error { _, err := e.takeCensus(); return err })
	e.measured("all databases lost: rebuilt %v after empty ones were started", time.Since(began).Round(time.Millisecond))
	for _, n := range e.Nodes() {
		e.agentReady(n)
	}
	e.measured("all databases lost: a new pair of pods then took %v", e.usable("lost").Round(time.Millisecond))
	e.report("all databases lost", stop(), 90*time.Second)
	e.settle(before)
	e.checkAddressesUnique()
}
