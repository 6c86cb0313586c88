package ovsport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// ErrRemoved says that somebody removed the port that was waited for.
var ErrRemoved = errors.New("the port was removed from the database")

// anyName is the key of those who wait for everything that is not about one port.
const anyName = ""

// Table is the pods' ports. It is safe for concurrent use.
type Table struct {
	client *ovsdb.Client
	writer *writer

	mu      sync.Mutex
	waiters map[string]map[chan struct{}]struct{}
}

// Connect connects to the local Open_vSwitch database and returns when its contents are known. The
// Table works until ctx ends.
func Connect(ctx context.Context, endpoints []string) (*Table, error) {
	full, err := vswitchdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("model of the Open_vSwitch database: %w", err)
	}
	t := &Table{waiters: map[string]map[chan struct{}]struct{}{}}
	t.client, err = ovsdb.Connect(ctx, ovsdb.Options{
		Database:  full.Name(),
		Model:     full,
		Endpoints: endpoints,
		// Nothing that ovs-vswitchd writes all the time (statistics, status) is monitored.
		Monitors: []ovsdb.Monitor{
			{Table: switchTable, Columns: []string{"cur_cfg"}},
			{Table: bridgeTable, Columns: []string{"name", "ports"}},
			{Table: portTable, Columns: []string{"name", "interfaces"}},
			{Table: interfaceTable, Columns: []string{"name", "external_ids", "ofport", "error"}},
		},
		Handlers:  []cache.EventHandler{&cache.EventHandlerFuncs{AddFunc: t.changed, UpdateFunc: t.updated, DeleteFunc: t.changed}},
		OnConnect: func(uint64) { t.wakeAll() },
	})
	if err != nil {
		return nil, err
	}
	t.writer = newWriter(t)
	go func() {
		t.writer.run(ctx)
		t.client.Close()
	}()
	return t, nil
}

// Connected tells whether the database can be reached now.
func (t *Table) Connected() bool { return t.client.Connected() }

// HasBridge tells whether there is an integration bridge.
func (t *Table) HasBridge() bool { return t.bridge() != nil }

// Get returns the port of that name; false when there is none.
func (t *Table) Get(name string) (Status, bool) {
	i := find(t, interfaceTable, &vswitchdb.Interface{Name: name})
	if i == nil {
		return Status{}, false
	}
	s := statusOf(i)
	p, b := find(t, portTable, &vswitchdb.Port{Name: name}), t.bridge()
	s.OnBridge = p != nil && b != nil && slices.Contains(b.Ports, p.UUID)
	return s, true
}

// List returns the ports on the integration bridge that were made for a sandbox.
func (t *Table) List() []Status {
	b := t.bridge()
	if b == nil {
		return nil
	}
	onBridge := make(map[string]bool, len(b.Ports))
	for _, uuid := range b.Ports {
		onBridge[uuid] = true
	}
	ports := map[string]bool{}
	for uuid, p := range ovsdb.Rows[vswitchdb.Port](t.client) {
		ports[p.Name] = onBridge[uuid]
	}
	var out []Status
	for _, i := range ovsdb.Rows[vswitchdb.Interface](t.client) {
		if i.ExternalIDs[names.IfaceSandbox] == "" || !ports[i.Name] {
			continue
		}
		s := statusOf(i)
		s.OnBridge = true
		out = append(out, s)
	}
	return out
}

// Add puts the port on the integration bridge, in place of ports of the same name and of ports for the
// same logical port. It does nothing when the port is there as wanted. While there is no database or no bridge it waits;
// the error then says for what.
func (t *Table) Add(ctx context.Context, p Port) error {
	return t.write(ctx, change{add: &p})
}

// Remove takes ports from the integration bridge. Names that are not there are fine.
func (t *Table) Remove(ctx context.Context, portNames ...string) error {
	if len(portNames) == 0 {
		return nil
	}
	return t.write(ctx, change{remove: portNames})
}

// write retries what failed for want of a connection or a bridge, whenever that may have come.
func (t *Table) write(ctx context.Context, c change) error {
	for {
		wake, stop := t.watch(anyName)
		err := t.writer.do(ctx, c)
		if err == nil || !isTemporary(err) {
			stop()
			return err
		}
		select {
		case <-ctx.Done():
			stop()
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-wake:
			stop()
		}
	}
}

// Sync returns when ovs-vswitchd has taken up what was in the database at the call (see next_cfg and cur_cfg in
// ovs-vswitchd.conf.db(5)).
func (t *Table) Sync(ctx context.Context) error {
	wake, stop := t.watch(anyName)
	defer stop()
	want := -1
	for {
		var err error
		if want < 0 {
			want, err = t.requestSync(ctx)
		}
		if err != nil && !isTemporary(err) {
			return err
		}
		if want >= 0 && t.current() >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: ovs-vswitchd has not taken up the last changes: is it running?", context.Cause(ctx))
		case <-wake:
		}
	}
}

// requestSync returns the value that cur_cfg will have reached.
func (t *Table) requestSync(ctx context.Context) (int, error) {
	// The table's one row. (libovsdb leaves an empty list of conditions out, which the server refuses.)
	where := []libovsdb.Condition{libovsdb.NewCondition("next_cfg", libovsdb.ConditionNotEqual, -1)}
	ops := []libovsdb.Operation{
		{Op: libovsdb.OperationMutate, Table: switchTable, Where: where, Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation("next_cfg", libovsdb.MutateOperationAdd, 1),
		}},
		{Op: libovsdb.OperationSelect, Table: switchTable, Where: where, Columns: []string{"next_cfg"}},
	}
	results, err := t.client.Transact(ctx, ops...)
	if err != nil {
		return -1, err
	}
	if _, err := ovsdb.CheckResults(results, len(ops)); err != nil {
		return -1, fmt.Errorf("ask ovs-vswitchd to catch up: %w", err)
	}
	for _, row := range results[1].Rows {
		switch n := row["next_cfg"].(type) {
		case float64:
			return int(n), nil
		case int:
			return n, nil
		}
	}
	return -1, fmt.Errorf("ask ovs-vswitchd to catch up: no next_cfg in %v", results[1].Rows)
}

func (t *Table) current() int {
	for _, row := range ovsdb.Rows[vswitchdb.OpenvSwitch](t.client) {
		return row.CurCfg
	}
	return -1
}

// WaitInstalled returns when the port's flows are in the switch. The error says what has not happened.
func (t *Table) WaitInstalled(ctx context.Context, name string) error {
	wake, stop := t.watch(name)
	defer stop()
	for {
		s, ok := t.Get(name)
		switch {
		case ok && s.Installed():
			return nil
		case !ok && t.Connected():
			return ErrRemoved
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", context.Cause(ctx), s.missing())
		case <-wake:
		}
	}
}

// missing says what keeps the port from being installed.
func (s Status) missing() string {
	switch {
	case s.Error != "":
		return "ovs-vswitchd cannot open the port: " + s.Error
	case s.OFPort <= 0:
		return "ovs-vswitchd has not taken the port up: is it running? see: ovs-vsctl show, and its log"
	default:
		return fmt.Sprintf("ovn-controller has not set ovn-installed: is it running and connected to the southbound database, "+
			"is logical port %s there with this chassis and iface-id-ver? see: ovn-sbctl find Port_Binding logical_port=%s", s.LogicalPort(), s.LogicalPort())
	}
}

func (t *Table) bridge() *vswitchdb.Bridge {
	return find(t, bridgeTable, &vswitchdb.Bridge{Name: names.IntegrationBridge})
}

// find returns the row with the same value in the table's index, or nil.
func find[T any](t *Table, table string, like *T) *T {
	rows := t.client.Cache().Table(table)
	if rows == nil {
		return nil
	}
	_, m, err := rows.RowByModel(any(like))
	if err != nil {
		return nil
	}
	row, _ := m.(*T)
	return row
}

// watch returns a channel that gets a value after changes of the port of that name.
func (t *Table) watch(name string) (wake <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiters[name] == nil {
		t.waiters[name] = map[chan struct{}]struct{}{}
	}
	t.waiters[name][ch] = struct{}{}
	return ch, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.waiters[name], ch)
		if len(t.waiters[name]) == 0 {
			delete(t.waiters, name)
		}
	}
}

func (t *Table) wakeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, waiters := range t.waiters {
		wake(waiters)
	}
}

func (t *Table) updated(table string, _, row model.Model) { t.changed(table, row) }

// changed is the cache's event handler.
func (t *Table) changed(_ string, row model.Model) {
	name := anyName
	switch row := row.(type) {
	case *vswitchdb.Interface:
		name = row.Name
	case *vswitchdb.Port:
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	wake(t.waiters[name])
}

func wake(waiters map[chan struct{}]struct{}) {
	for ch := range waiters {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
