//go:build integration

package ovndb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// One database becomes three with its content, without being told: when the two others are there, and have nothing.
func TestStandaloneGrows(t *testing.T) {
	c := newCluster(t, 3)
	members := c.configs[0].Members
	c.configs[0].Members = nil
	c.start(0)
	c.ready(0)
	client := c.client()
	c.write(client, "kept")
	client.Close()
	c.start(1) // as a controller does that adds the new ones first
	c.stop(0)
	c.configs[0].Members = members
	c.start(0)
	c.eventually("it waits for the third", func() error {
		f, err := inspect(t.Context(), c.configs[0].Path())
		switch why := fmt.Sprint(c.running[0].Ready()); {
		case err != nil || f.Clustered:
			t.Fatalf("it did not wait: %+v, %v", f, err)
		case !strings.Contains(why, "no answer from "+members[2].String()):
			return errors.New(why)
		}
		return nil
	})
	c.start(2)
	c.ready(0, 1, 2)
	c.counts(0, 3)
	for i := range 3 {
		c.has(i, "kept")
	}
	// A standalone file beside a cluster that lives, as of a disk's old copy, is no content.
	c.stop(0)
	c.wipe(0)
	alone := c.configs[0]
	alone.Members = nil
	if err := create(t.Context(), &alone, decision{action: actionCreate}); err != nil {
		t.Fatal(err)
	}
	m, err := NewMember(c.configs[0], MemberOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "say that they have cluster") {
		t.Errorf("a standalone file was taken beside a cluster: %v", err)
	}
}

// What a server writes during the conversion of its file would be in no cluster.
func TestConversionNeedsTheFileAlone(t *testing.T) {
	c := newCluster(t, 3)
	members := c.configs[0].Members
	c.configs[0].Members = nil
	c.start(0)
	c.ready(0)
	c.configs[0].Members = members
	if err := create(t.Context(), &c.configs[0], decision{action: actionConvert}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the file of a server that runs: %v", err)
	}
	if f, err := inspect(t.Context(), c.configs[0].Path()); err != nil || f.Clustered {
		t.Errorf("the server's file is %+v, %v", f, err)
	}
	c.stop(0)
	if err := create(t.Context(), &c.configs[0], decision{action: actionConvert}); err != nil {
		t.Errorf("the file of a server that has ended: %v", err)
	}
}

// The standalone server's listener for nodes does not come back at a relay, whose host has a member at that port; others stay.
func TestConversionForgetsListener(t *testing.T) {
	c := newCluster(t, 3)
	config := c.configs[0]
	config.Kind, config.Port = SB(), 6642
	alone := config
	alone.Members = nil
	if err := create(t.Context(), &alone, decision{action: actionCreate}); err != nil {
		t.Fatal(err)
	}
	insert := func(id, target, role string) libovsdb.Operation {
		return libovsdb.Operation{Op: libovsdb.OperationInsert, Table: sbdb.ConnectionTable, UUIDName: id, Row: libovsdb.Row{"target": target, "role": role}}
	}
	rows := []libovsdb.Operation{
		insert("a", "pssl:6642:0.0.0.0", names.ChassisRole), insert("b", "pssl:16642", names.ChassisRole), insert("c", "ptcp:6642", ""),
		{Op: libovsdb.OperationInsert, Table: config.Kind.Global, Row: libovsdb.Row{"connections": libovsdb.OvsSet{
			GoSet: []any{libovsdb.UUID{GoUUID: "a"}, libovsdb.UUID{GoUUID: "b"}, libovsdb.UUID{GoUUID: "c"}}}}},
	}
	if _, err := offline(t.Context(), &alone, "transact", rows...); err != nil {
		t.Fatal(err)
	}
	if err := create(t.Context(), &config, decision{action: actionConvert}); err != nil {
		t.Fatal(err)
	}
	if f, err := inspect(t.Context(), config.Path()); err != nil || !f.Clustered {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := Recover(t.Context(), &config); err != nil { // what is standalone can be read without a server
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pssl:16642", "ptcp:6642"}, targets(t.Context(), t, &config)); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
}

// targets are those of table Connection in a file.
func targets(ctx context.Context, t *testing.T, c *Config) []string {
	t.Helper()
	results, err := offline(ctx, c, "query", libovsdb.Operation{Op: libovsdb.OperationSelect, Table: sbdb.ConnectionTable, Where: everyRow()})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, row := range results[0].Rows {
		out = append(out, fmt.Sprint(row["target"]))
	}
	slices.Sort(out)
	return out
}
