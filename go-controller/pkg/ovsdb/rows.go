package ovsdb

import (
	"reflect"

	"github.com/ovn-org/libovsdb/cache"
)

// Rows returns the rows of T's table by UUID, as the cache has them now; empty when the table is not
// monitored. The rows are shared with the cache and must not be changed; the cache replaces rows and
// never changes them, so they may be kept.
func Rows[T any](c *Client) map[string]*T {
	var zero *T
	tc := c.Cache()
	table := tc.Table(tc.DatabaseModel().FindTable(reflect.TypeOf(zero)))
	if table == nil {
		return map[string]*T{}
	}
	return rowsOf[T](table)
}

func rowsOf[T any](table *cache.RowCache) map[string]*T {
	rows := table.RowsShallow()
	out := make(map[string]*T, len(rows))
	for uuid, m := range rows {
		if row, ok := m.(*T); ok {
			out[uuid] = row
		}
	}
	return out
}
