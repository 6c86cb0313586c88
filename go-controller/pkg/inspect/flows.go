package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// Flow is a logical flow.
type Flow struct {
	// Stage is its stage and priority, Hint the beginning of the UUID of the row that it is made from, or empty.
	Stage, Match, Hint string
}

// Flows finds logical flows, of which there may be hundreds of thousands. Only those are read that are asked for, each once; but the
// server has to be asked for all UUIDs, once: it knows no search for beginnings. It is for one goroutine at a time.
type Flows struct {
	access access.Access
	ids    []string // nil until they are read
	known  map[string]Flow
}

// NewFlows finds flows of the southbound database that a leads to.
func NewFlows(a access.Access) *Flows { return &Flows{access: a, known: map[string]Flow{}} }

// Find returns the flows whose UUIDs begin with one of the texts given, by UUID.
func (f *Flows) Find(ctx context.Context, beginnings ...string) (map[string]Flow, error) {
	if f.ids == nil {
		if err := f.list(ctx); err != nil {
			return nil, err
		}
	}
	var wanted, unread []string
	for _, id := range f.ids {
		if slices.ContainsFunc(beginnings, func(b string) bool { return strings.HasPrefix(id, b) }) {
			wanted = append(wanted, id)
			if _, known := f.known[id]; !known {
				unread = append(unread, id)
			}
		}
	}
	if err := f.read(ctx, unread); err != nil {
		return nil, err
	}
	out := map[string]Flow{}
	for _, id := range wanted {
		if flow, there := f.known[id]; there {
			out[id] = flow
		}
	}
	return out, nil
}

func (f *Flows) list(ctx context.Context) error {
	results, err := f.query(ctx, selectFlows([]string{"_uuid"}))
	if err != nil {
		return err
	}
	f.ids = []string{}
	for _, row := range results[0].Rows {
		if id, ok := row["_uuid"].(libovsdb.UUID); ok {
			f.ids = append(f.ids, id.GoUUID)
		}
	}
	return nil
}

func (f *Flows) read(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	var ops []libovsdb.Operation
	for _, id := range ids {
		ops = append(ops, selectFlows([]string{"external_ids", "priority", "match"}, libovsdb.NewCondition("_uuid", libovsdb.ConditionEqual, libovsdb.UUID{GoUUID: id})))
	}
	results, err := f.query(ctx, ops...)
	if err != nil {
		return err
	}
	for i, id := range ids {
		for _, row := range results[i].Rows { // None, when it went since.
			f.known[id] = newFlow(row)
		}
	}
	return nil
}

func newFlow(row libovsdb.Row) Flow {
	ids, _ := row["external_ids"].(libovsdb.OvsMap)
	said := func(key string) string { s, _ := ids.GoMap[key].(string); return s }
	match, _ := row["match"].(string)
	return Flow{Stage: fmt.Sprintf("%s, priority %v", cmp.Or(said("stage-name"), "?"), row["priority"]), Match: match, Hint: said("stage-hint")}
}

func selectFlows(columns []string, where ...libovsdb.Condition) libovsdb.Operation {
	return libovsdb.Operation{Op: libovsdb.OperationSelect, Table: sbdb.LogicalFlowTable, Columns: columns, Where: append([]libovsdb.Condition{}, where...)}
}

func (f *Flows) query(ctx context.Context, ops ...libovsdb.Operation) ([]libovsdb.OperationResult, error) {
	return database.Query(ctx, f.access, ovndb.SB(), ovndb.SB().Database, ops...)
}
