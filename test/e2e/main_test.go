//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// options are the flags of the test binary.
type options struct {
	full   bool
	keep   bool
	prefix string
	bin    string
	// install says how the product gets into labs that do not say it themselves.
	install string
	// previous is the folder with the sources of an earlier version, in which its image was made.
	previous string
	// ctx ends when the run is interrupted.
	ctx context.Context
}

// run is set once by TestMain.
var run options

func TestMain(m *testing.M) {
	flag.BoolVar(&run.full, "full", false, "all scenarios in all labs, not only those that each change is judged by")
	flag.BoolVar(&run.keep, "keep", false, "leave the labs up, and use those that are")
	flag.StringVar(&run.prefix, "prefix", "e2e", "first part of the labs' names")
	flag.StringVar(&run.bin, "bin", "", "folder with the product's executables (default: _output/bin)")
	flag.StringVar(&run.install, "install", string(plan.InstallProcess), "how the product gets into the labs: process or helm; scenarios that need its processes are left out with helm")
	flag.StringVar(&run.previous, "previous", "", "folder with the sources of an earlier version, after make image there: TestHelm/Upgrade begins with it (default: this version)")
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e tests make network namespaces and need root")
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run.ctx = ctx
	os.Exit(m.Run())
}

// reserve is kept of the test binary's time limit for taking labs down.
const reserve = 45 * time.Second

// context ends when the run is interrupted or its time is nearly up.
func (o options) context(t *testing.T) context.Context {
	ctx := o.ctx
	if d, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, d.Add(-reserve))
		t.Cleanup(cancel)
	}
	return ctx
}

func TestIPv4(t *testing.T)      { runFamily(t, plan.IPv4) }
func TestIPv6(t *testing.T)      { runFamily(t, plan.IPv6) }
func TestDualStack(t *testing.T) { runFamily(t, plan.Dual) }

// scenario is a thing users or operators rely on.
type scenario struct {
	name string
	run  func(e *env)
	// only lists the families it runs in; none means all.
	only []plan.Family
	// single says that every run tests it in labs of one family too: it depends on what such a cluster lacks. The dual
	// stack lab has all that the two families have of the rest.
	single bool
	// lengthy ones run with -full only.
	lengthy bool
	// processes: it ends or looks into the product's processes as such, which pods do not allow.
	processes bool
}

// in tells whether the usual lab of a family tests the scenario in this run.
func (s scenario) in(f plan.Family) bool {
	return (len(s.only) == 0 || slices.Contains(s.only, f)) && (run.full || s.single || f == plan.Dual)
}

// scenarios are in the order in which they run: first what disturbs nothing.
func scenarios() []scenario {
	return []scenario{
		{name: "OperatorsView", run: testOperatorsView, single: true},
		{name: "Reachability", run: testReachability, single: true},
		{name: "PacketSizes", run: testPacketSizes},
		{name: "Kubelet", run: testKubelet},
		{name: "DNS", run: testDNS, single: true},
		{name: "Egress", run: testEgress, single: true},
		{name: "Services", run: testServices, single: true},
		{name: "ExternalServices", run: testExternalServices},
		{name: "ServiceChurn", run: testServiceChurn, only: []plan.Family{plan.Dual}, lengthy: true},
		{name: "Policies", run: testPolicies},
		{name: "KubectlOVN", run: testKubectlOVN, processes: true},
		{name: "Spoofing", run: testSpoofing},
		{name: "HostileObjects", run: testHostileObjects},
		{name: "Storm", run: testStorm, only: []plan.Family{plan.Dual}, lengthy: true},
		{name: "StatefulSet", run: testStatefulSet},
		{name: "JobFreesAddress", run: testJobFreesAddress},
		{name: "EditedAnnotation", run: testEditedAnnotation, processes: true},
		{name: "Churn", run: testChurn, lengthy: true},
		// Dual stack has all of IPv6 in it.
		{name: "TwoHundredPodsOnOneNode", run: testDensity, only: []plan.Family{plan.IPv4, plan.Dual}, lengthy: true},
		{name: "IdleMasterRestart", run: testIdleMasterRestart, processes: true},
		{name: "ForeignRows", run: testForeignRows, processes: true},
		{name: "Security", run: testSecurity, processes: true},
		{name: "Killed", run: testKilled, processes: true},
		{name: "MasterDown", run: testMasterDown, processes: true},
		{name: "AgentDown", run: testAgentDown, processes: true},
		{name: "NodeAddedAndRemoved", run: testNodeAddedAndRemoved},
		{name: "LinkFlap", run: testLinkFlap},
		{name: "NodeAddress", run: testNodeAddress},
		{name: "Drift", run: testDrift},
	}
}

func runFamily(t *testing.T, family plan.Family) {
	c := bringUp(t, family, labOptions{})
	for _, s := range scenarios() {
		if s.in(family) {
			c.runScenario(t, s)
		}
	}
}
