// Package nbstate holds what this project wants the OVN northbound database to contain.
//
// Translators hand in rows by owner; the reconciler in package nbsync takes them out again and
// makes the database agree. The store knows nothing of Kubernetes and does no I/O.
//
// A desired row is a generated model without a UUID. It is known by its table and a stable ID that
// survives restarts and reconnects. Columns that refer to other rows hold the stable IDs of those
// rows instead of UUIDs: the schema says which table a column refers to, so an ID suffices.
package nbstate

import "github.com/ovn-org/libovsdb/model"

// Owner is the object for which rows are wanted: a kind and, within it, a name.
// It is recorded on each row (external_ids k8s.ovn.org/owner-type and k8s.ovn.org/name).
type Owner struct {
	Kind string // "Pod", "Node", "Cluster", …
	Name string // "namespace/name", or "name" where there is no namespace
}

// String returns "kind/name".
func (o Owner) String() string { return o.Kind + "/" + o.Name }

// Key names a row: its table and its stable ID, unique in that table.
type Key struct {
	Table string
	ID    string
}

// String returns "table/id".
func (k Key) String() string { return k.Table + "/" + k.ID }

// Row is a row that an owner wants. At most one owner may want a given key.
type Row struct {
	// ID is the stable identity within the model's table.
	ID string
	// Model points to a generated northbound model. Its UUID is empty and columns that refer to
	// other rows hold stable IDs. The model must not be changed after it was handed in.
	Model model.Model
}

// Member is one value that an owner contributes to a set column of a row wanted by any owner: a port
// in a switch's ports, an address in an address set. The set in the database is the union
// of all contributions; the same member may be contributed by several owners.
type Member struct {
	// Parent is the row whose column is contributed to.
	Parent Key
	// Column is the database name of the set column, for example "ports".
	Column string
	// Value is the member: a stable ID where the column refers to rows, else the plain string.
	Value string
}

// Desired is all that one owner wants.
type Desired struct {
	Rows    []Row
	Members []Member
}
