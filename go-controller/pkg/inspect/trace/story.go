package trace

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
)

// needsMAC is a step of the path: the router has to ask for a neighbour first.
const needsMAC = "the next hop's hardware address is not known yet: the router asks for it"

// story is a packet's way in words.
type story struct {
	fate, port string
	path       []string
	// by is what decides, owner the object that it comes from.
	by    string
	owner nbstate.Owner
}

// tell makes words of hops.
func (t *tracer) tell(ctx context.Context, hops []Hop) (*story, error) {
	s := &story{}
	var decides int
	s.fate, s.port, decides = fate(hops)
	rows, err := t.rowsOf(ctx, hops)
	if err != nil {
		return nil, err
	}
	last := ""
	for i := range hops[:decides+1] {
		h := &hops[i]
		if where := h.where(); where != last {
			last = where
			s.path = append(s.path, where)
		}
		if said := h.says(rows[h.UUID]); said != "" {
			s.path = append(s.path, "  "+said)
		}
		if h.has("arp {") || h.has("nd_ns {") {
			s.path = append(s.path, needsMAC)
		}
	}
	h := &hops[decides]
	s.by = fmt.Sprintf("stage %s of %s", h.Stage, h.Datapath)
	if strings.Contains(h.Stage, "port_sec") {
		s.by = "port security: the packet's addresses are not those of port " + h.Inport
	}
	// Where one stage decides and a later one acts, the decision is that of the last rule.
	for i := decides; i >= 0 && hops[i].Datapath == h.Datapath && hops[i].Pipeline == h.Pipeline; i-- {
		if r := rows[hops[i].UUID]; r != nil && (i == decides || hops[i].isACL() && h.isACL()) {
			s.owner = r.Owner
			s.by = describe(r)
			break
		}
	}
	switch s.fate {
	case Delivered:
		s.path = append(s.path, "comes out at port "+s.port)
	case Leaves:
		s.path = append(s.path, "leaves by "+names.ExternalBridge+" at port "+s.port)
	default:
		s.path = append(s.path, s.fate+" by "+s.by)
	}
	return s, nil
}

// rowsOf finds the northbound rows that flows were made from, by the flows' UUIDs.
func (t *tracer) rowsOf(ctx context.Context, hops []Hop) (map[string]*database.Row, error) {
	var uuids []string
	for i := range hops {
		if hops[i].matters() {
			uuids = append(uuids, hops[i].UUID)
		}
	}
	out := map[string]*database.Row{}
	if len(uuids) == 0 {
		return out, nil
	}
	flows, err := t.flows.Find(ctx, uuids...)
	if err != nil {
		return nil, err
	}
	for id, f := range flows {
		if f.Hint == "" {
			continue
		}
		if rows := t.NB.ByUUID(f.Hint); len(rows) > 0 {
			out[id[:uuidDigits]] = &rows[0]
		}
	}
	return out, nil
}

// uuidDigits is how much of a UUID ovn-trace shows.
const uuidDigits = 8

func (h *Hop) isACL() bool {
	return strings.Contains(h.Stage, "_acl") && !strings.Contains(h.Stage, "pre_acl") && !strings.HasSuffix(h.Stage, "_hint")
}

// matters tells whether the hop's row is of interest.
func (h *Hop) matters() bool {
	switch h.Stage {
	case "ls_in_lb", "lr_in_dnat", "lr_in_unsnat", "lr_in_ip_routing", "lr_in_policy", "lr_out_snat":
		return true
	}
	return h.isACL()
}

// where is the switch or router that the packet is in.
func (h *Hop) where() string {
	kind := "switch"
	if strings.HasPrefix(h.Stage, "lr_") {
		kind = "router"
	}
	if h.Pipeline == "egress" && h.Outport != "" {
		return fmt.Sprintf("%s %s, to port %s", kind, h.Datapath, h.Outport)
	}
	return fmt.Sprintf("%s %s, from port %s", kind, h.Datapath, h.Inport)
}

// translation is what actions do to addresses.
var translation = regexp.MustCompile(`^ct_(snat|dnat|lb|lb_mark)(?:_in_czone|_to_vif)?\((.+)\);$`)

// says is the hop in words; empty for what nobody wants to know.
func (h *Hop) says(row *database.Row) string {
	for _, a := range h.Actions {
		m := translation.FindStringSubmatch(a)
		switch {
		case m == nil:
		case m[1] == "snat":
			return "the source becomes " + m[2] + by(row)
		default:
			return "the destination becomes " + strings.TrimPrefix(m[2], "backends=") + by(row)
		}
	}
	if row == nil {
		return ""
	}
	switch r := row.Model.(type) {
	case *nbdb.ACL:
		return fmt.Sprintf("%s %s", describe(row), said(r.Action))
	case *nbdb.LogicalRouterStaticRoute, *nbdb.LogicalRouterPolicy:
		return database.Says(row.Model) + by(row)
	}
	return ""
}

func said(a nbdb.ACLAction) string {
	switch a {
	case nbdb.ACLActionDrop:
		return "drops it"
	case nbdb.ACLActionReject:
		return "rejects it"
	}
	return "allows it"
}

func by(row *database.Row) string {
	if row == nil {
		return ""
	}
	return ", by " + describe(row)
}

// describe names a row and the object that it comes from.
func describe(row *database.Row) string {
	what := map[string]string{
		nbdb.ACLTable: "ACL", nbdb.LoadBalancerTable: "load balancer", nbdb.NATTable: "NAT", nbdb.LogicalRouterStaticRouteTable: "route",
		nbdb.LogicalRouterPolicyTable: "routing policy",
	}[row.Table]
	text := cmp.Or(what, row.Table) + " " + cmp.Or(row.ID, row.UUID)
	switch row.Owner.Kind {
	case "":
		return text + " (not ours)"
	case names.OwnerNetworkPolicy:
		ids := database.ExternalIDs(row.Model)
		return fmt.Sprintf("%s (NetworkPolicy %s, %s rule %s)", text, row.Owner.Name, strings.ToLower(ids[names.ACLDirectionKey]), ids[names.ACLRulesKey])
	case names.OwnerIsolation:
		return fmt.Sprintf("%s (isolation of pods of namespace %s)", text, row.Owner.Name)
	}
	return fmt.Sprintf("%s (%s %s)", text, row.Owner.Kind, row.Owner.Name)
}
