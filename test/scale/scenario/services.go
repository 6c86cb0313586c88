package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/load"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Services is a scenario of a master with fake nodes and services, whose endpoints the load writes.
type Services struct {
	ID, Title                  string
	Nodes, Services, Endpoints int
	// Single is how many services are created, and lose an endpoint, one after the other when all others are there.
	Single int
	// Wide is how many endpoints one more service has; zero: there is none.
	Wide      int
	Limits    ServiceLimits
	Reference Reference
}

// ServiceLimits are what the master promises; zero means nothing.
type ServiceLimits struct {
	Transactions float64
	// CPU is the master's for all services, P99 from a request to the commit of its row.
	CPU, P99 time.Duration
}

// ServiceScales returns the scenarios with services.
func ServiceScales() []Services {
	return []Services{{
		ID: "services-500", Title: "500 services with 2 endpoints each, 50 nodes, without ovn-northd", Nodes: 50, Services: 500, Endpoints: 2, Single: 50,
		Limits:    ServiceLimits{Transactions: 30, CPU: 520 * time.Millisecond},
		Reference: Reference{Transactions: "937", CPU: "0.52 s"},
	}, {
		ID: "services-10000", Title: "10,000 services with 2 endpoints each, 50 nodes, without ovn-northd", Nodes: 50, Services: 10000, Endpoints: 2, Single: 200, Wide: 5000,
		Limits: ServiceLimits{P99: 50 * time.Millisecond},
	}}
}

// serviceRun is one Services in progress.
type serviceRun struct {
	Services
	cluster   *cluster
	result    *report.Result
	balancers *balancers
}

// Run measures s.
func (s Services) Run(ctx context.Context, env Env) (*report.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	result := &report.Result{ID: s.ID, Title: s.Title, Time: time.Now(), Machine: report.ThisMachine(env.Root)}
	cluster, err := startCluster(ctx, s.ID, false, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.ID, err)
	}
	defer cluster.stop()
	result.Machine.Kubernetes = cluster.control.Version
	r := &serviceRun{Services: s, cluster: cluster, result: result}
	if r.balancers, err = watchBalancers(ctx, cluster.nb); err != nil {
		return nil, err
	}
	defer r.balancers.client.Close()
	for _, phase := range []struct {
		name string
		do   func(context.Context) error
	}{{"nodes", r.nodes}, {"services", r.all}, {"one at a time", r.single}, {"wide", r.wide}, {"restart", r.restart}} {
		progress("%s: %s", s.ID, phase.name)
		if err := phase.do(ctx); err != nil {
			return nil, fmt.Errorf("%s: %s: %w\nlast lines of the master's log:\n%s", s.ID, phase.name, err, r.masterLog())
		}
	}
	return result, nil
}

// masterLog is empty while there is no master.
func (r *serviceRun) masterLog() string {
	if r.cluster.master == nil {
		return ""
	}
	return r.cluster.master.Tail()
}

func (r *serviceRun) nodes(ctx context.Context) error {
	watcher, err := load.WatchNodes(ctx, r.cluster.control.LoadConfig())
	if err != nil {
		return err
	}
	defer watcher.Stop()
	if _, err := r.cluster.generator.CreateNodes(ctx, r.Nodes); err != nil {
		return err
	}
	_, err = watcher.Wait(ctx, r.Nodes)
	return err
}

func frontends(first, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = load.ServiceFrontend(first + i)
	}
	return out
}

// all creates the services at once.
func (r *serviceRun) all(ctx context.Context) error {
	before, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	usage, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	span, err := r.cluster.generator.CreateServices(ctx, 0, r.Services.Services, r.Endpoints, r.Nodes)
	if err != nil {
		return err
	}
	end, err := r.balancers.wait(ctx, r.Endpoints, frontends(0, r.Services.Services)...)
	if err != nil {
		return err
	}
	after, err := r.cluster.settled(ctx)
	if err != nil {
		return err
	}
	now, err := r.cluster.master.Usage()
	if err != nil {
		return err
	}
	r.result.Add("services created", rate(r.Services.Services, span.Duration()), report.PerSecond).Say("each with its EndpointSlice, as fast as the API server took them")
	r.result.Add("last service created → all in the northbound database", end.Sub(span.End).Seconds(), report.Seconds)
	f := r.result.Add("services: northbound transactions", float64(after.Sub(before).Master), report.Count).Ref(r.Reference.Transactions)
	if r.Limits.Transactions > 0 {
		f.AtMost(r.Limits.Transactions)
	}
	cpu := r.result.Add("master: CPU for the services", (now.CPU - usage.CPU).Seconds(), report.Seconds).Ref(r.Reference.CPU)
	if r.Limits.CPU > 0 {
		cpu.AtMost(r.Limits.CPU.Seconds())
	}
	r.result.Add("master: RSS with all services", report.InMiB(now.RSS), report.MiB)
	return r.rows(ctx)
}

func (r *serviceRun) rows(ctx context.Context) error {
	for _, table := range []string{"Load_Balancer", "Chassis_Template_Var"} {
		rows, err := r.cluster.nb.Rows(ctx, table, "_uuid")
		if err != nil {
			return err
		}
		r.result.Add("rows of "+table, float64(len(rows)), report.Count)
	}
	return nil
}

// single creates services, and then takes an endpoint from them, one after the other.
func (r *serviceRun) single(ctx context.Context) error {
	var created, changed []time.Duration
	for i := range r.Single {
		k := r.Services.Services + i
		// The service is the last of the objects that are created.
		span, err := r.cluster.generator.CreateServices(ctx, k, 1, r.Endpoints, r.Nodes)
		if err != nil {
			return err
		}
		end, err := r.balancers.wait(ctx, r.Endpoints, load.ServiceFrontend(k))
		if err != nil {
			return err
		}
		created = append(created, max(0, end.Sub(span.End)))
		if err := r.cluster.generator.DropEndpoint(ctx, k); err != nil {
			return err
		}
		answered := time.Now()
		if end, err = r.balancers.wait(ctx, r.Endpoints-1, load.ServiceFrontend(k)); err != nil {
			return err
		}
		changed = append(changed, max(0, end.Sub(answered)))
	}
	for _, l := range []struct {
		name    string
		samples []time.Duration
	}{{"one service created → northbound commit", created}, {"one endpoint removed → northbound commit", changed}} {
		_, p99 := r.result.AddLatency(l.name, l.samples)
		p99.Say("from the API server's answer")
		if r.Limits.P99 > 0 {
			p99.AtMost(report.InMillis(r.Limits.P99))
		}
	}
	return nil
}

// wide creates one service with many endpoints.
func (r *serviceRun) wide(ctx context.Context) error {
	if r.Wide == 0 {
		return nil
	}
	k := r.Services.Services + r.Single
	span, err := r.cluster.generator.CreateServices(ctx, k, 1, r.Wide, r.Nodes)
	if err != nil {
		return err
	}
	end, err := r.balancers.wait(ctx, r.Wide, load.ServiceFrontend(k))
	if err != nil {
		return err
	}
	r.result.Add(fmt.Sprintf("service with %d endpoints created → all of them in the northbound database", r.Wide), report.InMillis(max(0, end.Sub(span.End))), report.Millis)
	return nil
}

func (r *serviceRun) restart(ctx context.Context) error {
	return r.cluster.restartMaster(ctx, r.result)
}
