package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/sbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
)

// Fact is a row, or a value in a row, that is there because of an object.
type Fact struct {
	// Because says how the row has to do with the object: "own", "shared" with others, or "member": the object has put a value into it.
	Because string `json:"because"`
	Kind    string `json:"ownerKind,omitempty"`
	Owner   string `json:"owner,omitempty"`
	Table   string `json:"table"`
	Row     string `json:"row"`
	UUID    string `json:"uuid"`
	// Says is the row in a few words; of a member, the column and its value.
	Says string `json:"says,omitempty"`
}

// Ways in which rows have to do with objects.
const (
	becauseOwn    = "own"
	becauseShared = "shared"
	becauseMember = "member"
)

// ErrNothing says that nothing in the database comes from an object.
var ErrNothing = errors.New("nothing in the northbound database comes from it")

// owners are the owners of rows that are about an object alone, by the object's kind.
func owners(kind, name string) ([]nbstate.Owner, error) {
	kinds := map[string][]string{
		"pod": {names.OwnerPod}, "service": {names.OwnerService}, "networkpolicy": {names.OwnerNetworkPolicy},
		"node": {names.OwnerNode, names.OwnerNodeVariables, names.OwnerNodePolicy}, "namespace": {names.OwnerIsolation},
	}[kind]
	if kinds == nil {
		return nil, fmt.Errorf("kind %q: want one of %s", kind, strings.Join(Kinds(), ", "))
	}
	var out []nbstate.Owner
	for _, k := range kinds {
		out = append(out, nbstate.Owner{Kind: k, Name: name})
	}
	return out, nil
}

// Kinds are those of objects that can be explained.
func Kinds() []string { return []string{"pod", "service", "networkpolicy", "node", "namespace"} }

// ParseKind reads a kind as kubectl's users write it.
func ParseKind(s string) (string, bool) {
	short := map[string]string{"po": "pod", "svc": "service", "netpol": "networkpolicy", "no": "node", "ns": "namespace"}
	s = strings.ToLower(s)
	for _, k := range []string{s, strings.TrimSuffix(s, "s"), strings.TrimSuffix(s, "ies") + "y", short[s]} {
		if slices.Contains(Kinds(), k) {
			return k, true
		}
	}
	return "", false
}

// PolicyNames are the names of the groups and sets that a policy needs and may share with others.
func PolicyNames(in *networkingv1.NetworkPolicy) []string {
	p := policy.Parse(kube.NewNetworkPolicy(in))
	out := []string{policy.GroupName(p.Pods)}
	for i := range p.Rules {
		for _, peers := range p.Rules[i].Peers {
			s := policy.PeerNames(peers, policy.Families{IPv4: true, IPv6: true})
			out = append(out, s.V4, s.V6)
		}
	}
	return out
}

// Explain lists what there is in the northbound database because of an object: name is "namespace/name", or a name alone. More
// groups and sets that it needs may be given, see PolicyNames.
func Explain(nb *database.Snapshot, kind, name string, needs ...string) ([]Fact, error) {
	of, err := owners(kind, name)
	if err != nil {
		return nil, err
	}
	e := explanation{nb: nb, own: map[string]bool{}}
	own := nb.All(func(r *database.Row) bool { return slices.Contains(of, r.Owner) })
	for i := range own {
		e.own[own[i].UUID] = true
		e.add(becauseOwn, &own[i], database.Says(own[i].Model))
	}
	e.members(own)
	e.shared(own, needs)
	if kind == "networkpolicy" {
		e.isolation(name)
	}
	if len(e.facts) == 0 {
		return nil, fmt.Errorf("%s %s: %w", kind, name, ErrNothing)
	}
	return e.facts, nil
}

type explanation struct {
	nb    *database.Snapshot
	facts []Fact
	own   map[string]bool
}

func (e *explanation) add(because string, r *database.Row, says string) {
	e.facts = append(e.facts, Fact{Because: because, Kind: r.Owner.Kind, Owner: r.Owner.Name, Table: r.Table, Row: r.ID, UUID: r.UUID, Says: says})
}

// members adds the rows of others that hold own rows, and address sets that hold addresses of own ports.
func (e *explanation) members(own []database.Row) {
	ids, addresses := map[string]string{}, map[string]bool{}
	for i := range own {
		ids[own[i].UUID] = own[i].ID
		if p, ok := own[i].Model.(*nbdb.LogicalSwitchPort); ok && own[i].Owner.Kind == names.OwnerPod {
			for _, a := range database.Addresses(p.Addresses) {
				addresses[a.String()] = true
			}
		}
	}
	for _, r := range e.nb.All(func(r *database.Row) bool { return !e.own[r.UUID] }) {
		for _, column := range slices.Sorted(maps.Keys(nbstate.SharedColumns(r.Table))) {
			v := database.Column(r.Model, column)
			if !v.IsValid() || v.Kind() != reflect.Slice {
				continue
			}
			var values []string
			for i := range v.Len() {
				value, _ := v.Index(i).Interface().(string)
				if id, ok := ids[value]; ok {
					values = append(values, id)
				} else if addresses[value] && r.Table == nbdb.AddressSetTable {
					values = append(values, value)
				}
			}
			if len(values) > 0 {
				slices.Sort(values)
				e.add(becauseMember, &r, column+": "+strings.Join(values, ", "))
			}
		}
	}
}

// named are the port groups and address sets in a match: ovn-sb(5), "match" of Logical_Flow.
var named = regexp.MustCompile(`[@$]([A-Za-z_.][A-Za-z_.0-9]*)`)

// shared adds the groups and sets that own rules name: they belong to all rules that select the same pods.
func (e *explanation) shared(own []database.Row, needs []string) {
	wanted := map[string]bool{}
	for _, n := range needs {
		wanted[n] = true
	}
	for i := range own {
		if acl, ok := own[i].Model.(*nbdb.ACL); ok {
			for _, m := range named.FindAllStringSubmatch(acl.Match, -1) {
				wanted[m[1]] = true
			}
		}
	}
	e.addNamed(wanted)
}

func (e *explanation) addNamed(wanted map[string]bool) {
	has := map[string]bool{}
	for _, f := range e.facts {
		if f.Because != becauseMember {
			has[f.UUID] = true
		}
	}
	for _, r := range e.nb.All(func(r *database.Row) bool {
		return (r.Table == nbdb.PortGroupTable || r.Table == nbdb.AddressSetTable) && wanted[r.ID] && !has[r.UUID]
	}) {
		e.add(becauseShared, &r, database.Says(r.Model))
	}
}

// isolation adds what denies all that the policies of a namespace do not allow.
func (e *explanation) isolation(name string) {
	namespace, _ := names.SplitObjectName(name)
	for _, r := range e.nb.All(func(r *database.Row) bool {
		return r.Owner == nbstate.Owner{Kind: names.OwnerIsolation, Name: namespace}
	}) {
		e.add(becauseShared, &r, database.Says(r.Model))
	}
}

// FactsResult shows facts.
func FactsResult(facts []Fact) output.Result {
	r := output.Result{Object: orEmpty(facts), Columns: []output.Column{{Name: "BECAUSE"}, {Name: "TABLE"}, {Name: "ROW"}, {Name: "OWNER"}, {Name: "SAYS"}, {Name: "UUID", Wide: true}}}
	for _, f := range facts {
		owner := "-"
		if f.Kind != "" {
			owner = nbstate.Owner{Kind: f.Kind, Name: f.Owner}.String()
		}
		r.Rows = append(r.Rows, []string{f.Because, f.Table, dash(f.Row), owner, f.Says, f.UUID})
	}
	return r
}

var (
	// uuidPattern is a UUID, or its beginning of eight digits or more: what OVN shows of rows in flows.
	uuidPattern = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f-]{0,27})$`)
	// cookiePattern is a cookie of OpenFlow, a number: the first eight digits of a logical flow's UUID, without zeros before them.
	// ovn-architecture(7).
	cookiePattern = regexp.MustCompile(`^0x([0-9a-f]{1,8})$`)
)

// ParseUUID tells whether a text may be a UUID, the beginning of one, or a cookie, and returns it without decoration.
func ParseUUID(s string) (string, bool) {
	s = strings.ToLower(s)
	if m := cookiePattern.FindStringSubmatch(s); m != nil {
		return strings.Repeat("0", 8-len(m[1])) + m[1], true
	}
	if uuidPattern.MatchString(s) {
		return s, true
	}
	return "", false
}

// Origin leads from a UUID of a northbound row, or of a logical flow, to the rows it comes from.
func Origin(ctx context.Context, a access.Access, nb *database.Snapshot, uuid string) ([]Fact, error) {
	e := explanation{nb: nb}
	for _, r := range nb.ByUUID(uuid) {
		e.add(becauseOwn, &r, database.Says(r.Model))
	}
	if len(e.facts) > 0 {
		return e.facts, nil
	}
	hints, err := NewFlows(a).Find(ctx, uuid)
	if err != nil {
		return nil, err
	}
	if len(hints) == 0 {
		return nil, fmt.Errorf("%s is the UUID of no northbound row and of no logical flow", uuid)
	}
	for _, id := range slices.Sorted(maps.Keys(hints)) {
		flow := hints[id]
		e.facts = append(e.facts, Fact{Because: "flow", Table: sbdb.LogicalFlowTable, Row: flow.Stage, UUID: id, Says: flow.Match})
		rows := nb.ByUUID(flow.Hint)
		if flow.Hint == "" {
			rows = nil
		}
		for _, r := range rows {
			e.add("hint", &r, database.Says(r.Model))
		}
	}
	return e.facts, nil
}
