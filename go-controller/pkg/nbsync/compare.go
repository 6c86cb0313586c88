package nbsync

import (
	"maps"
	"reflect"
	"slices"

	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
)

// refs turns row IDs into UUIDs, or names of rows that are inserted by the same transaction.
type refs func(refTable, id string, strong bool) string

// wantedRow is a row as it should be: the model and the marks that go into its external_ids.
type wantedRow struct {
	table *table
	model model.Model
	marks map[string]string
}

// insertRow returns all columns that differ from the schema's defaults.
func (w wantedRow) insertRow(resolve refs) (libovsdb.Row, error) {
	out := libovsdb.Row{}
	v := reflect.ValueOf(w.model).Elem()
	for i := range w.table.columns {
		c := &w.table.columns[i]
		if c.skip(w.model) {
			continue
		}
		value := w.value(c, v, resolve)
		if libovsdb.IsDefaultValue(c.schema, value) {
			continue
		}
		o, err := libovsdb.NativeToOvs(c.schema, value)
		if err != nil {
			return nil, err
		}
		out[c.name] = o
	}
	return out, nil
}

// changes returns the columns in which a row of the database differs, as they should be.
func (w wantedRow) changes(actual model.Model, resolve refs) (libovsdb.Row, error) {
	var out libovsdb.Row
	v, a := reflect.ValueOf(w.model).Elem(), reflect.ValueOf(actual).Elem()
	for i := range w.table.columns {
		c := &w.table.columns[i]
		if c.skip(w.model) {
			continue
		}
		have := a.Field(c.field).Interface()
		if c.name == idColumn && len(w.marks) > 0 && w.sameIDs(v.Field(c.field), have) {
			continue
		}
		value := w.value(c, v, resolve)
		if sameValue(value, have) {
			continue
		}
		o, err := libovsdb.NativeToOvs(c.schema, value)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = libovsdb.Row{}
		}
		out[c.name] = o
	}
	return out, nil
}

func (c *column) skip(m model.Model) bool { return c.skipIf != nil && c.skipIf(m) }

// sameIDs compares external_ids without building the wanted map.
func (w wantedRow) sameIDs(field reflect.Value, have any) bool {
	want, _ := field.Interface().(map[string]string)
	actual, _ := have.(map[string]string)
	n := len(w.marks)
	for k, v := range want {
		if _, mark := w.marks[k]; mark {
			continue
		}
		if got, ok := actual[k]; !ok || got != v {
			return false
		}
		n++
	}
	for k, v := range w.marks {
		if actual[k] != v {
			return false
		}
	}
	return n == len(actual)
}

// value is a column's value with references resolved, sets without duplicates and marks added.
func (w wantedRow) value(c *column, v reflect.Value, resolve refs) any {
	raw := v.Field(c.field).Interface()
	switch {
	case c.name == idColumn && len(w.marks) > 0:
		ids, _ := raw.(map[string]string)
		all := make(map[string]string, len(ids)+len(w.marks))
		maps.Copy(all, ids)
		maps.Copy(all, w.marks)
		return all
	case c.refTable != "":
		return resolveAll(c, raw, resolve)
	case c.set:
		if s, ok := raw.([]string); ok {
			return unique(s)
		}
	}
	return raw
}

func resolveAll(c *column, raw any, resolve refs) any {
	switch ids := raw.(type) {
	case []string:
		if len(ids) == 0 {
			return ids
		}
		out := make([]string, 0, len(ids))
		for _, id := range unique(ids) {
			out = append(out, resolve(c.refTable, id, c.strong))
		}
		return out
	case *string:
		if ids == nil {
			return ids
		}
		uuid := resolve(c.refTable, *ids, c.strong)
		return &uuid
	case string:
		return resolve(c.refTable, ids, c.strong)
	}
	return raw
}

// unique returns s without duplicates, which the server refuses in a set.
func unique(s []string) []string {
	if len(s) < 2 {
		return s
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	if sorted = slices.Compact(sorted); len(sorted) == len(s) {
		return s
	}
	return sorted
}

// sameValue compares two values of one column: sets without order, nil like empty.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case string:
		return a == b.(string)
	case []string:
		return sameStrings(a, b.([]string))
	case map[string]string:
		return maps.Equal(a, b.(map[string]string))
	case *string:
		return samePointer(a, b.(*string))
	case *bool:
		return samePointer(a, b.(*bool))
	case *int:
		return samePointer(a, b.(*int))
	}
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	if k := va.Kind(); (k == reflect.Map || k == reflect.Slice) && va.Len() == 0 && vb.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a, b)
}

func samePointer[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

func sameStrings(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.Equal(a, b) {
		return true
	}
	if len(a) <= 8 {
		return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
	}
	in := make(map[string]struct{}, len(a))
	for _, s := range a {
		in[s] = struct{}{}
	}
	return !slices.ContainsFunc(b, func(s string) bool {
		_, ok := in[s]
		return !ok
	})
}
