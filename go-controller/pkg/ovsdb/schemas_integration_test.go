//go:build integration

package ovsdb_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// The models are generated for the floor. They must fit every schema at hand: that of the machine, and those
// of the root folders that the lab keeps (or OVNKUBE_CACHE names), a newer release's for example.
func TestModelsFitSchemas(t *testing.T) {
	cacheDir := os.Getenv("OVNKUBE_CACHE")
	if cacheDir == "" {
		cacheDir = "../../../.cache"
	}
	roots, err := filepath.Glob(filepath.Join(cacheDir, "roots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range []struct {
		kind  ovsdbtest.Kind
		model func() (model.ClientDBModel, error)
	}{
		{ovsdbtest.NB(), nbdb.FullDatabaseModel},
		{ovsdbtest.SB(), sbdb.FullDatabaseModel},
		{ovsdbtest.VSwitch(), vswitchdb.FullDatabaseModel},
	} {
		for _, root := range append(roots, "/") {
			kind := db.kind
			kind.Schema = filepath.Join(root, kind.Schema)
			if _, err := os.Stat(kind.Schema); err != nil {
				continue
			}
			m, err := db.model()
			if err != nil {
				t.Fatal(err)
			}
			o := ovsdb.Options{Database: m.Name(), Model: m, Endpoints: []string{ovsdbtest.Start(t, kind).Endpoint()}}
			for table := range model.NewPartialDatabaseModel(m).Types() {
				o.Monitors = append(o.Monitors, ovsdb.Monitor{Table: table})
			}
			c := connect(t, o)
			t.Logf("%s: version %s, %d tables", kind.Schema, c.Features().Version(), reflect.ValueOf(c.Cache().Tables()).Len())
		}
	}
}
