//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/artifact"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// TestDebian13 is the second lane: Open vSwitch 3.5 and OVN 25.03, whose databases have more columns and
// whose northd computes incrementally.
func TestDebian13(t *testing.T) {
	ctx := run.context(t)
	o := artifact.Options{Progress: func(e artifact.Event) { t.Log(e) }}
	var err error
	if o.Root, err = artifact.FindRoot(); err != nil {
		t.Fatal(err)
	}
	if err := artifact.EnsurePackages(ctx, o, artifact.Packages(artifact.GroupRoot)...); err != nil {
		t.Fatal(err)
	}
	dir, err := artifact.EnsureRoot(ctx, o, "trixie")
	if err != nil {
		t.Fatal(err)
	}
	c := bringUp(t, plan.Dual, labOptions{ovnRoot: dir, suffix: "t"})
	st := c.Status(ctx)
	measured(t, "Open vSwitch %s, OVN %s", st.OVS, st.OVN)
	for _, s := range []scenario{
		{name: "OperatorsView", run: testOperatorsView},
		{name: "Reachability", run: testReachability},
		{name: "PacketSizes", run: testPacketSizes},
		{name: "Egress", run: testEgress},
		{name: "Services", run: testServices},
		{name: "ExternalServices", run: testExternalServices, limit: 8 * time.Minute},
		{name: "Spoofing", run: testSpoofing, limit: 4 * time.Minute},
		{name: "Policies", run: testPolicies, limit: 8 * time.Minute},
		{name: "KubectlOVN", run: testKubectlOVN},
		{name: "Security", run: testSecurity, limit: 3 * time.Minute},
		{name: "IdleMasterRestart", run: testIdleMasterRestart},
		{name: "NodeAddedAndRemoved", run: testNodeAddedAndRemoved, limit: 3 * time.Minute},
		{name: "Drift", run: testDrift, limit: 3 * time.Minute},
	} {
		c.runScenario(t, s)
	}
}
