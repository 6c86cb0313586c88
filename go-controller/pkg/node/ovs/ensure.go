package ovs

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/vswitchdb"
)

// Ensure makes the database hold what is desired, in one transaction. It returns the changes it made, none
// when all was so already. ovs-vswitchd acts on them later: that shows as events.
func Ensure(ctx context.Context, c *ovsdb.Client, d Desired) ([]Change, error) {
	s := Observe(c)
	changes := Plan(s, d)
	if len(changes) == 0 {
		return nil, nil
	}
	ops, err := newBuilder(c.Builder(), s).operations(changes)
	if err != nil {
		return nil, fmt.Errorf("prepare %v: %w", changes, err)
	}
	results, err := c.Transact(ctx, ops...)
	if err == nil {
		_, err = ovsdb.CheckResults(results, len(ops))
	}
	if err != nil {
		return nil, fmt.Errorf("change the Open_vSwitch database (%v): %w", changes, err)
	}
	for _, change := range changes {
		klog.InfoS("Changed the Open_vSwitch database", "change", change)
	}
	return changes, nil
}

// builder turns changes into operations of one transaction.
type builder struct {
	api   ovsdb.Builder
	state State
	ops   []libovsdb.Operation
	// bridges and interfaces created in this transaction are completed before they are inserted.
	bridges    map[string]*vswitchdb.Bridge
	interfaces map[string]*vswitchdb.Interface
	created    []model.Model
}

func newBuilder(api ovsdb.Builder, s State) *builder {
	return &builder{api: api, state: s, bridges: map[string]*vswitchdb.Bridge{}, interfaces: map[string]*vswitchdb.Interface{}}
}

func (b *builder) operations(changes []Change) ([]libovsdb.Operation, error) {
	for _, c := range changes {
		if err := b.add(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
	}
	if len(b.created) > 0 {
		ops, err := b.api.Create(b.created...)
		if err != nil {
			return nil, err
		}
		b.ops = append(b.ops, ops...)
	}
	return b.ops, nil
}

func (b *builder) root() *vswitchdb.OpenvSwitch {
	return &vswitchdb.OpenvSwitch{UUID: b.state.rootUUID}
}

func (b *builder) add(c Change) error {
	switch c.Kind {
	case SetExternalIDs:
		return b.setExternalIDs(c)
	case CreateBridge:
		return b.createBridge(c.Bridge)
	case UpdateBridge:
		row := &vswitchdb.Bridge{
			UUID: b.state.bridgeUUIDs[c.Name], DatapathType: c.Bridge.DatapathType, FailMode: failMode(c.Bridge.FailMode),
			Protocols: c.Bridge.Protocols, OtherConfig: c.Bridge.OtherConfig, ExternalIDs: c.Bridge.ExternalIDs,
		}
		return b.collect(b.api.Where(row).Update(row, &row.DatapathType, &row.FailMode, &row.Protocols, &row.OtherConfig, &row.ExternalIDs))
	case DeleteBridge:
		root := b.root()
		return b.collect(b.api.Where(root).Mutate(root, model.Mutation{
			Field: &root.Bridges, Mutator: libovsdb.MutateOperationDelete, Value: []string{b.state.bridgeUUIDs[c.Name]},
		}))
	case CreatePort:
		return b.createPort(c.Port)
	case UpdatePort:
		return b.updatePort(c.Port)
	case DeletePort:
		p := b.state.Ports[c.Name]
		row := &vswitchdb.Bridge{UUID: b.state.bridgeUUIDs[p.Bridge]}
		return b.collect(b.api.Where(row).Mutate(row, model.Mutation{
			Field: &row.Ports, Mutator: libovsdb.MutateOperationDelete, Value: []string{p.portUUID},
		}))
	case CreateSSL:
		row := &vswitchdb.SSL{UUID: named("ssl", ""), ExternalIDs: map[string]string{names.OwnerControllerKey: names.ControllerName}}
		fillSSL(row, c.SSL)
		b.created = append(b.created, row)
		root := b.root()
		root.SSL = &row.UUID
		return b.collect(b.api.Where(root).Update(root, &root.SSL))
	case UpdateSSL:
		row := &vswitchdb.SSL{UUID: b.state.sslUUID}
		fillSSL(row, c.SSL)
		return b.collect(b.api.Where(row).Update(row, &row.PrivateKey, &row.Certificate, &row.CaCert))
	case DeleteSSL:
		root := b.root() // the row goes with the last that refers to it
		return b.collect(b.api.Where(root).Update(root, &root.SSL))
	case SetCapabilities:
		row := &vswitchdb.Datapath{UUID: b.state.datapathUUIDs[c.Name]}
		return b.collect(b.api.Where(row).Mutate(row, replaceKeys(&row.Capabilities, c.Set, nil)...))
	}
	return fmt.Errorf("unknown kind %d", c.Kind)
}

func (b *builder) collect(ops []libovsdb.Operation, err error) error {
	b.ops = append(b.ops, ops...)
	return err
}

// setExternalIDs replaces single keys; the column is shared with others.
func (b *builder) setExternalIDs(c Change) error {
	root := b.root()
	return b.collect(b.api.Where(root).Mutate(root, replaceKeys(&root.ExternalIDs, c.Set, c.Remove)...))
}

// replaceKeys changes some keys of a map column. "insert" keeps what is there (RFC 7047, section 5.1): a key goes first.
func replaceKeys(field any, set map[string]string, remove []string) []model.Mutation {
	gone := append(slices.Sorted(maps.Keys(set)), remove...)
	out := []model.Mutation{{Field: field, Mutator: libovsdb.MutateOperationDelete, Value: gone}}
	if len(set) > 0 {
		out = append(out, model.Mutation{Field: field, Mutator: libovsdb.MutateOperationInsert, Value: set})
	}
	return out
}

func (b *builder) createBridge(want Bridge) error {
	row := &vswitchdb.Bridge{
		UUID: named("bridge", want.Name), Name: want.Name, DatapathType: want.DatapathType, FailMode: failMode(want.FailMode),
		OtherConfig: want.OtherConfig, ExternalIDs: want.ExternalIDs,
	}
	b.bridges[want.Name] = row
	b.created = append(b.created, row)
	row.Ports = []string{b.newPort(Port{Name: want.Name, Type: Internal})}
	root := b.root()
	return b.collect(b.api.Where(root).Mutate(root, model.Mutation{
		Field: &root.Bridges, Mutator: libovsdb.MutateOperationInsert, Value: []string{row.UUID},
	}))
}

func (b *builder) createPort(want Port) error {
	uuid := b.newPort(want)
	if row := b.bridges[want.Bridge]; row != nil {
		row.Ports = append(row.Ports, uuid)
		return nil
	}
	bridge, ok := b.state.bridgeUUIDs[want.Bridge]
	if !ok {
		return fmt.Errorf("there is no bridge %s", want.Bridge)
	}
	row := &vswitchdb.Bridge{UUID: bridge}
	return b.collect(b.api.Where(row).Mutate(row, model.Mutation{
		Field: &row.Ports, Mutator: libovsdb.MutateOperationInsert, Value: []string{uuid},
	}))
}

// newPort queues a port and its interface for creation and returns the port's named UUID.
func (b *builder) newPort(want Port) string {
	i := &vswitchdb.Interface{UUID: named("interface", want.Name), Name: want.Name}
	fill(i, want)
	b.interfaces[want.Name] = i
	port := &vswitchdb.Port{UUID: named("port", want.Name), Name: want.Name, Interfaces: []string{i.UUID}}
	if want.Transient {
		port.OtherConfig = map[string]string{"transient": "true"}
	}
	b.created = append(b.created, port, i)
	return port.UUID
}

func (b *builder) updatePort(want Port) error {
	if i := b.interfaces[want.Name]; i != nil {
		fill(i, want)
		return nil
	}
	i := &vswitchdb.Interface{UUID: b.state.Ports[want.Name].interfaceUUID}
	fill(i, want)
	fields := []any{&i.Type, &i.ExternalIDs}
	if want.MAC != "" {
		fields = append(fields, &i.MAC)
	}
	if want.MTU != 0 {
		fields = append(fields, &i.MTURequest)
	}
	return b.collect(b.api.Where(i).Update(i, fields...))
}

func fillSSL(row *vswitchdb.SSL, want *SSL) {
	row.PrivateKey, row.Certificate, row.CaCert = want.PrivateKey, want.Certificate, want.CACert
}

func fill(i *vswitchdb.Interface, want Port) {
	i.Type, i.ExternalIDs = want.Type, want.ExternalIDs
	if want.MAC != "" {
		i.MAC = &want.MAC
	}
	if want.MTU != 0 {
		i.MTURequest = &want.MTU
	}
}

func failMode(mode string) *string {
	if mode == FailStandalone {
		return nil
	}
	return &mode
}

// named makes a name that RFC 7047 allows for rows that have no UUID yet.
func named(kind, name string) string {
	out := []byte("new_" + kind + "_" + name)
	for i, c := range out {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			out[i] = '_'
		}
	}
	return string(out)
}
