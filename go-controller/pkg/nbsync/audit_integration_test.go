//go:build integration

package nbsync

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// The cache may drop events. Here all of them are: the audit alone has to repair.
func TestAuditNeedsNoEvents(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	o, err := ConnectOptions([]string{srv.Endpoint()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ovsdb.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	store := nbstate.NewStore()
	reg := prometheus.NewRegistry()
	s, err := New(client, store, Options{Fence: "a", AuditInterval: 50 * time.Millisecond, Metrics: NewMetrics(reg)})
	if err != nil {
		t.Fatal(err)
	}
	s.events = newEvents(catalog{}, "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	set := nbstate.Key{Table: nbdb.AddressSetTable, ID: "as"}
	mustSet(t, store, nodeOwner(0), nbstate.Desired{
		Rows:    []nbstate.Row{switchRow(0), {ID: "as", Model: &nbdb.AddressSet{Name: "as"}}},
		Members: []nbstate.Member{{Parent: set, Column: "addresses", Value: "10.0.0.1"}},
	})
	mustSet(t, store, pod(0), podOn(0, 0))
	store.Synced()
	state := func() string {
		return srv.Ctl("--bare", "--columns=name,ports", "list", "Logical_Switch") + srv.Ctl("--bare", "--columns=name,type,options", "list", "Logical_Switch_Port") +
			srv.Ctl("--bare", "--columns=name,addresses", "list", "Address_Set")
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", what, state())
			}
		}
	}
	await("at first", func() bool {
		return strings.Contains(state(), "namespace_pod-0") && strings.Contains(state(), "10.0.0.1")
	})
	want := state()
	for _, tamper := range [][]string{
		{"set", "Logical_Switch_Port", "namespace_pod-0", "type=x"},
		{"add", "Address_Set", "as", "addresses", "10.0.0.2"},
		{"clear", "Address_Set", "as", "addresses"},
	} {
		srv.Ctl(tamper...)
		await(strings.Join(tamper, " "), func() bool { return state() == want })
	}
	srv.Ctl("ls-del", "node-0")
	await("a switch and its port", func() bool { return strings.Contains(state(), "namespace_pod-0") })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ovnkube_nb_audit_repairs_total" && f.GetMetric()[0].GetCounter().GetValue() < 3 {
			t.Errorf("repairs counted: %v", f.GetMetric())
		}
	}
}
