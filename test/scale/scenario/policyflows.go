package scenario

import (
	"context"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// countFlows lets an ovn-northd translate what there is, and end, and returns the logical flows. Beside it the master's figures would say less.
func (r *policyRun) countFlows(ctx context.Context) (int, error) {
	northd, err := r.cluster.ovn.StartNorthd(r.cluster.nb, r.cluster.sb)
	if err != nil {
		return 0, err
	}
	defer northd.Stop(time.Second)
	if err := harness.SyncNorthd(ctx, r.cluster.nb); err != nil {
		return 0, err
	}
	rows, err := r.cluster.sb.Rows(ctx, "Logical_Flow", "_uuid")
	return len(rows), err
}

// flowsBefore counts logical flows without policies.
func (r *policyRun) flowsBefore(ctx context.Context) (err error) {
	r.flows, err = r.countFlows(ctx)
	return err
}

// flowsAfter tells how many there are more with policies.
func (r *policyRun) flowsAfter(ctx context.Context) error {
	flows, err := r.countFlows(ctx)
	if err != nil {
		return err
	}
	r.result.Add("logical flows for a policy", float64(flows-r.flows)/float64(r.Load.Policies), report.Count).
		Say("%d without policies, %d with all; a flow for several switches counts once", r.flows, flows)
	return nil
}
