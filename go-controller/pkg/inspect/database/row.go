package database

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Row is a row with what is known of it without knowing its table.
type Row struct {
	Table, UUID string
	// ID is the row's stable identity, or else its name; may be empty.
	ID string
	// Owner is the object that the row comes from; zero for rows that are not ours, or do not say.
	Owner nbstate.Owner
	Model model.Model
}

// Key is that of the desired row.
func (r *Row) Key() nbstate.Key { return nbstate.Key{Table: r.Table, ID: r.ID} }

// NewRow describes a row.
func NewRow(table, uuid string, m model.Model) Row {
	r := Row{Table: table, UUID: uuid, Model: m}
	ids := ExternalIDs(m)
	r.ID = cmp.Or(ids[names.RowIDKey], text(m, "name"))
	if ids[names.OwnerControllerKey] == names.ControllerName {
		r.Owner = nbstate.Owner{Kind: ids[names.OwnerTypeKey], Name: ids[names.OwnerNameKey]}
	}
	return r
}

// All are the rows of all tables that meet a condition, by table and ID.
func (s *Snapshot) All(meets func(*Row) bool) []Row {
	var out []Row
	for table, rows := range s.tables {
		for uuid, m := range rows {
			if r := NewRow(table, uuid, m); meets(&r) {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.ID, b.ID), strings.Compare(a.UUID, b.UUID))
	})
	return out
}

// ByUUID are the rows whose UUID begins so, without regard to hyphens.
func (s *Snapshot) ByUUID(prefix string) []Row {
	prefix = strings.ReplaceAll(strings.ToLower(prefix), "-", "")
	return s.All(func(r *Row) bool { return strings.HasPrefix(strings.ReplaceAll(r.UUID, "-", ""), prefix) })
}

// IDs are the stable IDs of rows by UUID, of all tables.
func (s *Snapshot) IDs() map[string]string {
	out := map[string]string{}
	for table, rows := range s.tables {
		for uuid, m := range rows {
			r := NewRow(table, uuid, m)
			out[uuid] = r.ID
		}
	}
	return out
}

// Column is the value of a column of a row, by its name in the database. It is not valid where there is no such column.
func Column(m model.Model, name string) reflect.Value {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("ovsdb") == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// ExternalIDs are a row's, nil where there are none.
func ExternalIDs(m model.Model) map[string]string {
	if v := Column(m, "external_ids"); v.IsValid() {
		ids, _ := v.Interface().(map[string]string)
		return ids
	}
	return nil
}

func text(m model.Model, column string) string {
	v := Column(m, column)
	if v.IsValid() && v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.IsValid() && v.Kind() == reflect.String {
		return v.String()
	}
	return ""
}

// Says is a row in a few words.
func Says(m model.Model) string {
	switch r := m.(type) {
	case *nbdb.ACL:
		return fmt.Sprintf("%s %d %s: %s", r.Direction, r.Priority, r.Action, r.Match)
	case *nbdb.AddressSet:
		return list(r.Addresses)
	case *nbdb.LoadBalancer:
		var vips []string
		for _, vip := range slices.Sorted(maps.Keys(r.Vips)) {
			vips = append(vips, vip+" → "+cmp.Or(r.Vips[vip], "nobody"))
		}
		return deref(r.Protocol) + " " + strings.Join(vips, "; ")
	case *nbdb.LogicalRouterPolicy:
		return fmt.Sprintf("%d %s: %s", r.Priority, strings.Join(append([]string{string(r.Action)}, r.Nexthops...), " "), r.Match)
	case *nbdb.LogicalRouterPort:
		return strings.Join(append([]string{r.MAC}, r.Networks...), " ")
	case *nbdb.LogicalRouterStaticRoute:
		return strings.TrimSpace(fmt.Sprintf("%s via %s %s", r.IPPrefix, r.Nexthop, deref(r.Policy)))
	case *nbdb.LogicalSwitchPort:
		return strings.TrimSpace(r.Type + " " + strings.Join(r.Addresses, ", "))
	case *nbdb.NAT:
		return fmt.Sprintf("%s %s as %s", r.Type, r.LogicalIP, r.ExternalIP)
	case *nbdb.PortGroup:
		return fmt.Sprintf("%d ports, %d ACLs", len(r.Ports), len(r.ACLs))
	case *nbdb.LogicalSwitch:
		return fmt.Sprintf("%d ports, %d ACLs, %d load balancers", len(r.Ports), len(r.ACLs), len(r.LoadBalancer))
	case *nbdb.LogicalRouter:
		return fmt.Sprintf("%d ports, %d routes, %d NAT, %d load balancers", len(r.Ports), len(r.StaticRoutes), len(r.Nat), len(r.LoadBalancer))
	case *nbdb.ChassisTemplateVar:
		return r.Chassis + " " + pairs(r.Variables)
	}
	return ""
}

// few is how many values of a set are shown.
const few = 4

func list(values []string) string {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(sorted[:few], " "), len(sorted)-few)
	}
	return strings.Join(sorted, " ")
}

func pairs(in map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(in)) {
		out = append(out, k+"="+in[k])
	}
	return strings.Join(out, " ")
}

func deref[T ~string](p *T) string {
	if p == nil {
		return ""
	}
	return string(*p)
}

// Addresses are the addresses in the words "MAC IP…" of a port.
func Addresses(words []string) []netip.Addr {
	var out []netip.Addr
	for _, w := range words {
		for field := range strings.FieldsSeq(w) {
			if a, err := netip.ParseAddr(field); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}
