//go:build e2e

package e2e

import (
	"testing"

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
		// TestHelm has these with the same versions.
		{name: "OperatorsView", run: testOperatorsView, lengthy: true},
		{name: "Reachability", run: testReachability, lengthy: true},
		{name: "PacketSizes", run: testPacketSizes, lengthy: true},
		{name: "Egress", run: testEgress, lengthy: true},
		{name: "Services", run: testServices, lengthy: true},
		{name: "ExternalServices", run: testExternalServices, lengthy: true},
		{name: "Spoofing", run: testSpoofing, lengthy: true},
		{name: "Policies", run: testPolicies, lengthy: true},
		{name: "KubectlOVN", run: testKubectlOVN, lengthy: true},
		{name: "Security", run: testSecurity},
		{name: "IdleMasterRestart", run: testIdleMasterRestart, lengthy: true},
		{name: "NodeAddedAndRemoved", run: testNodeAddedAndRemoved, lengthy: true},
		{name: "Drift", run: testDrift},
	} {
		c.runScenario(t, s)
	}
}
