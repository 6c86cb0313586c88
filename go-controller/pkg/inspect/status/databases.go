package status

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"github.com/ovn-org/libovsdb/ovsdb/serverdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// silence is after how many election timers a member that was not heard of counts as lost. Leaders send something each third of one.
const silence = 2

// patienceWithServer is how long a server may take to tell of its cluster.
const patienceWithServer = "--timeout=10"

// memberGuide is where the ways are to bring members back, and to replace them.
const memberGuide = "docs/databases.md"

// Database is a database with its servers.
type Database struct {
	// Name is nb or sb.
	Name string `json:"name"`
	// Model is standalone or clustered.
	Model string `json:"model,omitempty"`
	Term  uint64 `json:"term,omitempty"`
	// Asked is the member whose word this is: only the leader hears of all.
	Asked   string   `json:"asked,omitempty"`
	Members []Member `json:"members,omitempty"`
}

// Member is a server of a cluster.
type Member struct {
	// Node is where it runs, else its identity and address.
	Node    string `json:"node"`
	Address string `json:"address"`
	// Role is leader, follower, lost, or unknown: to the member that was asked.
	Role string `json:"role"`
	// Behind is how many entries of the log the leader does not know it to have; nil when the leader was not asked.
	Behind *uint64 `json:"behind,omitempty"`
}

// Roles of members besides those that servers have themselves.
const (
	roleLeader   = "leader"
	roleFollower = "follower"
	roleLost     = "lost"
	roleUnknown  = "unknown"
)

// database asks the server of a database about itself and, in a cluster, its leader about the others.
func (r *Reader) database(ctx context.Context, f *facts, k ovndb.Kind) (Database, Finding) {
	d, out := Database{Name: k.Short}, Finding{Part: k.Short + " database", State: OK}
	results, err := database.Query(ctx, r.Access, k, "_Server", libovsdb.Operation{
		Op: libovsdb.OperationSelect, Table: serverdb.DatabaseTable, Columns: []string{"model", "connected", "leader"},
		Where: []libovsdb.Condition{libovsdb.NewCondition("name", libovsdb.ConditionEqual, k.Database)},
	})
	switch {
	case err != nil:
		out.State, out.Detail, out.Next = Failed, firstLine(err.Error()), "see that its server runs: "+memberGuide
		if next := f.notAllowed(err); next != "" {
			out.State, out.Next = Unknown, next
		}
		return d, out
	case len(results[0].Rows) != 1:
		out.State, out.Detail, out.Next = Failed, "the server has no database "+k.Database, memberGuide
		return d, out
	}
	d.Model = fmt.Sprint(results[0].Rows[0]["model"])
	if d.Model != serverdb.DatabaseModelClustered {
		out.Detail = d.Model
		return d, out
	}
	machines := f.machines()
	s, notAsked, err := r.cluster(ctx, k, machines)
	if err != nil {
		out.State, out.Detail = Degraded, "clustered; its members cannot be asked for: "+firstLine(err.Error())
		out.Next = "ask by hand: ovnkube db status " + k.Short + ", beside a server; " + memberGuide
		return d, out
	}
	d.members(s, machines)
	return d, d.finding(out, s, notAsked)
}

// cluster is the leader's word, or that of another member when the leader cannot be asked; notAsked says why it cannot.
func (r *Reader) cluster(ctx context.Context, k ovndb.Kind, machines map[netip.Addr]string) (s *ovndb.Status, notAsked, err error) {
	if s, err = r.member(ctx, k, access.Beside(k)); err != nil || s.Leads() || s.Leader == "" {
		return s, nil, err
	}
	at := slices.IndexFunc(s.Servers, func(server ovndb.Server) bool { return server.ID == s.Leader })
	if at < 0 {
		return s, fmt.Errorf("leader %s is not among the members", s.Leader), nil
	}
	address := host(s.Servers[at].Address) // A machine that is no node may be known by it, too.
	leader, notAsked := r.member(ctx, k, access.Member(k, cmp.Or(machines[address], address.String())))
	if notAsked != nil {
		return s, notAsked, nil
	}
	return leader, nil, nil
}

// member is what a server says of its cluster.
func (r *Reader) member(ctx context.Context, k ovndb.Kind, at access.Place) (*ovndb.Status, error) {
	config := ovndb.Config{Kind: k, RunDir: ovndb.DefaultRunDir}
	text, err := access.Output(ctx, r.Access, at, "ovs-appctl", patienceWithServer, "-t", path.Join(config.RunDir, path.Base(config.Control())), "cluster/status", k.Database)
	if err != nil {
		return nil, err
	}
	s, err := ovndb.ParseStatus(text)
	return &s, err
}

// machines are the nodes by their addresses.
func (f *facts) machines() map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for i := range f.view.Objects.Nodes {
		n := kube.NewNode(&f.view.Objects.Nodes[i])
		for _, a := range n.Addresses {
			out[a] = n.Name
		}
	}
	return out
}

// host is that of an endpoint, PROTOCOL:ADDRESS:PORT.
func host(endpoint string) netip.Addr {
	_, rest, _ := strings.Cut(endpoint, ":")
	at, err := netip.ParseAddrPort(rest)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// members takes over what a member says of all.
func (d *Database) members(s *ovndb.Status, machines map[netip.Addr]string) {
	d.Term = s.Term
	times := map[string]int{}
	for _, server := range s.Servers {
		times[machines[host(server.Address)]]++
	}
	for _, server := range s.Servers {
		m := Member{Node: machines[host(server.Address)], Address: server.Address, Role: role(s, &server)}
		if m.Node == "" || times[m.Node] > 1 { // One that was replaced and is still counted has its successor's address.
			m.Node = strings.TrimSpace(m.Node + " " + server.ID + " (" + server.Address + ")")
		}
		if s.Leads() {
			m.Behind = new(behind(s, &server))
		}
		if server.Self {
			d.Asked = m.Node
		}
		d.Members = append(d.Members, m)
	}
	slices.SortFunc(d.Members, func(a, b Member) int { return strings.Compare(a.Node, b.Node) })
}

// behind is what a server lacks of the leader's log.
func behind(leader *ovndb.Status, server *ovndb.Server) uint64 {
	if server.Self || leader.LogNext <= server.MatchIndex+1 {
		return 0
	}
	return leader.LogNext - server.MatchIndex - 1
}

// role is what a server is to the member that was asked.
func role(s *ovndb.Status, server *ovndb.Server) string {
	recent := server.LastMessage >= 0 && server.LastMessage <= silence*max(s.ElectionTimer, time.Second)
	switch {
	case server.Self:
		return s.Role
	case s.Leads() && recent:
		return roleFollower
	case s.Leads():
		return roleLost
	case server.ID == s.Leader && recent:
		return roleLeader
	case server.ID == s.Leader, s.Leader == "" && !recent:
		return roleLost
	}
	return roleUnknown // A follower hears of its leader only.
}

// having are the names of members in a role.
func (d *Database) having(role string) []string {
	var out []string
	for _, m := range d.Members {
		if m.Role == role {
			out = append(out, m.Node)
		}
	}
	return out
}

func (d *Database) finding(f Finding, s *ovndb.Status, notAsked error) Finding {
	lost := d.having(roleLost)
	f.Detail = fmt.Sprintf("cluster of %d, leader %s, term %d", len(d.Members), strings.Join(d.having(roleLeader), ", "), d.Term)
	switch {
	case s.Leader == "":
		f.State, f.Detail = Failed, fmt.Sprintf("cluster of %d, no leader: %s", len(d.Members), s.Status)
		f.Next = "start the members that are down: " + memberGuide
		if len(lost) > 0 {
			f.Detail += fmt.Sprintf("; %s has not heard of %s", d.Asked, some(lost))
		}
	case len(lost) > 0:
		f.State, f.Detail = Degraded, f.Detail+", not heard of: "+some(lost)
		f.Next = "start the databases on " + some(lost) + ", or replace them: " + memberGuide
	case s.Status != "cluster member":
		f.State, f.Detail = Degraded, f.Detail+"; "+d.Asked+": "+s.Status
		f.Next = "wait; if it lasts see the log of the database on " + d.Asked + ", and " + memberGuide
	case !s.Leads():
		f.State, f.Detail = Unknown, f.Detail+"; "+d.Asked+" answers, and lost members are known to the leader only"
		f.Next = "ask where the leader runs"
		if notAsked != nil {
			f.Detail += ", which cannot be asked: " + firstLine(notAsked.Error())
		}
	}
	return f
}
