package ovsdb

import (
	"fmt"
	"reflect"

	"github.com/ovn-org/libovsdb/mapper"
	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
)

// Builder makes operations out of models of monitored tables.
type Builder struct {
	dbModel model.DatabaseModel
}

// Builder returns a builder for the server's schema.
func (c *Client) Builder() Builder { return Builder{c.session().dbModel} }

// Create returns the operations that insert rows. A model's UUID, if it has one, is the name by which other
// operations of the same transaction refer to it (RFC 7047, section 5.1, "named-uuid").
func (b Builder) Create(models ...model.Model) ([]ovsdb.Operation, error) {
	var ops []ovsdb.Operation
	for _, m := range models {
		info, table, err := b.info(m)
		if err != nil {
			return nil, err
		}
		row, err := b.dbModel.Mapper.NewRow(info)
		if err != nil {
			return nil, err
		}
		name, err := uuidOf(info)
		if err != nil {
			return nil, err
		}
		delete(row, "_uuid")
		ops = append(ops, ovsdb.Operation{Op: ovsdb.OperationInsert, Table: table, Row: row, UUIDName: name})
	}
	return ops, nil
}

// Where selects the row with the model's UUID.
func (b Builder) Where(m model.Model) Selection { return Selection{b, m} }

// Selection is a row that is to be changed.
type Selection struct {
	builder Builder
	model   model.Model
}

// Update returns the operation that sets columns to what m, of the type of the selected row, says; fields are
// pointers to fields of m.
func (s Selection) Update(m model.Model, fields ...any) ([]ovsdb.Operation, error) {
	info, _, err := s.builder.info(m)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("update of a row of %T without a field", m)
	}
	row, err := s.builder.dbModel.Mapper.NewRow(info, fields...)
	if err != nil {
		return nil, err
	}
	return s.operation(ovsdb.Operation{Op: ovsdb.OperationUpdate, Row: row})
}

// Mutate returns the operation that changes parts of columns; the mutations' fields are pointers to fields of m.
func (s Selection) Mutate(m model.Model, mutations ...model.Mutation) ([]ovsdb.Operation, error) {
	info, _, err := s.builder.info(m)
	if err != nil {
		return nil, err
	}
	op := ovsdb.Operation{Op: ovsdb.OperationMutate}
	for _, mutation := range mutations {
		column, err := info.ColumnByPtr(mutation.Field)
		if err != nil {
			return nil, err
		}
		mu, err := s.builder.dbModel.Mapper.NewMutation(info, column, mutation.Mutator, mutation.Value)
		if err != nil {
			return nil, err
		}
		op.Mutations = append(op.Mutations, *mu)
	}
	return s.operation(op)
}

// Delete returns the operation that deletes the row.
func (s Selection) Delete() ([]ovsdb.Operation, error) {
	return s.operation(ovsdb.Operation{Op: ovsdb.OperationDelete})
}

func (s Selection) operation(op ovsdb.Operation) ([]ovsdb.Operation, error) {
	info, table, err := s.builder.info(s.model)
	if err != nil {
		return nil, err
	}
	uuid, err := uuidOf(info)
	if err != nil {
		return nil, err
	}
	if uuid == "" {
		return nil, fmt.Errorf("the row of %s to %s has no UUID", table, op.Op)
	}
	op.Table = table
	op.Where = []ovsdb.Condition{ovsdb.NewCondition("_uuid", ovsdb.ConditionEqual, ovsdb.UUID{GoUUID: uuid})}
	return []ovsdb.Operation{op}, nil
}

func (b Builder) info(m model.Model) (*mapper.Info, string, error) {
	table := b.dbModel.FindTable(reflect.TypeOf(m))
	if table == "" {
		return nil, "", fmt.Errorf("%T is not a model of a monitored table", m)
	}
	info, err := b.dbModel.NewModelInfo(m)
	return info, table, err
}

func uuidOf(info *mapper.Info) (string, error) {
	v, err := info.FieldByColumn("_uuid")
	if err != nil {
		return "", err
	}
	uuid, _ := v.(string)
	return uuid, nil
}
