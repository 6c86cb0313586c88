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

// nodesListener is the row in the southbound database by which servers, relays or a standalone one, listen for nodes.
type nodesListener struct {
	kind Kind
	// at is PORT or PORT:ADDRESS, socket that of a server on this host.
	at, socket string
}

// validate tells what is wrong with a listener, whose server has these files.
func (l nodesListener) validate(files ovsdb.TLSFiles) error {
	if l.kind != SB() || files == (ovsdb.TLSFiles{}) {
		return errors.New("--listen is for nodes, whose certificates give them a role in the southbound database: it needs sb, --privkey, --cert and --cacert")
	}
	if !validListen(l.at) {
		return fmt.Errorf("--listen %q: want PORT, PORT:IPv4 or PORT:[IPv6]", l.at)
	}
	return nil
}

// target is the row's in table Connection: ovn-sb(5).
func (l nodesListener) target() string { return "pssl:" + l.at }

// keep sees to it, until ctx ends, that the database has the row: also one that was
// made anew, when all was lost. It asks again and again: that the row can be written, which needs a server and ovn-northd's row, is no
// event of table Connection, so a monitor would not spare the repetition. A question to a server on the same host is cheap.
func (l nodesListener) keep(ctx context.Context) {
	last := ""
	for wait := backoffFirst; ; wait = min(2*wait, upkeepInterval) { // soon at first: the server has only just been started
		made, err := l.ensure(ctx)
		if made {
			klog.InfoS("Servers listen for nodes", "database", l.kind.Database, "target", l.target())
		}
		if err != nil && err.Error() != last && ctx.Err() == nil {
			klog.InfoS("Servers do not listen for nodes yet", "database", l.kind.Database, "target", l.target(), "reason", err.Error())
		}
		if last = ""; err != nil {
			last = err.Error()
		}
		if !retry.Sleep(ctx, wait) {
			return
		}
	}
}

// ensure makes the row where there is none. It asks the server's own copy first: most of the time there is nothing to write.
func (l nodesListener) ensure(ctx context.Context) (made bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	err = l.listening(ctx)
	if !errors.Is(err, errNoListener) {
		return false, err
	}
	const row = "listener"
	results, err := l.transact(ctx,
		libovsdb.Operation{Op: libovsdb.OperationInsert, Table: sbdb.ConnectionTable, UUIDName: row, Row: libovsdb.Row{
			"target": l.target(), "role": names.ChassisRole, "inactivity_probe": nodeProbe}},
		libovsdb.Operation{Op: libovsdb.OperationMutate, Table: l.kind.Global, Where: everyRow(),
			Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("connections", libovsdb.MutateOperationInsert, libovsdb.UUID{GoUUID: row})}})
	if err == nil && results[1].Count == 0 { // nothing has been written: the row belonged to nothing
		err = fmt.Errorf("the database has no row in table %s yet: ovn-northd makes it", l.kind.Global)
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

// listening is nil when the row is there, and no other one lets anybody in without the role: servers listen wherever a row says.
func (l nodesListener) listening(ctx context.Context) error {
	results, err := l.transact(ctx, libovsdb.Operation{
		Op: libovsdb.OperationSelect, Table: sbdb.ConnectionTable, Columns: []string{"target", "role"}, Where: everyRow(),
	})
	if err != nil {
		return err
	}
	return l.judge(results[0].Rows)
}

// judge tells what is wrong with the rows of table Connection.
func (l nodesListener) judge(rows []libovsdb.Row) error {
	var errs []error
	found := false
	for _, row := range rows {
		target, role := row["target"], row["role"]
		found = found || target == l.target()
		if role != names.ChassisRole { // of its own accord no listener takes another role
			errs = append(errs, fmt.Errorf("connection %v has role %v, not %q: whoever connects may write what is not theirs. "+
				"Remove it (ovn-sbctl del-connection: ours is made again), stop what listens there (relays, or the database), start it", target, role, names.ChassisRole))
		}
	}
	if !found {
		errs = append(errs, fmt.Errorf("%w at %s", errNoListener, l.target()))
	}
	return errors.Join(errs...)
}

func (l nodesListener) transact(ctx context.Context, ops ...libovsdb.Operation) ([]libovsdb.OperationResult, error) {
	return ovsdb.TransactOnce(ctx, "unix:"+l.socket, nil, l.kind.Database, ops...)
}
