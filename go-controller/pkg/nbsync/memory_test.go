package nbsync

import (
	"fmt"
	"maps"
	"reflect"
	"testing"

	"github.com/go-logr/logr"
	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// memory is a database without a server: the cache alone.
func memory(tb testing.TB, rows map[string]model.Model) *database {
	tb.Helper()
	c, err := newCatalog()
	if err != nil {
		tb.Fatal(err)
	}
	co, err := ConnectOptions([]string{"unix:/none"}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	co.Model.SetIndexes(co.Indexes)
	dbModel, errs := model.NewDatabaseModel(nbdb.Schema(), co.Model)
	if len(errs) > 0 {
		tb.Fatal(errs)
	}
	data := cache.Data{}
	for uuid, m := range rows {
		table := dbModel.FindTable(reflect.TypeOf(m))
		if data[table] == nil {
			data[table] = map[string]model.Model{}
		}
		full := model.Clone(m)
		reflect.ValueOf(full).Elem().FieldByName("UUID").SetString(uuid)
		data[table][uuid] = full
	}
	logger := logr.Discard()
	tc, err := cache.NewTableCache(dbModel, data, &logger)
	if err != nil {
		tb.Fatal(err)
	}
	var o Options
	o.setDefaults()
	return &database{catalog: c, cache: tc, controller: names.ControllerName, ownerOf: o.OwnerOf}
}

func pod(i int) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerPod, Name: fmt.Sprint("namespace/pod-", i)}
}

func nodeOwner(i int) nbstate.Owner {
	return nbstate.Owner{Kind: names.OwnerNode, Name: fmt.Sprint("node-", i)}
}

func switchKey(i int) nbstate.Key {
	return nbstate.Key{Table: nbdb.LogicalSwitchTable, ID: fmt.Sprint("node-", i)}
}

func switchRow(i int) nbstate.Row {
	return nbstate.Row{ID: fmt.Sprint("node-", i), Model: &nbdb.LogicalSwitch{Name: fmt.Sprint("node-", i), OtherConfig: map[string]string{"subnet": "10.128.0.0/23"}}}
}

// podOn is what a pod wants, of the size that the master's translator gives it.
func podOn(i, node int) nbstate.Desired {
	name := fmt.Sprint("namespace_pod-", i)
	address := fmt.Sprintf("0a:58:0a:80:%02x:%02x 10.128.%d.%d", i/250, i%250, i/250, i%250)
	return nbstate.Desired{
		Rows: []nbstate.Row{{ID: name, Model: &nbdb.LogicalSwitchPort{
			Name: name, Addresses: []string{address}, PortSecurity: []string{address},
			Options:     map[string]string{"requested-chassis": fmt.Sprint("node-", node), "iface-id-ver": fmt.Sprint("uid-", i)},
			ExternalIDs: map[string]string{"namespace": "namespace", "pod": "true"},
		}}},
		Members: []nbstate.Member{{Parent: switchKey(node), Column: "ports", Value: name}},
	}
}

// asInDatabase gives a wanted row the marks that it has in the database.
func asInDatabase(owner nbstate.Owner, r nbstate.Row) model.Model {
	full := model.Clone(r.Model)
	f := reflect.ValueOf(full).Elem().FieldByName("ExternalIDs")
	ids, _ := f.Interface().(map[string]string)
	all := map[string]string{
		names.RowIDKey: r.ID, names.OwnerControllerKey: names.ControllerName,
		names.OwnerTypeKey: owner.Kind, names.OwnerNameKey: owner.Name,
	}
	maps.Copy(all, ids)
	f.Set(reflect.ValueOf(all))
	return full
}

// planned is the transaction for owners.
func planned(tb testing.TB, db *database, store *nbstate.Store, owners ...nbstate.Owner) *transaction {
	tb.Helper()
	var tx *transaction
	store.Read(func(v nbstate.View) {
		b := newBatch(db, store, v)
		b.mayPull = func(nbstate.Owner) bool { return true }
		b.leftovers = func(nbstate.Owner) *leftovers { return nil }
		for _, o := range owners {
			b.add(o)
		}
		tx = b.transaction()
	})
	return tx
}

func mustSet(tb testing.TB, s *nbstate.Store, o nbstate.Owner, d nbstate.Desired) {
	tb.Helper()
	if err := s.Set(o, d); err != nil {
		tb.Fatal(err)
	}
}
