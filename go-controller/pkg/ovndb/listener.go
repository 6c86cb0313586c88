package ovndb

import (
	"context"
	"errors"
	"fmt"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// nodeProbe is after how many milliseconds without a word a relay asks whether a node is still there. Each node is asked: often is dear.
const nodeProbe = 60000

// target is the row's in table Connection: ovn-sb(5).
func (r *Relay) target() string { return "pssl:" + r.Listen }

// keepListener sees to it, until ctx ends, that the database has the row by which relays listen for nodes: also in a database that was
// made anew, when all was lost. It asks again and again: that the row can be written, which needs a source and ovn-northd's row, is no
// event of table Connection, so a monitor would not spare the repetition. A question to the relay's own copy on the same host is cheap.
func (r *Relay) keepListener(ctx context.Context) {
	last := ""
	for wait := backoffFirst; ; wait = min(2*wait, upkeepInterval) { // soon at first: the relay's server has only just been started
		made, err := r.ensureListener(ctx)
		if made {
			klog.InfoS("Relays listen for nodes", "database", r.Kind.Database, "target", r.target())
		}
		if err != nil && err.Error() != last && ctx.Err() == nil {
			klog.InfoS("Relays do not listen for nodes yet", "database", r.Kind.Database, "target", r.target(), "reason", err.Error())
		}
		if last = ""; err != nil {
			last = err.Error()
		}
		if !retry.Sleep(ctx, wait) {
			return
		}
	}
}

// ensureListener makes the row where there is none. It asks the relay's own copy first: most of the time there is nothing to write.
func (r *Relay) ensureListener(ctx context.Context) (made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err = r.listening(ctx)
	if !errors.Is(err, errNoListener) {
		return false, err
	}
	const row = "listener"
	results, err := r.transact(ctx,
		libovsdb.Operation{Op: libovsdb.OperationInsert, Table: sbdb.ConnectionTable, UUIDName: row, Row: libovsdb.Row{
			"target": r.target(), "role": names.ChassisRole, "inactivity_probe": nodeProbe}},
		libovsdb.Operation{Op: libovsdb.OperationMutate, Table: r.Kind.Global, Where: everyRow(),
			Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("connections", libovsdb.MutateOperationInsert, libovsdb.UUID{GoUUID: row})}})
	if err == nil && results[1].Count == 0 { // nothing has been written: the row belonged to nothing
		err = fmt.Errorf("the database has no row in table %s yet: ovn-northd makes it", r.Kind.Global)
	}
	return err == nil, err
}

// noRow is the identity of no row.
const noRow = "00000000-0000-0000-0000-000000000000"

// everyRow is a condition that each row fulfils: the library leaves an empty list of conditions out, which servers do not take.
func everyRow() []libovsdb.Condition {
	return []libovsdb.Condition{libovsdb.NewCondition("_uuid", libovsdb.ConditionNotEqual, libovsdb.UUID{GoUUID: noRow})}
}

var errNoListener = errors.New("the database has no connection for nodes")

// listening is nil when the row is there, and no other one lets anybody in without the role: relays listen wherever a row says.
func (r *Relay) listening(ctx context.Context) error {
	results, err := r.transact(ctx, libovsdb.Operation{
		Op: libovsdb.OperationSelect, Table: sbdb.ConnectionTable, Columns: []string{"target", "role"}, Where: everyRow(),
	})
	if err != nil {
		return err
	}
	return r.judgeListeners(results[0].Rows)
}

// judgeListeners tells what is wrong with the rows of table Connection.
func (r *Relay) judgeListeners(rows []libovsdb.Row) error {
	var errs []error
	found := false
	for _, row := range rows {
		target, role := row["target"], row["role"]
		found = found || target == r.target()
		if role != names.ChassisRole { // of its own accord no listener takes another role
			errs = append(errs, fmt.Errorf("connection %v has role %v, not %q: whoever connects may write what is not theirs. "+
				"Remove it (ovn-sbctl del-connection: relays make theirs again), stop all relays, start them", target, role, names.ChassisRole))
		}
	}
	if !found {
		errs = append(errs, fmt.Errorf("%w at %s", errNoListener, r.target()))
	}
	return errors.Join(errs...)
}

func (r *Relay) transact(ctx context.Context, ops ...libovsdb.Operation) ([]libovsdb.OperationResult, error) {
	return ovsdb.TransactOnce(ctx, "unix:"+r.socket(), nil, r.Kind.Database, ops...)
}
