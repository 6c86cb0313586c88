//go:build integration

package ovsdb_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

func nbOptions(t *testing.T, s *ovsdbtest.Server) ovsdb.Options {
	t.Helper()
	m, err := nbdb.FullDatabaseModel()
	if err != nil {
		t.Fatal(err)
	}
	return ovsdb.Options{
		Database:  m.Name(),
		Model:     m,
		Endpoints: []string{s.Endpoint()},
		Monitors:  []ovsdb.Monitor{{Table: nbdb.LogicalSwitchTable}, {Table: nbdb.NBGlobalTable}},
	}
}

func connect(t *testing.T, o ovsdb.Options) *ovsdb.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	c, err := ovsdb.Connect(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func insertSwitch(name string) libovsdb.Operation {
	return libovsdb.Operation{Op: libovsdb.OperationInsert, Table: nbdb.LogicalSwitchTable, Row: libovsdb.Row{"name": name}}
}

func switchNames(c *ovsdb.Client) string {
	var names []string
	for _, row := range ovsdb.Rows[nbdb.LogicalSwitch](c) {
		names = append(names, row.Name)
	}
	return strings.Join(names, " ")
}

// The cache shows a transaction as soon as Transact returns: the reconciler counts on it.
func TestCacheIsUpdatedWhenTransactReturns(t *testing.T) {
	c := connect(t, nbOptions(t, ovsdbtest.Start(t, ovsdbtest.NB())))
	for range 200 {
		results, err := c.Transact(t.Context(), insertSwitch("s"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ovsdb.CheckResults(results, 1); err != nil {
			t.Fatal(err)
		}
		if !c.Cache().Table(nbdb.LogicalSwitchTable).HasRow(results[0].UUID.GoUUID) {
			t.Fatal("the row is not in the cache although its transaction returned")
		}
	}
}

// A newer schema has columns and tables that the models do not know, OVN 25.03's for example.
func TestNewerSchemaWorks(t *testing.T) {
	srv := ovsdbtest.StartSchema(t, ovsdbtest.NB(), func(schema map[string]any) {
		schema["version"] = "7.11.0"
		tables := schema["tables"].(map[string]any)
		for _, table := range tables {
			columns := table.(map[string]any)["columns"].(map[string]any)
			columns["from_the_future"] = map[string]any{"type": map[string]any{
				"key": "string", "value": "string", "min": 0, "max": "unlimited"}}
		}
		fields := tables[nbdb.LoadBalancerTable].(map[string]any)["columns"].(map[string]any)["selection_fields"].(map[string]any)
		fields["type"].(map[string]any)["key"].(map[string]any)["enum"] = []any{"set", []any{"ip_src", "ip_of_the_future"}}
		tables["Future"] = map[string]any{"isRoot": true, "columns": map[string]any{"name": map[string]any{"type": "string"}}}
	})
	c := connect(t, nbOptions(t, srv))
	op := insertSwitch("s")
	op.Row["from_the_future"] = libovsdb.OvsMap{GoMap: map[any]any{"a": "b"}}
	if _, err := c.Transact(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	// A change of known and unknown columns at once must not be lost.
	future := libovsdb.OvsMap{GoMap: map[any]any{"c": "d"}}
	results, err := c.Transact(t.Context(), libovsdb.Operation{
		Op: libovsdb.OperationUpdate, Table: nbdb.LogicalSwitchTable,
		Where: []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, "s")},
		Row:   libovsdb.Row{"name": "t", "from_the_future": future},
	})
	if err != nil || results[0].Count != 1 {
		t.Fatal(err, results)
	}
	if got := switchNames(c); got != "t" {
		t.Errorf("switches: %q, want t", got)
	}
	f := c.Features()
	got := []bool{f.HasTable("Future"), f.HasTable("Gone"), f.HasColumn("ACL", "from_the_future"), f.HasColumn("ACL", "gone"), f.HasColumn("ACL", "match"),
		f.HasKey(nbdb.LoadBalancerTable, "selection_fields", "ip_of_the_future"), f.HasKey(nbdb.LoadBalancerTable, "selection_fields", "ip_of_the_past"),
		f.HasKey("ACL", "match", "1"), f.HasKey("Gone", "match", "1")}
	if diff := cmp.Diff([]bool{true, false, true, false, true, true, false, false, false}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOlderSchemaIsNamed(t *testing.T) {
	srv := ovsdbtest.StartSchema(t, ovsdbtest.NB(), func(schema map[string]any) {
		tables := schema["tables"].(map[string]any)
		delete(tables, nbdb.StaticMACBindingTable)
		delete(tables[nbdb.LogicalSwitchTable].(map[string]any)["columns"].(map[string]any), "copp")
	})
	o := nbOptions(t, srv)
	o.Monitors = append(o.Monitors, ovsdb.Monitor{Table: nbdb.StaticMACBindingTable})
	_, err := ovsdb.Connect(t.Context(), o)
	var tooOld *ovsdb.SchemaError
	if !errors.As(err, &tooOld) {
		t.Fatalf("got %v, want a SchemaError", err)
	}
	if diff := cmp.Diff([]string{"Logical_Switch.copp", "Static_MAC_Binding"}, tooOld.Missing); diff != "" {
		t.Error(diff)
	}
	for i := range o.Monitors {
		o.Monitors[i].Optional = true
	}
	o.Indexes = map[string][]model.ClientIndex{nbdb.LogicalSwitchTable: {{Columns: []model.ColumnKey{{Column: "name"}}}}}
	c := connect(t, o)
	if c.Cache().Table(nbdb.NBGlobalTable) == nil || len(ovsdb.Rows[nbdb.LogicalSwitch](c)) != 0 {
		t.Error("optional tables are not left out")
	}
}

func TestReconnect(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	o := nbOptions(t, srv)
	epochs, added := make(chan uint64, 10), make(chan string, 10)
	o.OnConnect = func(e uint64) { epochs <- e }
	o.Handlers = []cache.EventHandler{&cache.EventHandlerFuncs{AddFunc: func(_ string, m model.Model) {
		if s, ok := m.(*nbdb.LogicalSwitch); ok {
			added <- s.Name
		}
	}}}
	o.Endpoints = append([]string{"unix:/nowhere", "tcp:127.0.0.1:1"}, o.Endpoints...)
	c := connect(t, o)
	srv.Ctl("ls-add", "one")
	if got := <-added; got != "one" || <-epochs != 1 {
		t.Fatalf("added %q", got)
	}
	srv.Kill()
	waitFor(t, "the loss", func() bool { return !c.Connected() })
	if _, err := c.Transact(t.Context(), insertSwitch("x")); !errors.Is(err, ovsdb.ErrNotConnected) {
		t.Errorf("transact without a connection: %v", err)
	}
	if got := switchNames(c); got != "one" {
		t.Errorf("cache without a connection: %q", got)
	}
	srv.Restart()
	srv.Ctl("--if-exists", "ls-del", "one", "--", "ls-add", "two")
	if e := <-epochs; e != 2 {
		t.Errorf("epoch %d, want 2", e)
	}
	waitFor(t, "the new contents", func() bool { return switchNames(c) == "two" })
	if _, err := c.Transact(t.Context(), insertSwitch("x")); err != nil {
		t.Error(err)
	}
}

// A stopped server neither answers nor closes the connection.
func TestSilentServer(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	o := nbOptions(t, srv)
	o.ProbeInterval, o.ProbeTimeout = 50*time.Millisecond, 200*time.Millisecond
	c := connect(t, o)
	srv.Signal(syscall.SIGSTOP)
	began := time.Now()
	_, err := c.Transact(t.Context(), insertSwitch("x"))
	if !errors.Is(err, ovsdb.ErrUnknownOutcome) {
		t.Errorf("got %v, want ErrUnknownOutcome", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the silent server was noticed after %s", d)
	}
	srv.Signal(syscall.SIGCONT)
	waitFor(t, "the reconnect", func() bool { return c.Connected() && c.Epoch() == 2 })
}

func TestTransactTimeoutReplacesConnection(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	o := nbOptions(t, srv)
	o.TransactTimeout = 100 * time.Millisecond
	c := connect(t, o)
	srv.Signal(syscall.SIGSTOP)
	if _, err := c.Transact(t.Context(), insertSwitch("x")); !errors.Is(err, ovsdb.ErrUnknownOutcome) {
		t.Errorf("got %v, want ErrUnknownOutcome", err)
	}
	srv.Signal(syscall.SIGCONT)
	waitFor(t, "the reconnect", func() bool { return c.Connected() && c.Epoch() == 2 })
}

func TestRefusals(t *testing.T) {
	c := connect(t, nbOptions(t, ovsdbtest.Start(t, ovsdbtest.NB())))
	bad := insertSwitch("x")
	bad.Row["no_such_column"] = "y"
	if _, err := c.Transact(t.Context(), bad); err == nil || errors.Is(err, ovsdb.ErrUnknownOutcome) {
		t.Errorf("unknown column: %v", err)
	}
	ops := []libovsdb.Operation{
		insertSwitch("fine"),
		{Op: libovsdb.OperationInsert, Table: nbdb.ACLTable, Row: libovsdb.Row{"priority": 100000}},
	}
	results, err := c.Transact(t.Context(), ops...)
	if err != nil {
		t.Fatal(err)
	}
	if i, err := ovsdb.CheckResults(results, len(ops)); i != 1 || err == nil {
		t.Errorf("refused operation %d: %v, want 1", i, err)
	}
	set := libovsdb.Operation{Op: libovsdb.OperationInsert, Table: nbdb.AddressSetTable, Row: libovsdb.Row{"name": "same"}}
	if results, err = c.Transact(t.Context(), set, set); err != nil {
		t.Fatal(err)
	}
	if i, err := ovsdb.CheckResults(results, 2); i != -1 || err == nil || !strings.Contains(err.Error(), "same") {
		t.Errorf("refused at commit: %d, %v", i, err)
	}
}

func TestVSwitchDatabase(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.VSwitch())
	m, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, ovsdb.Options{Database: m.Name(), Model: m, Endpoints: []string{srv.Endpoint()},
		Monitors: []ovsdb.Monitor{{Table: vswitchdb.InterfaceTable, Columns: []string{"name", "external_ids"}}}})
	srv.Ctl("add-br", "br-int", "--", "set", "Interface", "br-int", "external_ids:ovn-installed=true", "mtu_request=1400")
	waitFor(t, "the interface", func() bool {
		for _, i := range ovsdb.Rows[vswitchdb.Interface](c) {
			if i.MTURequest != nil {
				t.Error("a column that was not asked for is in the cache")
			}
			return i.Name == "br-int" && i.ExternalIDs["ovn-installed"] == "true"
		}
		return false
	})
}

func TestConnectEndsWithContext(t *testing.T) {
	m, err := nbdb.FullDatabaseModel()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = ovsdb.Connect(ctx, ovsdb.Options{Database: m.Name(), Model: m, Endpoints: []string{"unix:/nowhere"},
		Monitors: []ovsdb.Monitor{{Table: nbdb.LogicalSwitchTable}}})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// waitFor is for states that another process reaches; there is no event for them.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// A caller that gives up must not take the connection from the others.
func TestGivingUpKeepsTheConnection(t *testing.T) {
	srv := ovsdbtest.Start(t, ovsdbtest.NB())
	c := connect(t, nbOptions(t, srv))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	srv.Signal(syscall.SIGSTOP)
	if _, err := c.Transact(ctx, insertSwitch("x")); !errors.Is(err, ovsdb.ErrUnknownOutcome) {
		t.Errorf("got %v, want ErrUnknownOutcome", err)
	}
	srv.Signal(syscall.SIGCONT)
	if _, err := c.Transact(t.Context(), insertSwitch("y")); err != nil || c.Epoch() != 1 {
		t.Errorf("after another caller gave up: %v, connection %d", err, c.Epoch())
	}
}

// Only the leader of a cluster is used; here it is the only member.
func TestClusterLeader(t *testing.T) {
	srv := ovsdbtest.StartCluster(t, ovsdbtest.NB())
	o := nbOptions(t, srv)
	o.LeaderOnly = true
	c := connect(t, o)
	if _, err := c.Transact(t.Context(), insertSwitch("x")); err != nil {
		t.Fatal(err)
	}
	if got := switchNames(c); got != "x" {
		t.Errorf("switches: %q", got)
	}
}
