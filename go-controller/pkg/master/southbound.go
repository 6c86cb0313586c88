package master

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ovn-org/libovsdb/cache"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// southbound is the real chassisDatabase.
type southbound struct{ client *ovsdb.Client }

// connectChassis keeps a copy of the chassis; changed is told the hostname of each that is there, comes or changes.
func connectChassis(ctx context.Context, d config.Database, observer ovsdb.Observer, changed func(hostname string)) (southbound, error) {
	tls, err := ovsdb.TLSConfig(d.TLSFiles)
	if err != nil {
		return southbound{}, fmt.Errorf("southbound database: %w", err)
	}
	full, err := sbdb.FullDatabaseModel()
	if err != nil {
		return southbound{}, fmt.Errorf("southbound model: %w", err)
	}
	c, err := ovsdb.Connect(ctx, ovsdb.Options{
		Database: full.Name(), Model: full, Endpoints: d.Endpoints, TLS: tls, LeaderOnly: true,
		Monitors: []ovsdb.Monitor{{Table: sbdb.ChassisTable, Columns: []string{"name", "hostname", "other_config"}}},
		Handlers: []cache.EventHandler{chassisEvents(changed)},
		Observer: observer,
	})
	if err != nil {
		return southbound{}, fmt.Errorf("southbound database: %w", err)
	}
	return southbound{c}, nil
}

// chassisEvents tells of chassis that come or change. After each connect all of them come.
func chassisEvents(changed func(hostname string)) cache.EventHandler {
	tell := func(m model.Model) {
		if c, ok := m.(*sbdb.Chassis); ok && c.Hostname != "" {
			changed(c.Hostname)
		}
	}
	return &cache.EventHandlerFuncs{
		AddFunc:    func(_ string, m model.Model) { tell(m) },
		UpdateFunc: func(_ string, _, m model.Model) { tell(m) },
	}
}

func (s southbound) chassisOf(hostname string) []chassis {
	var out []chassis
	for _, c := range ovsdb.Rows[sbdb.Chassis](s.client) {
		if c.Hostname == hostname {
			out = append(out, chassis{name: c.Name, ours: marked(c.OtherConfig)})
		}
	}
	return out
}

// marked tells whether our agent has set up the chassis.
func marked(config map[string]string) bool {
	return slices.Contains(strings.Split(config[names.OVNCMSOptions], ","), names.ControllerName)
}

func (s southbound) deleteChassis(ctx context.Context, chassis []string) error {
	var ops []libovsdb.Operation
	for _, name := range chassis {
		for _, table := range []string{sbdb.ChassisTable, sbdb.ChassisPrivateTable} {
			ops = append(ops, libovsdb.Operation{
				Op: libovsdb.OperationDelete, Table: table,
				Where: []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, name)},
			})
		}
	}
	results, err := s.client.Transact(ctx, ops...)
	if err != nil {
		return err
	}
	_, err = ovsdb.CheckResults(results, len(ops))
	return err
}
