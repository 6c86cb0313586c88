//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// options are the flags of the test binary.
type options struct {
	keep   bool
	prefix string
	bin    string
	// ctx ends when the run is interrupted.
	ctx context.Context
}

// run is set once by TestMain.
var run options

func TestMain(m *testing.M) {
	flag.BoolVar(&run.keep, "keep", false, "leave the labs up, and use those that are")
	flag.StringVar(&run.prefix, "prefix", "e2e", "first part of the labs' names")
	flag.StringVar(&run.bin, "bin", "", "folder with the product's executables (default: _output/bin)")
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
	// limit is the time it may take; 0 means four minutes.
	limit time.Duration
}

// scenarios are in the order in which they run: first what disturbs nothing.
func scenarios() []scenario {
	return []scenario{
		{name: "OperatorsView", run: testOperatorsView},
		{name: "Reachability", run: testReachability},
		{name: "PacketSizes", run: testPacketSizes},
		{name: "Kubelet", run: testKubelet},
		{name: "DNS", run: testDNS},
		{name: "Egress", run: testEgress},
		{name: "Services", run: testServices},
		{name: "ExternalServices", run: testExternalServices, limit: 8 * time.Minute},
		{name: "ServiceChurn", run: testServiceChurn, limit: 6 * time.Minute, only: []plan.Family{plan.Dual}},
		{name: "Policies", run: testPolicies, limit: 8 * time.Minute},
		{name: "KubectlOVN", run: testKubectlOVN},
		{name: "Spoofing", run: testSpoofing, limit: 4 * time.Minute},
		{name: "HostileObjects", run: testHostileObjects, limit: 4 * time.Minute},
		{name: "Storm", run: testStorm, limit: 4 * time.Minute, only: []plan.Family{plan.Dual}},
		{name: "StatefulSet", run: testStatefulSet},
		{name: "JobFreesAddress", run: testJobFreesAddress},
		{name: "EditedAnnotation", run: testEditedAnnotation},
		{name: "Churn", run: testChurn, limit: 6 * time.Minute},
		// Dual stack has all of IPv6 in it.
		{name: "TwoHundredPodsOnOneNode", run: testDensity, limit: 6 * time.Minute, only: []plan.Family{plan.IPv4, plan.Dual}},
		{name: "IdleMasterRestart", run: testIdleMasterRestart},
		{name: "ForeignRows", run: testForeignRows},
		{name: "Security", run: testSecurity, limit: 3 * time.Minute},
		{name: "Killed", run: testKilled, limit: 5 * time.Minute},
		{name: "MasterDown", run: testMasterDown},
		{name: "AgentDown", run: testAgentDown},
		{name: "NodeAddedAndRemoved", run: testNodeAddedAndRemoved, limit: 3 * time.Minute},
		{name: "LinkFlap", run: testLinkFlap},
		{name: "NodeAddress", run: testNodeAddress},
		{name: "Drift", run: testDrift, limit: 3 * time.Minute},
	}
}

func runFamily(t *testing.T, family plan.Family) {
	c := bringUp(t, family, labOptions{})
	for _, s := range scenarios() {
		c.runScenario(t, s)
	}
}
