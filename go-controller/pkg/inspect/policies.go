package inspect

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/translate/policy"
)

// Policy is a NetworkPolicy as the network has it.
type Policy struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Isolates are the directions in which it does: Ingress, Egress.
	Isolates []string `json:"isolates"`
	// Pods counts those that it is in effect on, ACLs those that its rules have become.
	Pods int `json:"pods"`
	ACLs int `json:"acls"`
	// PortGroup is that of its pods.
	PortGroup string `json:"portGroup"`
	// Problems say what of it makes no sense, and what is not in the database.
	Problems []string `json:"problems,omitempty"`
}

// PolicyList lists network policies.
func (v *View) PolicyList() []Policy {
	groups := map[string]*nbdb.PortGroup{}
	for _, g := range database.Rows[nbdb.PortGroup](v.NB, nbdb.PortGroupTable) {
		groups[g.Name] = g
	}
	acls := map[nbstate.Owner]int{}
	for _, r := range v.NB.All(func(r *database.Row) bool { return r.Table == nbdb.ACLTable }) {
		acls[r.Owner]++
	}
	var list []Policy
	for i := range v.Objects.Policies {
		parsed := policy.Parse(kube.NewNetworkPolicy(&v.Objects.Policies[i]))
		if !v.shows(parsed.Namespace) {
			continue
		}
		p := Policy{Namespace: parsed.Namespace, Name: parsed.Name, PortGroup: policy.GroupName(parsed.Pods), Problems: parsed.Problems}
		p.ACLs = acls[nbstate.Owner{Kind: names.OwnerNetworkPolicy, Name: names.ObjectName(p.Namespace, p.Name)}]
		for _, ingress := range []bool{true, false} {
			if ingress && parsed.Ingress || !ingress && parsed.Egress {
				p.Isolates = append(p.Isolates, direction(ingress))
			}
		}
		if g := groups[p.PortGroup]; g != nil {
			p.Pods = len(g.Ports)
		} else {
			p.Problems = append(p.Problems, "not in the northbound database")
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Policy) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return list
}

// Policies shows PolicyList.
func (v *View) Policies() output.Result {
	list := v.PolicyList()
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NAMESPACE"}, {Name: "POLICY"}, {Name: "ISOLATES"}, {Name: "PODS"}, {Name: "ACLS"}, {Name: "PROBLEMS"}, {Name: "GROUP", Wide: true}}}
	for _, p := range list {
		r.Rows = append(r.Rows, []string{p.Namespace, p.Name, strings.Join(p.Isolates, ","), strconv.Itoa(p.Pods), strconv.Itoa(p.ACLs), dash(strings.Join(p.Problems, "; ")), p.PortGroup})
	}
	return r
}
