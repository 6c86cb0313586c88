package ovsdb

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/ovn-org/libovsdb/model"
	"github.com/ovn-org/libovsdb/ovsdb"
)

// Features answers what the server's schema has.
type Features struct {
	schema ovsdb.DatabaseSchema
}

// ParseFeatures reads a schema in the form of RFC 7047, 3.2.
func ParseFeatures(text []byte) (Features, error) {
	var f Features
	if err := json.Unmarshal(text, &f.schema); err != nil {
		return Features{}, fmt.Errorf("database schema: %w", err)
	}
	return f, nil
}

// Version is the version of the server's schema, for example "7.0.0".
func (f Features) Version() string { return f.schema.Version }

// HasTable tells whether the schema has the table.
func (f Features) HasTable(table string) bool {
	_, ok := f.schema.Tables[table]
	return ok
}

// HasColumn tells whether the schema has the column in the table.
func (f Features) HasColumn(table, column string) bool {
	t, ok := f.schema.Tables[table]
	if !ok {
		return false
	}
	_, ok = t.Columns[column]
	return ok
}

// HasKey tells whether the schema lets a column hold a value, of those that it lists; for a map, as a key. A column with any value has none listed.
func (f Features) HasKey(table, column, value string) bool {
	if !f.HasColumn(table, column) {
		return false
	}
	t := f.schema.Tables[table].Columns[column].TypeObj
	return t != nil && t.Key != nil && slices.Contains(t.Key.Enum, any(value))
}

// fit cuts the model of a whole database to the monitored tables that the schema has, and completes
// the monitors with the model's columns.
func fit(o *Options, schema ovsdb.DatabaseSchema) (model.ClientDBModel, []Monitor, error) {
	types := model.NewPartialDatabaseModel(o.Model).Types()
	features := Features{schema: schema}
	models := make(map[string]model.Model, len(o.Monitors))
	var monitors []Monitor
	var missing []string
	for _, m := range o.Monitors {
		t, ok := types[m.Table]
		if !ok {
			return model.ClientDBModel{}, nil, fmt.Errorf("the model of %s has no table %s", o.Database, m.Table)
		}
		columns, lacks := modelColumns(features, m.Table, t.Elem())
		if len(lacks) > 0 {
			if !m.Optional {
				missing = append(missing, lacks...)
			}
			continue
		}
		if len(m.Columns) == 0 {
			m.Columns = columns
		}
		models[m.Table] = reflect.New(t.Elem()).Interface()
		monitors = append(monitors, m)
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return model.ClientDBModel{}, nil, &SchemaError{Database: o.Database, Version: schema.Version, Missing: missing}
	}
	cut, err := model.NewClientDBModel(o.Database, models)
	if err != nil {
		return model.ClientDBModel{}, nil, fmt.Errorf("model of %s: %w", o.Database, err)
	}
	indexes := make(map[string][]model.ClientIndex, len(o.Indexes))
	for table, index := range o.Indexes {
		if _, ok := models[table]; ok {
			indexes[table] = index
		}
	}
	cut.SetIndexes(indexes)
	return cut, monitors, nil
}

// modelColumns returns the columns of a generated struct, and those (or the table) that are missing.
func modelColumns(f Features, table string, t reflect.Type) (columns, missing []string) {
	if !f.HasTable(table) {
		return nil, []string{table}
	}
	for i := range t.NumField() {
		column := t.Field(i).Tag.Get("ovsdb")
		if column == "" || column == "_uuid" {
			continue
		}
		columns = append(columns, column)
		if !f.HasColumn(table, column) {
			missing = append(missing, table+"."+column)
		}
	}
	return columns, missing
}
