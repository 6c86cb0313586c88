package ovndb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// beginConversion makes a standalone file ready to become a cluster's content. No server can begin with the file until the lock that is
// returned is closed: what it wrote meanwhile would be in no cluster.
func beginConversion(ctx context.Context, c *Config) (io.Closer, error) {
	if err := forgetListener(ctx, c); err != nil { // ovsdb-tool takes the lock itself
		return nil, err
	}
	return lock(c)
}

// forgetListener removes, from a standalone file that is to become a cluster's content, the row by which its server listened for nodes
// at the port where members listen for each other's clients. Relays listen wherever a row says: one beside a member would take its port.
func forgetListener(ctx context.Context, c *Config) error {
	if c.Kind != SB() {
		return nil
	}
	const uuid, target = "_uuid", "target"
	results, err := offline(ctx, c, "query", libovsdb.Operation{
		Op: libovsdb.OperationSelect, Table: sbdb.ConnectionTable, Columns: []string{uuid, target},
		Where: []libovsdb.Condition{libovsdb.NewCondition("role", libovsdb.ConditionEqual, names.ChassisRole)},
	})
	if err != nil {
		return err
	}
	for _, row := range results[0].Rows {
		id, isID := row[uuid].(libovsdb.UUID)
		at, _ := row[target].(string)
		if !isID || !listensAt(at, c.Port) {
			continue
		}
		klog.InfoS("Members listen where the standalone database listened for nodes", "database", c.Kind.Database, "removed", at)
		// Nothing else refers to the row: it goes with the reference.
		if _, err := offline(ctx, c, "transact", libovsdb.Operation{
			Op: libovsdb.OperationMutate, Table: c.Kind.Global, Where: everyRow(),
			Mutations: []libovsdb.Mutation{*libovsdb.NewMutation("connections", libovsdb.MutateOperationDelete, id)},
		}); err != nil {
			return err
		}
	}
	return nil
}

// listensAt tells whether a connection's target is a listener with TLS at a port: ovsdb(7), "Connection Methods".
func listensAt(target string, port int) bool {
	at, passive := strings.CutPrefix(target, "pssl:")
	number, _, _ := strings.Cut(at, ":")
	return passive && number == fmt.Sprint(port)
}

// offline does a transaction in the file of a server that does not run: ovsdb-tool(1), "query" and "transact".
func offline(ctx context.Context, c *Config, command string, ops ...libovsdb.Operation) ([]libovsdb.OperationResult, error) {
	text, err := json.Marshal(libovsdb.NewTransactArgs(c.Kind.Database, ops...))
	if err != nil {
		return nil, err
	}
	out, err := tool(ctx, command, c.Path(), string(text))
	if err != nil {
		return nil, err
	}
	var results []libovsdb.OperationResult
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		return nil, fmt.Errorf("ovsdb-tool %s: %w: %s", command, err, out)
	}
	if _, err := ovsdb.CheckResults(results, len(ops)); err != nil {
		return nil, fmt.Errorf("ovsdb-tool %s %s: %w", command, c.Path(), err)
	}
	return results, nil
}
