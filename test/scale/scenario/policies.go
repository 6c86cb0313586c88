package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Policies is a scenario of a master with fake nodes, pods and NetworkPolicies.
type Policies struct {
	ID, Title string
	Nodes     int
	Load      load.PolicyLoad
	// Cold: the master is started when everything is there already. Otherwise the policies are created while it runs.
	Cold   bool
	Limits PolicyLimits
	// Reference is OVN-Kubernetes' for the same work; ReferenceACLs are its ACLs.
	Reference     Reference
	ReferenceACLs string
}

// PolicyLimits are what the master promises; zero means nothing.
type PolicyLimits struct {
	// Transactions are those for the policies, ACLs all there are then, PodTransactions those for a pod.
	Transactions, ACLs, PodTransactions float64
	// CPU is the master's for the policies, Ready from the start of a master to the last row in the northbound database.
	CPU, Ready time.Duration
	// RSS is in MiB, the highest.
	RSS float64
}

// PolicyScales returns the scenarios with policies.
func PolicyScales() []Policies {
	return []Policies{{
		ID: "policies-200", Title: "200 policies, 50 nodes, 2,000 pods in 20 namespaces, without ovn-northd", Nodes: 50,
		Load:      load.PolicyLoad{Namespaces: 20, Pods: 2000, Policies: 200},
		Limits:    PolicyLimits{Transactions: 20, CPU: 440 * time.Millisecond, ACLs: 532, PodTransactions: 1},
		Reference: Reference{Transactions: "660", CPU: "0.44 s"}, ReferenceACLs: "532",
	}, {
		ID: "policies-wide", Title: "200 policies that each select all 2,000 pods of one namespace by a selector of their own, 50 nodes, from cold, without ovn-northd", Nodes: 50,
		Cold: true, Load: load.PolicyLoad{Namespaces: 1, Pods: 2000, Policies: 200, Wide: true},
		Limits: PolicyLimits{PodTransactions: 1},
	}, {
		ID: "policies-5000", Title: "5,000 policies, 10,000 pods in 500 namespaces, 50 nodes, from cold, without ovn-northd", Nodes: 50, Cold: true,
		Load:   load.PolicyLoad{Namespaces: 500, Pods: 10000, Policies: 5000, Named: true},
		Limits: PolicyLimits{Ready: 20 * time.Second, RSS: 600, PodTransactions: 1},
	}}
}

// policyRun is one Policies in progress.
type policyRun struct {
	Policies
	cluster *cluster
	result  *report.Result
	rows    *policyRows
	pods    *load.Watcher
	// flows are the logical flows without policies.
	flows int
}

// Run measures p.
func (p Policies) Run(ctx context.Context, env Env) (*report.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	result := &report.Result{ID: p.ID, Title: p.Title, Time: time.Now(), Machine: report.ThisMachine(env.Root)}
	cluster, err := startCluster(ctx, p.ID, false, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID, err)
	}
	defer cluster.stop()
	result.Machine.Kubernetes = cluster.control.Version
	r := &policyRun{Policies: p, cluster: cluster, result: result}
	if r.rows, err = watchPolicies(ctx, cluster.nb); err != nil {
		return nil, err
	}
	defer r.rows.client.Close()
	if r.pods, err = load.WatchPods(ctx, cluster.control.LoadConfig()); err != nil {
		return nil, err
	}
	defer r.pods.Stop()
	phases := []phase{
		{"pods", r.createPods}, {"logical flows without policies", r.flowsBefore},
		{"policies", r.createPolicies}, {"logical flows with policies", r.flowsAfter},
	}
	if p.Cold {
		phases = []phase{{"objects", r.cold}}
	}
	phases = append(phases, phase{"one pod", r.onePod}, phase{"restart", r.restart}, phase{"delete", r.deletePolicies})
	for _, phase := range phases {
		progress("%s: %s", p.ID, phase.name)
		if err := phase.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %s: %w\nlast lines of the master's log:\n%s", p.ID, phase.name, err, cluster.master.Tail())
		}
	}
	return result, nil
}

// phase is a part of a run.
type phase struct {
	name string
	do   func(context.Context) error
}

// mark is what the master has cost until now.
type mark struct {
	harness.Transactions
	harness.Usage
}

func (r *policyRun) mark(ctx context.Context) (m mark, err error) {
	if m.Transactions, err = r.cluster.settled(ctx); err != nil {
		return m, err
	}
	m.Usage, err = r.cluster.master.Usage()
	return m, err
}

// objects creates nodes, namespaces and pods.
func (r *policyRun) objects(ctx context.Context) error {
	if _, err := r.cluster.generator.CreateNodes(ctx, r.Nodes); err != nil {
		return err
	}
	if err := r.cluster.generator.CreatePolicyNamespaces(ctx, r.Load); err != nil {
		return err
	}
	_, err := r.cluster.generator.CreatePolicyPods(ctx, r.Load, 0, r.Load.Pods, r.Nodes)
	return err
}

func (r *policyRun) createPods(ctx context.Context) error {
	if err := r.objects(ctx); err != nil {
		return err
	}
	_, err := r.pods.Wait(ctx, r.Load.Pods)
	return err
}

func (r *policyRun) createPolicies(ctx context.Context) error {
	before, err := r.mark(ctx)
	if err != nil {
		return err
	}
	span, err := r.cluster.generator.CreatePolicies(ctx, r.Load, 0, r.Load.Policies)
	if err != nil {
		return err
	}
	end, err := r.rows.wait(ctx, r.Load.Policies)
	if err != nil {
		return err
	}
	after, err := r.mark(ctx)
	if err != nil {
		return err
	}
	r.result.Add("policies created", rate(r.Load.Policies, span.Duration()), report.PerSecond).Say("as fast as the API server took them, while the master worked")
	r.result.Add("last policy created → its rows in the northbound database", report.InMillis(max(0, end.Sub(span.End))), report.Millis)
	limit(r.result.Add("policies: northbound transactions", float64(after.Sub(before.Transactions).Master), report.Count), r.Limits.Transactions).Ref(r.Reference.Transactions)
	limit(r.result.Add("master: CPU for the policies", (after.CPU-before.CPU).Seconds(), report.Seconds), r.Limits.CPU.Seconds()).Ref(r.Reference.CPU)
	return r.figures(after)
}

// figures are those of the state with all policies.
func (r *policyRun) figures(now mark) error {
	limit(r.result.Add("ACLs", float64(r.rows.total()), report.Count), r.Limits.ACLs).Ref(r.ReferenceACLs)
	limit(r.result.Add("master: highest RSS", report.InMiB(now.PeakRSS), report.MiB), r.Limits.RSS).Say("RSS %.0f MiB", report.InMiB(now.RSS))
	return nil
}

func limit(f *report.Figure, most float64) *report.Figure {
	if most > 0 {
		f.AtMost(most)
	}
	return f
}

// cold creates everything without a master, and starts one then.
func (r *policyRun) cold(ctx context.Context) error {
	r.cluster.master.Stop(masterGrace)
	if err := r.objects(ctx); err != nil {
		return err
	}
	if _, err := r.cluster.generator.CreatePolicies(ctx, r.Load, 0, r.Load.Policies); err != nil {
		return err
	}
	control, err := r.cluster.control.Usage()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := r.cluster.startMaster(ctx); err != nil {
		return err
	}
	if _, err := r.rows.wait(ctx, r.Load.Policies); err != nil {
		return err
	}
	if err := r.rows.waitPods(ctx, r.Load.Pods); err != nil {
		return err
	}
	now, err := r.mark(ctx)
	if err != nil {
		return err
	}
	end, err := r.cluster.nb.LastWrite()
	if err != nil {
		return err
	}
	limit(r.result.Add("master started → all pods and policies in the northbound database", end.Sub(began).Seconds(), report.Seconds), r.Limits.Ready.Seconds())
	r.result.Add("master started → ready", r.cluster.master.TimeToReady.Seconds(), report.Seconds)
	r.result.Add("northbound transactions", float64(now.Master), report.Count)
	r.result.Add("master: CPU", now.CPU.Seconds(), report.Seconds)
	after, err := r.cluster.control.Usage()
	if err != nil {
		return err
	}
	r.result.Add("API server and etcd: CPU meanwhile", (after.CPU - control.CPU).Seconds(), report.Seconds).Say("they take the pods' annotations, on the same processors")
	if err := r.floor(ctx); err != nil {
		return err
	}
	if _, err := r.pods.Wait(ctx, r.Load.Pods); err != nil {
		return err
	}
	return r.figures(now)
}

// floor is what the database alone needs for the same rows.
func (r *policyRun) floor(ctx context.Context) error {
	usage, err := r.cluster.nb.Usage()
	if err != nil {
		return err
	}
	floor, err := r.cluster.nb.Floor(ctx)
	if err != nil {
		return err
	}
	r.result.Add("ovsdb-server: CPU", usage.CPU.Seconds(), report.Seconds)
	r.result.Add("floor: another ovsdb-server takes the same rows in one transaction", floor.Time.Seconds(), report.Seconds).
		Say("%.2f s CPU of it, %.0f MiB of JSON", floor.CPU.Seconds(), report.InMiB(floor.Bytes))
	return nil
}

// onePod: how many policies select a pod does not matter.
func (r *policyRun) onePod(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	if _, err := r.cluster.generator.CreatePolicyPods(ctx, r.Load, r.Load.Pods, 1, r.Nodes); err != nil {
		return err
	}
	if _, err := r.pods.Wait(ctx, r.Load.Pods+1); err != nil {
		return err
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	limit(r.result.Add("one more pod: northbound transactions", float64(after.Sub(before).Master), report.Count), r.Limits.PodTransactions)
	return nil
}

func (r *policyRun) restart(ctx context.Context) error { return r.cluster.restartMaster(ctx, r.result) }

func (r *policyRun) deletePolicies(ctx context.Context) error {
	before, err := r.mark(ctx)
	if err != nil {
		return err
	}
	span, err := r.cluster.generator.DeletePolicies(ctx, r.Load)
	if err != nil {
		return err
	}
	end, err := r.rows.wait(ctx, 0)
	if err != nil {
		return err
	}
	after, err := r.mark(ctx)
	if err != nil {
		return err
	}
	r.result.Add("last policy deleted → no rows", report.InMillis(max(0, end.Sub(span.End))), report.Millis)
	r.result.Add("delete: northbound transactions", float64(after.Sub(before.Transactions).Master), report.Count)
	return nil
}
