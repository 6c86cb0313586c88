//go:build integration

package nbsync_test

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// T is a test, or one example of a property.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// replica is one master's half of the pipeline: a store, a connection and a syncer.
type replica struct {
	store  *nbstate.Store
	client *ovsdb.Client
	cancel context.CancelFunc
	ended  chan struct{}
	runErr error // of Run; readable once ended is closed

	mu      sync.Mutex
	changed chan struct{} // closed and replaced on each result
	results map[nbstate.Owner]nbsync.Result
}

func startReplica(tb T, endpoint string, edit func(*nbsync.Options)) *replica {
	tb.Helper()
	r := &replica{store: nbstate.NewStore(), ended: make(chan struct{}), changed: make(chan struct{}),
		results: map[nbstate.Owner]nbsync.Result{}}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	co, err := nbsync.ConnectOptions([]string{endpoint}, nil)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	co.BackoffMax = 50 * time.Millisecond
	if r.client, err = ovsdb.Connect(ctx, co); err != nil {
		tb.Fatalf("%v", err)
	}
	o := nbsync.Options{Fence: "master-a", OnResult: r.onResult, RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond}
	if edit != nil {
		edit(&o)
	}
	s, err := nbsync.New(r.client, r.store, o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	go func() {
		r.runErr = s.Run(ctx)
		close(r.ended)
	}()
	return r
}

func (r *replica) stop() {
	r.cancel()
	r.client.Close()
	<-r.ended
}

// awaitEnd waits until Run has returned by itself.
func (r *replica) awaitEnd(tb T) error {
	tb.Helper()
	select {
	case <-r.ended:
		return r.runErr
	case <-time.After(time.Minute):
		tb.Fatalf("Run goes on")
		return nil
	}
}

func (r *replica) onResult(res nbsync.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[res.Owner] = res
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *replica) result(o nbstate.Owner) (nbsync.Result, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.results[o], r.changed
}

func (r *replica) set(tb T, o nbstate.Owner, d nbstate.Desired) uint64 {
	tb.Helper()
	if err := r.store.Set(o, d); err != nil {
		tb.Fatalf("%v", err)
	}
	return r.store.Generation(o)
}

func (r *replica) delete(o nbstate.Owner) uint64 {
	r.store.Delete(o)
	return r.store.Generation(o)
}

// await waits for a result of the generation that match accepts.
func (r *replica) await(tb T, o nbstate.Owner, generation uint64, what string, match func(nbsync.Result) bool) nbsync.Result {
	tb.Helper()
	timeout := time.After(time.Minute)
	for {
		res, changed := r.result(o)
		if res.Generation >= generation && res.Generation > 0 && match(res) {
			return res
		}
		select {
		case <-changed:
		case <-timeout:
			tb.Fatalf("%s: no result %q for generation %d; the last one is %+v", o, what, generation, res)
		}
	}
}

func (r *replica) awaitDone(tb T, o nbstate.Owner, generation uint64) nbsync.Result {
	tb.Helper()
	return r.await(tb, o, generation, "done", func(res nbsync.Result) bool { return res.Err == nil })
}

func (r *replica) awaitError(tb T, o nbstate.Owner, generation uint64, part string) nbsync.Result {
	tb.Helper()
	return r.await(tb, o, generation, part, func(res nbsync.Result) bool {
		return res.Err != nil && strings.Contains(res.Err.Error(), part)
	})
}

// eventually is for states of the database that no result tells of.
func eventually(tb T, what string, check func() error) {
	tb.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s: %v", what, err)
		}
	}
}

// Owners, keys and rows that tests use.

func pod(name string) nbstate.Owner  { return nbstate.Owner{Kind: names.OwnerPod, Name: name} }
func node(name string) nbstate.Owner { return nbstate.Owner{Kind: names.OwnerNode, Name: name} }

func switchKey(name string) nbstate.Key {
	return nbstate.Key{Table: nbdb.LogicalSwitchTable, ID: name}
}

func switchRow(name string) nbstate.Row {
	return nbstate.Row{ID: name, Model: &nbdb.LogicalSwitch{Name: name, OtherConfig: map[string]string{"subnet": "10.0.0.0/23"}}}
}

func portRow(name string, addresses ...string) nbstate.Row {
	return nbstate.Row{ID: name, Model: &nbdb.LogicalSwitchPort{Name: name, Addresses: addresses,
		Options: map[string]string{"requested-chassis": "n"}, ExternalIDs: map[string]string{"namespace": "ns"}}}
}

func portOf(sw, port string) nbstate.Member {
	return nbstate.Member{Parent: switchKey(sw), Column: "ports", Value: port}
}

func podOn(sw, name string, addresses ...string) nbstate.Desired {
	return nbstate.Desired{Rows: []nbstate.Row{portRow(name, addresses...)}, Members: []nbstate.Member{portOf(sw, name)}}
}

// contents are the rows of ours in a database in a comparable form: key → columns, where references are
// written as IDs ("?" for rows of others). References to no row at all are left out: ovsdb-server 3.1 now and then
// keeps a weak reference to a row that it deleted; its clients see none.
type contents map[string]string

// ourContents reads the database through a fresh connection. It checks that no row of ours is there twice.
func ourContents(tb T, endpoint string) contents {
	tb.Helper()
	c := observe(tb, endpoint)
	defer c.Close()
	out := contents{}
	c.Read(func(*cache.TableCache) { out.read(tb, c) })
	return out
}

func (out contents) read(tb T, c *ovsdb.Client) {
	schema := nbdb.Schema()
	ids := map[string]string{}
	eachRow(c, func(table, uuid string, m model.Model) {
		ids[uuid] = "?"
		if ext := externalIDs(m); ext[names.OwnerControllerKey] == names.ControllerName {
			ids[uuid] = ext[names.RowIDKey]
		}
	})
	eachRow(c, func(table, uuid string, m model.Model) {
		if ids[uuid] == "?" {
			return
		}
		key := table + "/" + ids[uuid]
		if _, twice := out[key]; twice {
			tb.Errorf("%s is in the database twice", key)
		}
		out[key] = render(schema.Table(table), m, func(id string) string { return ids[id] })
	})
}

func observe(tb T, endpoint string) *ovsdb.Client {
	tb.Helper()
	o, err := nbsync.ConnectOptions([]string{endpoint}, nil)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	o.BackoffMax = 50 * time.Millisecond
	c, err := ovsdb.Connect(context.Background(), o)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return c
}

func eachRow(c *ovsdb.Client, f func(table, uuid string, m model.Model)) {
	for _, table := range c.Cache().Tables() {
		for uuid, m := range c.Cache().Table(table).RowsShallow() {
			f(table, uuid, m)
		}
	}
}

func externalIDs(m model.Model) map[string]string {
	f := reflect.ValueOf(m).Elem().FieldByName("ExternalIDs")
	if !f.IsValid() {
		return nil
	}
	return f.Interface().(map[string]string)
}

// render writes the columns of a row that are not at their defaults.
func render(schema *libovsdb.TableSchema, m model.Model, ref func(string) string) string {
	v := reflect.ValueOf(m).Elem()
	var parts []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("ovsdb")
		c := schema.Column(name)
		if name == "_uuid" || c == nil || libovsdb.IsDefaultValue(c, v.Field(i).Interface()) {
			continue
		}
		isRef := c.TypeObj != nil && c.TypeObj.Key != nil && c.TypeObj.Key.Type == libovsdb.TypeUUID
		if value := renderValue(v.Field(i), isRef, ref); value != "[]" {
			parts = append(parts, fmt.Sprintf("%s=%s", name, value))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func renderValue(v reflect.Value, isRef bool, ref func(string) string) string {
	switch v.Kind() {
	case reflect.Pointer:
		return renderValue(v.Elem(), isRef, ref)
	case reflect.Slice:
		var list []string
		for i := range v.Len() {
			list = append(list, renderValue(v.Index(i), isRef, ref))
		}
		list = slices.DeleteFunc(list, func(s string) bool { return s == "" && isRef })
		slices.Sort(list)
		return fmt.Sprint(slices.Compact(list))
	case reflect.String:
		if isRef {
			return ref(v.String())
		}
	}
	return fmt.Sprint(v.Interface())
}

// wantedContents is what the database should hold for a desired state.
func wantedContents(desired map[nbstate.Owner]nbstate.Desired) contents {
	schema := nbdb.Schema()
	store := nbstate.NewStore()
	out := contents{}
	members := map[nbstate.Key]map[string]map[string]struct{}{}
	for _, d := range desired {
		for _, m := range d.Members {
			if members[m.Parent] == nil {
				members[m.Parent] = map[string]map[string]struct{}{}
			}
			if members[m.Parent][m.Column] == nil {
				members[m.Parent][m.Column] = map[string]struct{}{}
			}
			members[m.Parent][m.Column][m.Value] = struct{}{}
		}
	}
	for owner, d := range desired {
		for _, r := range d.Rows {
			table, _ := store.TableOf(r.Model)
			full := model.Clone(r.Model)
			v := reflect.ValueOf(full).Elem()
			ids := maps.Clone(externalIDs(full))
			if ids == nil {
				ids = map[string]string{}
			}
			ids[names.RowIDKey], ids[names.OwnerControllerKey] = r.ID, names.ControllerName
			ids[names.OwnerTypeKey], ids[names.OwnerNameKey] = owner.Kind, owner.Name
			v.FieldByName("ExternalIDs").Set(reflect.ValueOf(ids))
			for i := range v.NumField() {
				set := members[nbstate.Key{Table: table, ID: r.ID}][v.Type().Field(i).Tag.Get("ovsdb")]
				if len(set) > 0 {
					v.Field(i).Set(reflect.ValueOf(slices.Sorted(maps.Keys(set))))
				}
			}
			out[table+"/"+r.ID] = render(schema.Table(table), full, func(id string) string { return id })
		}
	}
	return out
}

func startServer(t *testing.T) *ovsdbtest.Server {
	t.Helper()
	return ovsdbtest.Start(t, ovsdbtest.NB())
}
