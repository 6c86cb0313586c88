package nbsync

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

const (
	benchPods  = 20000
	benchNodes = 500
)

func benchStore(b *testing.B) (*nbstate.Store, []nbstate.Owner) {
	b.Helper()
	store := nbstate.NewStore()
	var owners []nbstate.Owner
	for i := range benchNodes {
		mustSet(b, store, nodeOwner(i), nbstate.Desired{Rows: []nbstate.Row{switchRow(i)}})
		owners = append(owners, nodeOwner(i))
	}
	for i := range benchPods {
		mustSet(b, store, pod(i), podOn(i, i%benchNodes))
		owners = append(owners, pod(i))
	}
	return store, owners
}

// reportCPU adds the CPU time, with garbage collection, which says more than the clock where the machine is shared.
func reportCPU(b *testing.B) func() {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Milliseconds())/float64(b.N), "cpu-ms/op") }
}

// planAll plans in batches of the default size, as Run does.
func planAll(b *testing.B, db *database, store *nbstate.Store, owners []nbstate.Owner) (ops int) {
	b.Helper()
	for len(owners) > 0 {
		n := min(defaultMaxOwners, len(owners))
		ops += len(planned(b, db, store, owners[:n]...).ops)
		owners = owners[n:]
	}
	return ops
}

// BenchmarkCold plans 20,000 pods and 500 nodes for an empty database.
func BenchmarkCold(b *testing.B) {
	store, owners := benchStore(b)
	db := memory(b, nil)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if ops := planAll(b, db, store, owners); ops < benchPods {
			b.Fatalf("%d operations", ops)
		}
	}
}

// BenchmarkRestart compares them with a database that holds them all.
func BenchmarkRestart(b *testing.B) {
	store, owners := benchStore(b)
	rows := map[string]model.Model{}
	switches := make([]*nbdb.LogicalSwitch, benchNodes)
	for i := range benchNodes {
		switches[i] = asInDatabase(nodeOwner(i), switchRow(i)).(*nbdb.LogicalSwitch)
		rows[fmt.Sprintf("00000000-0000-0000-0001-%012d", i)] = switches[i]
	}
	for i := range benchPods {
		uuid := fmt.Sprintf("00000000-0000-0000-0002-%012d", i)
		rows[uuid] = asInDatabase(pod(i), podOn(i, i%benchNodes).Rows[0])
		switches[i%benchNodes].Ports = append(switches[i%benchNodes].Ports, uuid)
	}
	db := memory(b, rows)
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		if ops := planAll(b, db, store, owners); ops != 0 {
			b.Fatalf("%d operations for a database that is right", ops)
		}
	}
}
