//go:build integration

package nbsync_test

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

const (
	scalePods  = 20000
	scaleNodes = 500
)

func scalePod(i int) nbstate.Desired {
	node, name := fmt.Sprint("node-", i%scaleNodes), fmt.Sprint("namespace_pod-", i)
	address := fmt.Sprintf("0a:58:0a:80:%02x:%02x 10.128.%d.%d", i/250, i%250, i/250, i%250)
	return nbstate.Desired{
		Rows: []nbstate.Row{{ID: name, Model: &nbdb.LogicalSwitchPort{
			Name: name, Addresses: []string{address}, PortSecurity: []string{address},
			Options:     map[string]string{"requested-chassis": node, "iface-id-ver": fmt.Sprint("uid-", i)},
			ExternalIDs: map[string]string{"namespace": "namespace", "pod": "true"},
		}}},
		Members: []nbstate.Member{portOf(node, name)},
	}
}

func fillScale(b *testing.B, r *replica) {
	b.Helper()
	for i := range scaleNodes {
		n := fmt.Sprint("node-", i)
		r.set(b, node(n), nbstate.Desired{Rows: []nbstate.Row{switchRow(n)}})
	}
	for i := range scalePods {
		r.set(b, pod(fmt.Sprint("namespace/pod-", i)), scalePod(i))
	}
	r.store.Synced()
	for i := range scalePods {
		r.awaitDone(b, pod(fmt.Sprint("namespace/pod-", i)), 1)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkServer writes 20,000 pods and 500 nodes to a real server, and then restarts over them. CPU time
// is this process's, without the server's.
func BenchmarkServer(b *testing.B) {
	srv := ovsdbtest.Start(b, ovsdbtest.NB())
	report := func(phase string, before int, cpuBefore time.Duration, began time.Time) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(time.Since(began).Seconds(), phase+"-s")
		b.ReportMetric((cpu() - cpuBefore).Seconds(), phase+"-cpu-s")
		b.ReportMetric(float64(srv.Transactions()-before), phase+"-transactions")
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), phase+"-heap-MiB")
	}
	began, used := time.Now(), cpu()
	r := startReplica(b, srv.Endpoint(), nil)
	fillScale(b, r)
	report("cold", 0, used, began)
	r.stop()
	r = nil
	before := srv.Transactions()
	began, used = time.Now(), cpu()
	again := startReplica(b, srv.Endpoint(), nil)
	fillScale(b, again)
	report("restart", before, used, began)
	again.stop()
}
