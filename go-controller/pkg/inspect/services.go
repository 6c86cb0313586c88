package inspect

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// Frontend is an address and port at which a service is served, as OVN has it.
type Frontend struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Type      string `json:"type,omitempty"`
	Protocol  string `json:"protocol"`
	// Address is ADDRESS:PORT; node:PORT stands for all addresses of each node.
	Address  string   `json:"address"`
	Backends []string `json:"backends"`
	// Scope says for whom: the end of the load balancer's name, see docs/design/services.md.
	Scope string `json:"scope"`
	// Row is the load balancer's name.
	Row string `json:"row"`
}

// Services lists the frontends of services.
func (v *View) Services() output.Result {
	types := map[string]string{}
	for i := range v.Objects.Services {
		s := &v.Objects.Services[i]
		types[names.ObjectName(s.Namespace, s.Name)] = string(s.Spec.Type)
	}
	var list []Frontend
	for _, lb := range database.Rows[nbdb.LoadBalancer](v.NB, nbdb.LoadBalancerTable) {
		if lb.ExternalIDs[names.OwnerTypeKey] != names.OwnerService {
			continue
		}
		owner := lb.ExternalIDs[names.OwnerNameKey]
		namespace, name := names.SplitObjectName(owner)
		if !v.shows(namespace) {
			continue
		}
		protocol := "TCP"
		if lb.Protocol != nil {
			protocol = strings.ToUpper(*lb.Protocol)
		}
		for vip, backends := range lb.Vips {
			list = append(list, Frontend{
				Namespace: namespace, Service: name, Type: types[owner], Protocol: protocol, Address: frontendAddress(vip), Backends: splitBackends(backends),
				Scope: strings.TrimPrefix(lb.Name, names.ServiceLoadBalancer(namespace, name, protocol, "")), Row: lb.Name,
			})
		}
	}
	slices.SortFunc(list, func(a, b Frontend) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Service, b.Service), strings.Compare(a.Protocol, b.Protocol),
			strings.Compare(a.Address, b.Address), strings.Compare(a.Scope, b.Scope))
	})
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "NAMESPACE"}, {Name: "SERVICE"}, {Name: "TYPE"}, {Name: "FRONTEND"}, {Name: "SCOPE"},
		{Name: "BACKENDS"}, {Name: "ROW", Wide: true}}}
	for _, f := range list {
		r.Rows = append(r.Rows, []string{f.Namespace, f.Service, cmp.Or(f.Type, "no service"), f.Address + "/" + f.Protocol, f.Scope, dash(strings.Join(f.Backends, ",")), f.Row})
	}
	return r
}

// frontendAddress writes template variables as what they stand for.
func frontendAddress(vip string) string {
	if !strings.HasPrefix(vip, "^") {
		return vip
	}
	_, port, _ := strings.Cut(vip, ":")
	return "node:" + strings.TrimPrefix(port, "^")
}

func splitBackends(text string) []string {
	if text == "" {
		return []string{}
	}
	return strings.Split(text, ",")
}

// Address is an address of the network and whose it is.
type Address struct {
	Address string `json:"address"`
	// Kind is the kind of Owner, the object that the address comes from.
	Kind  string `json:"kind"`
	Owner string `json:"owner"`
	Table string `json:"table"`
	Row   string `json:"row"`
}

// Addresses lists all addresses that OVN knows, and their owners.
func (v *View) Addresses() output.Result {
	seen := map[Address]struct{}{}
	for _, r := range v.NB.All(func(r *database.Row) bool { return r.Owner.Kind != "" }) {
		if namespace, name := names.SplitObjectName(r.Owner.Name); v.Namespace != "" && (namespace != v.Namespace || name == "") {
			continue
		}
		for _, a := range addressesOf(&r) {
			seen[Address{Address: a, Kind: r.Owner.Kind, Owner: r.Owner.Name, Table: r.Table, Row: r.ID}] = struct{}{}
		}
	}
	list := slices.SortedFunc(maps.Keys(seen), func(a, b Address) int {
		return cmp.Or(compareAddresses(a.Address, b.Address), strings.Compare(a.Table, b.Table), strings.Compare(a.Row, b.Row))
	})
	r := output.Result{Object: orEmpty(list), Columns: []output.Column{{Name: "ADDRESS"}, {Name: "KIND"}, {Name: "OWNER"}, {Name: "TABLE", Wide: true}, {Name: "ROW"}}}
	for _, a := range list {
		r.Rows = append(r.Rows, []string{a.Address, a.Kind, a.Owner, a.Table, a.Row})
	}
	return r
}
