package master

import (
	"context"
	"fmt"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
)

// janitor deletes the chassis of nodes that are gone from the southbound database: nobody else does, and every
// other node keeps a tunnel to a chassis as long as it is there. Only chassis of nodes that this product had
// connected are touched.
type janitor struct {
	database config.Database
	nodes    *kube.Mirror[*kube.Node]
	metrics  *metrics
	worker   *kube.Worker[string]
	sb       chassisDatabase
}

// chassisDatabase is the part of the southbound database that the janitor sees.
type chassisDatabase interface {
	// chassisOf returns the names of the chassis with that hostname.
	chassisOf(hostname string) []string
	deleteChassis(ctx context.Context, names []string) error
}

func newJanitor(database config.Database, nodes *kube.Mirror[*kube.Node], m *metrics) *janitor {
	j := &janitor{database: database, nodes: nodes, metrics: m}
	j.worker = kube.NewWorker("chassis", m.queues, j.clean)
	return j
}

// nodeGone asks for the chassis of a former node to be deleted. It does not block.
func (j *janitor) nodeGone(name string) { j.worker.Add(name) }

// run connects to the southbound database and works until ctx ends.
func (j *janitor) run(ctx context.Context) error {
	sb, err := connectChassis(ctx, j.database)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	defer sb.client.Close()
	j.sb = sb
	j.worker.Run(ctx, 1)
	return nil
}

func (j *janitor) clean(ctx context.Context, node string) error {
	if _, back := j.nodes.Get(node); back {
		return nil
	}
	stale := j.sb.chassisOf(node)
	if len(stale) == 0 {
		return nil
	}
	if err := j.sb.deleteChassis(ctx, stale); err != nil {
		return fmt.Errorf("deleting chassis %v of former node %s from the southbound database: %w", stale, node, err)
	}
	j.metrics.staleChassis.Add(float64(len(stale)))
	klog.InfoS("Deleted chassis of former node", "node", node, "chassis", stale)
	return nil
}

// southbound is the real chassisDatabase.
type southbound struct{ client *ovsdb.Client }

func connectChassis(ctx context.Context, d config.Database) (southbound, error) {
	tls, err := ovsdb.TLSConfig(tlsFiles(d))
	if err != nil {
		return southbound{}, fmt.Errorf("southbound database: %w", err)
	}
	full, err := sbdb.FullDatabaseModel()
	if err != nil {
		return southbound{}, fmt.Errorf("southbound model: %w", err)
	}
	c, err := ovsdb.Connect(ctx, ovsdb.Options{
		Database: full.Name(), Model: full, Endpoints: d.Endpoints, TLS: tls, LeaderOnly: true,
		Monitors: []ovsdb.Monitor{{Table: sbdb.ChassisTable, Columns: []string{"name", "hostname"}}},
	})
	if err != nil {
		return southbound{}, fmt.Errorf("southbound database: %w", err)
	}
	return southbound{c}, nil
}

func (s southbound) chassisOf(hostname string) []string {
	var out []string
	for _, c := range ovsdb.Rows[sbdb.Chassis](s.client) {
		if c.Hostname == hostname {
			out = append(out, c.Name)
		}
	}
	return out
}

func (s southbound) deleteChassis(ctx context.Context, names []string) error {
	var ops []libovsdb.Operation
	for _, name := range names {
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
