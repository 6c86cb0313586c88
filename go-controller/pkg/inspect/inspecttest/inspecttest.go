// Package inspecttest is a small cluster of two nodes for tests: its objects and what its databases held. Pods shop/web and guests/client
// are on node1, shop/db on node2; shop/web is isolated, and lets the namespaces of team blue in at its port http.
package inspecttest

import (
	"context"
	_ "embed" // for the files
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
)

//go:embed northbound.json
var northbound []byte

//go:embed southbound.json
var southbound []byte

//go:embed objects.json
var objects []byte

// Objects reads the cluster's objects into a structure like inspect.Objects.
func Objects(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal(objects, into); err != nil {
		t.Fatal(err)
	}
}

// Access answers queries of the databases as the cluster's did, and notes what else was to be run.
type Access struct {
	// Answers are the outputs of other commands, by the place and the command's words with spaces between, or by a part of that.
	Answers map[string]string
	// Unreadable is the database, "nb" or "sb", whose content cannot be read.
	Unreadable string
	// Listed is how many times all rows of a table were read.
	Listed map[string]int
	// Ran are these commands, each with its place.
	Ran     []string
	changes map[string]map[string]json.RawMessage
	mu      sync.Mutex
}

func (a *Access) note(line string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Ran = append(a.Ran, line)
}

// Change gives a column of all rows of a northbound table another value.
func (a *Access) Change(table, column string, value int) {
	if a.changes == nil {
		a.changes = map[string]map[string]json.RawMessage{}
	}
	if a.changes[table] == nil {
		a.changes[table] = map[string]json.RawMessage{}
	}
	a.changes[table][column] = json.RawMessage(strconv.Itoa(value))
}

// Run answers a command.
func (a *Access) Run(_ context.Context, at access.Place, streams access.Streams, argv ...string) error {
	line := strings.Join(argv, " ")
	if strings.Contains(line, "ovsdb-client") && strings.Contains(line, "query") && !strings.Contains(line, `["_Server"`) {
		if at.Database == a.Unreadable {
			return fmt.Errorf("exec in its pod: %w", io.ErrUnexpectedEOF)
		}
		return a.answer(at, argv[len(argv)-1], streams)
	}
	line = at.String() + ": " + line
	a.note(line)
	for part, text := range a.Answers {
		if strings.Contains(line, part) {
			_, err := streams.Out.Write([]byte(text))
			return err
		}
	}
	return &access.ExitError{Argv: argv, Code: 127}
}

// answer selects whole tables or, by its UUID, a row. Columns that are not in the files have their defaults.
func (a *Access) answer(at access.Place, transaction string, streams access.Streams) error {
	content := northbound
	if at.Database == "sb" {
		content = southbound
	}
	var tables map[string][]map[string]json.RawMessage
	if err := json.Unmarshal(content, &tables); err != nil {
		return err
	}
	var parts []json.RawMessage
	if err := json.Unmarshal([]byte(transaction), &parts); err != nil {
		return fmt.Errorf("transaction %s: %w", transaction, err)
	}
	var results []map[string]any
	for _, part := range parts[1:] {
		var op libovsdb.Operation
		if err := json.Unmarshal(part, &op); err != nil {
			return err
		}
		if op.Op != libovsdb.OperationSelect || len(op.Where) > 1 {
			return fmt.Errorf("operation %s: only whole tables, or rows by a UUID, can be selected", part)
		}
		if len(op.Where) == 0 {
			if a.Listed == nil {
				a.Listed = map[string]int{}
			}
			a.Listed[op.Table]++
		}
		rows := []map[string]json.RawMessage{}
		for _, row := range tables[op.Table] {
			if len(op.Where) == 1 && !has(row, op.Where[0]) {
				continue
			}
			maps.Copy(row, a.changes[op.Table])
			selected := map[string]json.RawMessage{}
			for column, value := range row {
				if slices.Contains(op.Columns, column) {
					selected[column] = value
				}
			}
			rows = append(rows, selected)
		}
		results = append(results, map[string]any{"rows": rows})
	}
	return json.NewEncoder(streams.Out).Encode(results)
}

// has tells whether a row has the UUID that a condition is for.
func has(row map[string]json.RawMessage, c libovsdb.Condition) bool {
	var id libovsdb.UUID
	return c.Column == "_uuid" && c.Function == libovsdb.ConditionEqual && json.Unmarshal(row["_uuid"], &id) == nil && id == c.Value
}
