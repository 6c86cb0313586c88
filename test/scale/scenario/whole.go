package scenario

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Whole is a scenario of all kinds of objects at once, with gateways on all nodes, both databases and ovn-northd.
type Whole struct {
	ID, Title                       string
	Nodes, Pods, Services, Policies int
	// Debian is the release whose OVN serves; empty: the machine's own.
	Debian string
	// Subnets are the cluster's; empty: enough for 512 nodes.
	Subnets string
	// Restart is the longest time from the start of a master over an unchanged cluster until it is ready; zero: nothing is promised.
	Restart time.Duration
}

const (
	// policiesOfNamespace is how many policies a namespace has.
	policiesOfNamespace = 10
	// wholeEndpoints are those of each service.
	wholeEndpoints = 4
	// wholeSingle is how many objects of each kind are created one after the other when all others are there.
	wholeSingle = 5
	// wholeTime only has to be longer than any useful figure.
	wholeTime = 90 * time.Minute
)

// WholeScales returns the scenarios with everything: one size, what is less than it, for the growth, and what is more, with the machine's OVN and with
// a newer one.
func WholeScales() []Whole {
	all := wholeSizes()
	for _, w := range wholeSizes() {
		w.ID, w.Title, w.Debian = w.ID+"-debian13", w.Title+" of Debian 13", "trixie"
		all = append(all, w)
	}
	return all
}

func wholeSizes() []Whole {
	size := func(nodes, pods, services, policies int) Whole {
		return Whole{
			ID:    fmt.Sprintf("whole-%d", nodes),
			Title: fmt.Sprintf("%s nodes, %s pods, %s services, %s policies, with ovn-northd", number(nodes), number(pods), number(services), number(policies)),
			Nodes: nodes, Pods: pods, Services: services, Policies: policies,
		}
	}
	full, beyond := size(500, 20000, 5000, 2000), size(1000, 20000, 5000, 2000)
	full.Restart = 10 * time.Second
	beyond.Subnets = "10.128.0.0/14/24"
	return []Whole{size(125, 5000, 1250, 500), size(250, 10000, 2500, 1000), full, beyond}
}

// WholeScale returns the scenario with that ID, if it is one with everything.
func WholeScale(id string) (Whole, bool) {
	all := WholeScales()
	i := slices.IndexFunc(all, func(w Whole) bool { return w.ID == id })
	if i < 0 {
		return Whole{}, false
	}
	return all[i], true
}

func number(n int) string { return report.Amount(float64(n), report.Count) }

// wholeRun is one Whole in progress.
type wholeRun struct {
	Whole
	policies   load.PolicyLoad
	cluster    *cluster
	result     *report.Result
	nodes      *load.Watcher
	pods       *load.Watcher
	balancers  *balancers
	policyRows *policyRows
	env        Env
}

// Run measures w.
func (w Whole) Run(ctx context.Context, env Env) (*report.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeTime)
	defer cancel()
	env.Subnets = w.Subnets
	cluster, err := startCluster(ctx, w.ID, true, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.ID, err)
	}
	defer cluster.stop()
	r := &wholeRun{
		Whole: w, cluster: cluster, env: env,
		policies: load.PolicyLoad{Namespaces: w.Policies / policiesOfNamespace, Pods: w.Pods, Policies: w.Policies, Named: true},
		result:   &report.Result{ID: w.ID, Title: w.Title, Time: time.Now(), Machine: report.ThisMachine(env.Root).With(env.OVN.Root)},
	}
	r.result.Machine.Kubernetes = cluster.control.Version
	stop, err := r.watch(ctx)
	defer stop()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.ID, err)
	}
	for _, phase := range []phase{
		{"nodes", r.createNodes}, {"pods", r.createPods}, {"services", r.createServices}, {"policies", r.createPolicies},
		{"rows", r.rows}, {"one at a time", r.single}, {"restart", r.restart}, {"successor", r.successor}, {"sizes", r.sizes},
	} {
		progress("%s: %s", w.ID, phase.name)
		if err := phase.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %s: %w\nlast lines of the master's log:\n%s", w.ID, phase.name, err, cluster.master.Tail())
		}
		if err := cluster.alive(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", w.ID, phase.name, err)
		}
	}
	return r.result, nil
}

// watch follows all that is waited for, until stop.
func (r *wholeRun) watch(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	config := r.cluster.control.LoadConfig()
	if r.nodes, err = load.WatchNodes(ctx, config); err != nil {
		return stop, err
	}
	stops = append(stops, r.nodes.Stop)
	if r.pods, err = load.WatchPods(ctx, config); err != nil {
		return stop, err
	}
	stops = append(stops, r.pods.Stop)
	if r.balancers, err = watchBalancers(ctx, r.cluster.nb); err != nil {
		return stop, err
	}
	stops = append(stops, r.balancers.client.Close)
	if r.policyRows, err = watchPolicies(ctx, r.cluster.nb); err != nil {
		return stop, err
	}
	stops = append(stops, r.policyRows.client.Close)
	return stop, nil
}

func (r *wholeRun) createNodes(ctx context.Context) error {
	return r.many(ctx, "nodes", r.Nodes, func() (load.Span, time.Time, error) {
		span, err := r.cluster.generator.CreateGatewayNodes(ctx, r.Nodes)
		if err != nil {
			return span, time.Time{}, err
		}
		end, err := r.nodes.Wait(ctx, r.Nodes)
		return span, end, err
	})
}

func (r *wholeRun) createPods(ctx context.Context) error {
	if err := r.cluster.generator.CreatePolicyNamespaces(ctx, r.policies); err != nil {
		return err
	}
	return r.many(ctx, "pods", r.Pods, func() (load.Span, time.Time, error) { return r.somePods(ctx, 0, r.Pods) })
}

func (r *wholeRun) createServices(ctx context.Context) error {
	return r.many(ctx, "services", r.Services, func() (load.Span, time.Time, error) { return r.someServices(ctx, 0, r.Services) })
}

func (r *wholeRun) createPolicies(ctx context.Context) error {
	return r.many(ctx, "policies", r.Policies, func() (load.Span, time.Time, error) { return r.somePolicies(ctx, 0, r.Policies) })
}

// somePods creates pods first … first+n-1, and returns when they were created and when the last had its network.
func (r *wholeRun) somePods(ctx context.Context, first, n int) (load.Span, time.Time, error) {
	span, err := r.cluster.generator.CreatePolicyPods(ctx, r.policies, first, n, r.Nodes)
	if err != nil {
		return span, time.Time{}, err
	}
	end, err := r.pods.Wait(ctx, first+n)
	return span, end, err
}

// someServices is somePods for services, until their load balancers are there.
func (r *wholeRun) someServices(ctx context.Context, first, n int) (load.Span, time.Time, error) {
	span, err := r.cluster.generator.CreateServices(ctx, first, n, wholeEndpoints, r.Nodes)
	if err != nil {
		return span, time.Time{}, err
	}
	end, err := r.balancers.wait(ctx, wholeEndpoints, frontends(first, n)...)
	return span, end, err
}

// somePolicies is somePods for policies, until all have ACLs.
func (r *wholeRun) somePolicies(ctx context.Context, first, n int) (load.Span, time.Time, error) {
	span, err := r.cluster.generator.CreatePolicies(ctx, r.policies, first, n)
	if err != nil {
		return span, time.Time{}, err
	}
	end, err := r.policyRows.wait(ctx, first+n)
	return span, end, err
}

// wholeCost is what the processes have cost until now.
type wholeCost struct {
	harness.Transactions
	master, northd harness.Usage
}

func (r *wholeRun) cost(ctx context.Context) (c wholeCost, err error) {
	if c.Transactions, err = r.cluster.settled(ctx); err != nil {
		return c, err
	}
	if c.master, err = r.cluster.master.Usage(); err != nil {
		return c, err
	}
	c.northd, err = r.cluster.northd.Usage()
	return c, err
}

// many reports what the creation of n objects takes.
func (r *wholeRun) many(ctx context.Context, what string, n int, create func() (load.Span, time.Time, error)) error {
	before, err := r.cost(ctx)
	if err != nil {
		return err
	}
	span, end, err := create()
	if err != nil {
		return err
	}
	if err := harness.SyncNorthd(ctx, r.cluster.nb); err != nil {
		return fmt.Errorf("wait for ovn-northd: %w", err)
	}
	southbound := time.Now()
	after, err := r.cost(ctx)
	if err != nil {
		return err
	}
	r.result.Add(what+": created", rate(n, span.Duration()), report.PerSecond).Say("as fast as the API server took them, while the master worked")
	r.result.Add(what+": last created → all in the northbound database", max(0, end.Sub(span.End)).Seconds(), report.Seconds)
	r.result.Add(what+": first created → all in the southbound database", southbound.Sub(span.Start).Seconds(), report.Seconds)
	r.result.Add(what+": northbound transactions", float64(after.Master-before.Master), report.Count)
	r.result.Add(what+": master's CPU for each", report.InMillis(after.master.CPU-before.master.CPU)/float64(n), report.Millis)
	r.result.Add(what+": ovn-northd's CPU", (after.northd.CPU - before.northd.CPU).Seconds(), report.Seconds)
	return nil
}
