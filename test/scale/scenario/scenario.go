package scenario

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/ovnkube/ovnkube/test/scale/harness"
	"github.com/ovnkube/ovnkube/test/scale/report"
)

// Env is what scenarios run with.
type Env struct {
	// Root is the repository.
	Root string
	// Control are the API server's and etcd's executables, Master is ovnkube's.
	Control harness.ControlBinaries
	Master  string
	// MasterArgs and MasterEnv are added to the master's command line and environment.
	MasterArgs, MasterEnv []string
	// OVN is where the databases' servers and ovn-northd come from.
	OVN harness.OVN
	// Subnets are the cluster's; empty: enough for 512 nodes.
	Subnets string
	// KeepLogs is a folder that gets the processes' logs; empty: they are lost.
	KeepLogs string
}

// progress tells people what happens.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// Scenario is something to measure. It runs inside harness.Enter.
type Scenario struct {
	ID, Title string
	// Debian is the release that Env.OVN must be of; empty: the machine's own.
	Debian string
	Run    func(context.Context, Env) (*report.Result, error)
}

// All returns the scenarios of the master.
func All() []Scenario {
	var out []Scenario
	for _, s := range Scales() {
		out = append(out, Scenario{ID: s.ID, Title: s.Title, Run: s.Run})
	}
	for _, s := range ServiceScales() {
		out = append(out, Scenario{ID: s.ID, Title: s.Title, Run: s.Run})
	}
	for _, s := range PolicyScales() {
		out = append(out, Scenario{ID: s.ID, Title: s.Title, Run: s.Run})
	}
	for _, s := range WholeScales() {
		out = append(out, Scenario{s.ID, s.Title, s.Debian, s.Run})
	}
	return out
}

// Scale is a scenario of a master with fake nodes and pods.
type Scale struct {
	ID, Title   string
	Nodes, Pods int
	// Northd runs ovn-northd beside.
	Northd bool
	// Ceiling measures the API server alone too.
	Ceiling   bool
	Limits    Limits
	Reference Reference
}

// Limits are what the master promises; zero means nothing.
type Limits struct {
	// Rate is in pods a second; the rate of creation counts instead when it is lower.
	Rate float64
	// P99 is from created to annotated, Behind from the last pod's creation to the last annotation.
	P99, Behind time.Duration
	// Transactions are those for the pods.
	Transactions float64
	// CPU is for all the work.
	CPU time.Duration
	// RSS is in MiB, with all pods annotated.
	RSS float64
}

// Reference are the figures of OVN-Kubernetes for the same work.
type Reference struct{ NodeTransactions, Rate, P50, P99, Transactions, CPU, RSS, Restart string }

// Scales returns the scenarios with pods.
func Scales() []Scale {
	small := Scale{
		ID: "master-50-2000", Title: "50 nodes, 2,000 pods at once, without ovn-northd", Nodes: 50, Pods: 2000, Ceiling: true,
		Limits:    Limits{Rate: 1000, P99: time.Second, Transactions: 100, CPU: 2 * time.Second, RSS: 80},
		Reference: Reference{NodeTransactions: "1,051", Rate: "51/s", P50: "18 s", P99: "37 s", Transactions: "2,021", CPU: "3.9 s", RSS: "103 MiB", Restart: "763"},
	}
	smallNorthd := small
	smallNorthd.ID, smallNorthd.Title = "master-50-2000-northd", "50 nodes, 2,000 pods at once, with ovn-northd"
	smallNorthd.Northd, smallNorthd.Ceiling, smallNorthd.Reference = true, false, Reference{}
	large := Scale{
		ID: "master-500-20000", Title: "500 nodes, 20,000 pods at once, without ovn-northd", Nodes: 500, Pods: 20000,
		Limits: Limits{Behind: 30 * time.Second, RSS: 500},
	}
	largeNorthd := large
	largeNorthd.ID, largeNorthd.Title = "master-500-20000-northd", "500 nodes, 20,000 pods at once, with ovn-northd"
	largeNorthd.Northd = true
	return []Scale{small, smallNorthd, large, largeNorthd}
}

// timeout is for one phase; it only has to be longer than any useful figure.
func (s Scale) timeout() time.Duration {
	return time.Minute + time.Duration(s.Pods)*20*time.Millisecond
}

// Run measures s.
func (s Scale) Run(ctx context.Context, env Env) (*report.Result, error) {
	result := &report.Result{ID: s.ID, Title: s.Title, Time: time.Now(), Machine: report.ThisMachine(env.Root)}
	var alone ceiling
	if s.Ceiling {
		var err error
		if alone, err = s.ceiling(ctx, env); err != nil {
			return nil, fmt.Errorf("%s: ceiling: %w", s.ID, err)
		}
	}
	cluster, err := startCluster(ctx, s.ID, s.Northd, env)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.ID, err)
	}
	defer cluster.stop()
	result.Machine.Kubernetes = cluster.control.Version
	run := &run{Scale: s, cluster: cluster, env: env, result: result, alone: alone}
	if err := run.all(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", s.ID, err)
	}
	return result, nil
}
