// Package plan says what applying or deleting objects would change in the northbound database. It runs the translators over the cluster
// as it is and as it would be, and compares the results; nothing is written.
package plan

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Change is a difference.
type Change struct {
	// Action is add, change or remove, of a row; put or take, of a value in a row's set that others put values into, too.
	Action string `json:"action"`
	Table  string `json:"table"`
	Row    string `json:"row"`
	// Owner is the object that the row comes from, KIND/NAME; for values, that which puts them there.
	Owner string `json:"owner"`
	Says  string `json:"says"`
}

// Report is what a plan says.
type Report struct {
	Changes []Change `json:"changes"`
	// Notes say what cannot be known before.
	Notes []string `json:"notes,omitempty"`
}

// Options are what a plan depends on besides manifests.
type Options struct {
	// Objects and NB are the cluster as it is, Features what its northbound database can.
	Objects  *inspect.Objects
	NB       *database.Snapshot
	Features ovsdb.Features
	// Namespace is that of objects without one.
	Namespace string
	// Remove plans for deletion.
	Remove bool
}

// Make plans for documents of manifests, to be applied or to be deleted.
func Make(o Options, documents []byte) (*Report, error) {
	manifest, err := read(documents, o.Namespace)
	if err != nil {
		return nil, err
	}
	var r Report
	now, then := newWorld(&o), newWorld(&o)
	for _, object := range manifest {
		note, err := then.apply(object, o.Remove)
		if err != nil {
			return nil, err
		}
		if note != "" {
			r.Notes = append(r.Notes, note)
		}
	}
	now.concerned = then.concerned
	before, err := now.desired()
	if err != nil {
		return nil, err
	}
	after, err := then.desired()
	if err != nil {
		return nil, err
	}
	r.Changes = before.compare(after)
	return &r, nil
}

// state is what all owners want.
type state struct {
	tables  model.DatabaseModel
	rows    map[nbstate.Key]owned
	members map[nbstate.Member]string // whose they are
}

type owned struct {
	owner string
	model model.Model
}

func newState() (*state, error) {
	client, err := nbdb.FullDatabaseModel()
	if err != nil {
		return nil, fmt.Errorf("northbound model: %w", err)
	}
	return &state{model.NewPartialDatabaseModel(client), map[nbstate.Key]owned{}, map[nbstate.Member]string{}}, nil
}

func (s *state) add(owner nbstate.Owner, d nbstate.Desired) {
	for _, r := range d.Rows {
		s.rows[nbstate.Key{Table: s.tables.FindTable(reflect.TypeOf(r.Model)), ID: r.ID}] = owned{owner.String(), r.Model}
	}
	for _, m := range d.Members {
		s.members[m] = owner.String()
	}
}

// compare lists what is different in other, rows first, by table and name.
func (s *state) compare(other *state) []Change {
	var rows, members []Change
	for key, r := range other.rows {
		c := Change{Table: key.Table, Row: key.ID, Owner: r.owner}
		switch before, existed := s.rows[key]; {
		case !existed:
			c.Action, c.Says = "add", says(r.model)
		case !reflect.DeepEqual(before.model, r.model):
			c.Action, c.Says = "change", differences(before.model, r.model)
		default:
			continue
		}
		rows = append(rows, c)
	}
	for key, r := range s.rows {
		if _, stays := other.rows[key]; !stays {
			rows = append(rows, Change{Action: "remove", Table: key.Table, Row: key.ID, Owner: r.owner, Says: says(r.model)})
		}
	}
	collect := func(action string, in, notIn *state) {
		for m, owner := range in.members {
			if _, both := notIn.members[m]; !both {
				members = append(members, Change{Action: action, Table: m.Parent.Table, Row: m.Parent.ID, Owner: owner, Says: m.Column + ": " + m.Value})
			}
		}
	}
	collect("put", other, s)
	collect("take", s, other)
	for _, list := range [][]Change{rows, members} {
		slices.SortFunc(list, func(a, b Change) int {
			return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.Row, b.Row), strings.Compare(a.Says, b.Says), strings.Compare(a.Action, b.Action))
		})
	}
	return append(append([]Change{}, rows...), members...)
}

// says is a row in words. What groups have is told by what is put into them and taken out.
func says(m model.Model) string {
	if _, group := m.(*nbdb.PortGroup); group {
		return ""
	}
	return database.Says(m)
}

// differences are the columns that differ.
func differences(before, after model.Model) string {
	var out []string
	v, w := reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem()
	for i := range v.NumField() {
		a, b := v.Field(i), w.Field(i)
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			continue
		}
		column := v.Type().Field(i).Tag.Get("ovsdb")
		if a.Kind() == reflect.Map {
			out = append(out, mapDifferences(column, a, b)...)
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s → %s", column, value(a), value(b)))
	}
	return strings.Join(out, "; ")
}

func mapDifferences(column string, a, b reflect.Value) []string {
	texts := func(v reflect.Value) map[string]string {
		out := map[string]string{}
		for _, k := range v.MapKeys() {
			out[k.String()] = fmt.Sprint(v.MapIndex(k))
		}
		return out
	}
	before, after := texts(a), texts(b)
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	var out []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, existed := before[k]
		is, exists := after[k]
		switch {
		case !existed:
			out = append(out, fmt.Sprintf("%s gets %s = %q", column, k, is))
		case !exists:
			out = append(out, fmt.Sprintf("%s loses %s", column, k))
		case was != is:
			out = append(out, fmt.Sprintf("%s %s: %q → %q", column, k, was, is))
		}
	}
	return out
}

func value(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "nothing"
		}
		v = v.Elem()
	}
	return fmt.Sprintf("%q", fmt.Sprint(v))
}

// Result shows the changes.
func (r *Report) Result() output.Result {
	out := output.Result{Object: r, Columns: []output.Column{{Name: "ACTION"}, {Name: "TABLE"}, {Name: "ROW"}, {Name: "OWNER"}, {Name: "SAYS"}}}
	for _, c := range r.Changes {
		out.Rows = append(out.Rows, []string{c.Action, c.Table, c.Row, c.Owner, c.Says})
	}
	return out
}
