//go:build integration

package nbsync_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-org/libovsdb/model"
	libovsdb "github.com/ovn-org/libovsdb/ovsdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbsync"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/ovsdbtest"
)

// cluster is a small desired state with each kind of relation.
func cluster() map[nbstate.Owner]nbstate.Desired {
	set := nbstate.Key{Table: nbdb.AddressSetTable, ID: "as"}
	group := nbstate.Key{Table: nbdb.PortGroupTable, ID: "pg"}
	router := nbstate.Key{Table: nbdb.LogicalRouterTable, ID: "r"}
	a := podOn("n1", "ns_a", "x")
	a.Members = append(a.Members,
		nbstate.Member{Parent: set, Column: "addresses", Value: "10.0.0.3"},
		nbstate.Member{Parent: group, Column: "ports", Value: "ns_a"})
	return map[nbstate.Owner]nbstate.Desired{
		node("n1"): {
			Rows: []nbstate.Row{
				switchRow("n1"),
				{ID: "r-n1", Model: &nbdb.LogicalRouterPort{Name: "r-n1", MAC: "0a:58:0a:00:00:01", Networks: []string{"10.0.0.1/23", "fd01::1/64"}, GatewayChassis: []string{"r-n1-c"}}},
				{ID: "r-n1-c", Model: &nbdb.GatewayChassis{Name: "r-n1-c", ChassisName: "c", Priority: 1}},
				{ID: "route", Model: &nbdb.LogicalRouterStaticRoute{IPPrefix: "10.0.0.0/23", Nexthop: "10.0.0.2", Policy: &nbdb.LogicalRouterStaticRoutePolicySrcIP}},
			},
			Members: []nbstate.Member{{Parent: router, Column: "ports", Value: "r-n1"}, {Parent: router, Column: "static_routes", Value: "route"}},
		},
		node("n2"): {Rows: []nbstate.Row{switchRow("n2")}},
		{Kind: "Cluster", Name: "c"}: {Rows: []nbstate.Row{
			{ID: "r", Model: &nbdb.LogicalRouter{Name: "r", Options: map[string]string{"mcast_relay": "true"}}},
			{ID: "as", Model: &nbdb.AddressSet{Name: "as"}},
			{ID: "pg", Model: &nbdb.PortGroup{Name: "pg"}},
			{ID: "deny", Model: &nbdb.ACL{Priority: 1000, Match: "ip", Direction: nbdb.ACLDirectionToLport, Action: nbdb.ACLActionDrop}},
		}, Members: []nbstate.Member{{Parent: group, Column: "acls", Value: "deny"}}},
		pod("a"): a,
	}
}

func apply(tb T, r *replica, desired map[nbstate.Owner]nbstate.Desired) {
	tb.Helper()
	for o, d := range desired {
		r.set(tb, o, d)
	}
	r.store.Synced()
	for o := range desired {
		r.awaitDone(tb, o, 1)
	}
}

func awaitContents(tb T, endpoint, what string, want contents) {
	tb.Helper()
	eventually(tb, what, func() error {
		if diff := cmp.Diff(want, ourContents(tb, endpoint)); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// What somebody changes by hand comes back at once, by events alone: the audit is far away.
func TestDriftIsRepaired(t *testing.T) {
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = time.Hour })
	defer r.stop()
	desired := cluster()
	apply(t, r, desired)
	want := wantedContents(desired)
	awaitContents(t, srv.Endpoint(), "at first", want)
	for _, tamper := range [][]string{
		{"lsp-del", "ns_a"},
		{"ls-del", "n1"},
		{"lr-del", "r"},
		{"lrp-del", "r-n1"},
		{"lsp-set-addresses", "ns_a", "unknown"},
		{"clear", "Logical_Switch_Port", "ns_a", "options"},
		{"remove", "Logical_Switch_Port", "ns_a", "external_ids", "namespace"},
		{"set", "Logical_Switch", "n1", "external_ids:added=1"},
		{"clear", "Logical_Switch", "n1", "ports"},
		{"clear", "Port_Group", "pg", "ports"},
		{"clear", "Port_Group", "pg", "acls"},
		{"clear", "Address_Set", "as", "addresses"},
		{"add", "Address_Set", "as", "addresses", "10.9.9.9"},
		{"destroy", "Address_Set", "as"},
		{"lr-route-del", "r"},
		{"clear", "Logical_Router_Port", "r-n1", "gateway_chassis"},
		{"acl-del", "pg"},
		{"destroy", "Port_Group", "pg"},
	} {
		srv.Ctl(tamper...)
		awaitContents(t, srv.Endpoint(), strings.Join(tamper, " "), want)
	}
}

// What changes while there is no connection causes no event when it is back.
func TestChangesDuringAnOutage(t *testing.T) {
	srv := startServer(t)
	proxy := ovsdbtest.StartProxy(t, srv)
	r := startReplica(t, proxy.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = time.Hour })
	defer r.stop()
	desired := cluster()
	apply(t, r, desired)
	want := wantedContents(desired)
	proxy.SetDown(true)
	srv.Ctl("lsp-del", "ns_a", "--", "clear", "Address_Set", "as", "addresses", "--", "set", "Logical_Router", "r", "options:x=y")
	proxy.SetDown(false)
	awaitContents(t, srv.Endpoint(), "after the outage", want)
}

// A row of ours that somebody put into another set of ours, and one that somebody copied.
func TestStrayMembersAndDuplicates(t *testing.T) {
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = time.Hour })
	defer r.stop()
	desired := cluster()
	apply(t, r, desired)
	want := wantedContents(desired)
	uuid := strings.TrimSpace(srv.Ctl("get", "Logical_Switch_Port", "ns_a", "_uuid"))
	srv.Ctl("add", "Logical_Switch", "n2", "ports", uuid)
	awaitContents(t, srv.Endpoint(), "a port on a second switch", want)
	r.stop()

	// What is not noticed while nobody runs is found by the audit at the start.
	srv.Ctl("add", "Logical_Switch", "n2", "ports", uuid)
	srv.Ctl("add", "Address_Set", "as", "addresses", "10.9.9.9")
	other := observe(t, srv.Endpoint())
	defer other.Close()
	copied := libovsdb.Row{"name": "copy", "external_ids": libovsdb.OvsMap{GoMap: map[any]any{
		"k8s.ovn.org/id": "n1", "k8s.ovn.org/owner-controller": "ovnkube"}}}
	orphan := libovsdb.Row{"name": "orphan", "external_ids": libovsdb.OvsMap{GoMap: map[any]any{
		"k8s.ovn.org/id": "orphan", "k8s.ovn.org/owner-controller": "ovnkube"}}}
	transact(t, other,
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchTable, Row: copied},
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchTable, Row: orphan},
		libovsdb.Operation{Op: "insert", Table: nbdb.LogicalSwitchPortTable, Row: libovsdb.Row{"name": "lost", "external_ids": orphan["external_ids"]}, UUIDName: "p"},
		libovsdb.Operation{Op: "mutate", Table: nbdb.LogicalSwitchTable, Where: byName("n2"), Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation("ports", libovsdb.MutateOperationInsert, libovsdb.UUID{GoUUID: "p"})}})
	again := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = time.Hour })
	defer again.stop()
	apply(t, again, desired)
	awaitContents(t, srv.Endpoint(), "after the audit", want)
	if got := srv.Ctl("--columns=name", "list", "Logical_Switch"); strings.Contains(got, "orphan") {
		t.Error(got)
	}
}

// Rows of others stay, even inside rows of ours.
func TestForeignRowsSurvive(t *testing.T) {
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = 20 * time.Millisecond })
	defer r.stop()
	desired := cluster()
	apply(t, r, desired)
	srv.Ctl("ls-add", "theirs", "--", "lsp-add", "theirs", "their-port",
		"--", "lsp-add", "n1", "guest", "--", "acl-add", "n1", "to-lport", "10", "ip6", "drop",
		"--", "lr-route-add", "r", "0.0.0.0/0", "10.0.0.9", "--", "lr-nat-add", "r", "snat", "1.1.1.1", "10.0.0.0/8",
		"--", "lb-add", "their-lb", "9.9.9.9:80", "8.8.8.8:80", "--", "ls-lb-add", "n1", "their-lb",
		"--", "set", "NB_Global", ".", "external_ids:foreign=1", "options:foreign=1",
		"--", "--id=@g", "create", "Load_Balancer_Group", "name=theirs", "--", "add", "Logical_Switch", "n1", "load_balancer_group", "@g")
	guest := strings.TrimSpace(srv.Ctl("get", "Logical_Switch_Port", "guest", "_uuid"))
	srv.Ctl("add", "Port_Group", "pg", "ports", guest)
	before := srv.Dump()
	transactions := srv.Transactions()
	// Our own changes beside them, and many audits.
	desired[pod("b")] = podOn("n1", "ns_b")
	desired[pod("b")] = nbstate.Desired{Rows: desired[pod("b")].Rows, Members: append(desired[pod("b")].Members,
		nbstate.Member{Parent: nbstate.Key{Table: nbdb.PortGroupTable, ID: "pg"}, Column: "ports", Value: "ns_b"})}
	r.awaitDone(t, pod("b"), r.set(t, pod("b"), desired[pod("b")]))
	r.awaitDone(t, pod("b"), r.delete(pod("b")))
	time.Sleep(200 * time.Millisecond) // a few audits
	if diff := cmp.Diff(before, srv.Dump()); diff != "" {
		t.Error(diff)
	}
	for column, want := range map[string]string{
		"Port_Group pg ports": guest, "Logical_Switch n1 ports": guest, "NB_Global . external_ids": "foreign", "NB_Global . options": "foreign",
		"Logical_Switch n1 acls": "-", "Logical_Switch n1 load_balancer": "-", "Logical_Switch n1 load_balancer_group": "-",
		"Logical_Router r nat": "-", "Logical_Router r static_routes": ", ",
	} {
		if got := srv.Ctl(append([]string{"get"}, strings.Fields(column)...)...); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q in it", column, got, want)
		}
	}
	if n := srv.Transactions() - transactions; n != 2 {
		t.Errorf("%d transactions for a pod that came and went", n)
	}
}

func TestGlobalRowIsMerged(t *testing.T) {
	srv := startServer(t)
	srv.Ctl("init", "--", "set", "NB_Global", ".", "options:mac_prefix=aa:bb:cc", "options:northd_probe_interval=1", "name=theirs")
	r := startReplica(t, srv.Endpoint(), nil)
	defer r.stop()
	r.store.Synced()
	o := nbstate.Owner{Kind: "Cluster", Name: "c"}
	global := func(interval string) nbstate.Desired {
		return nbstate.Desired{Rows: []nbstate.Row{{ID: "global", Model: &nbdb.NBGlobal{
			Options: map[string]string{"northd_probe_interval": interval, "use_logical_dp_groups": "true"}}}}}
	}
	r.awaitDone(t, o, r.set(t, o, global("5000")))
	check := func(want string) error {
		got := strings.TrimSpace(srv.Ctl("get", "NB_Global", ".", "name", "options"))
		if diff := cmp.Diff("theirs\n"+want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	}
	const want = `{mac_prefix="aa:bb:cc", northd_probe_interval="5000", use_logical_dp_groups="true"}`
	if err := check(want); err != nil {
		t.Error(err)
	}
	srv.Ctl("set", "NB_Global", ".", "options:northd_probe_interval=7")
	eventually(t, "repaired", func() error { return check(want) })
	before := srv.Transactions()
	r.awaitDone(t, o, r.set(t, o, nbstate.Desired{}))
	if n := srv.Transactions() - before; n != 0 {
		t.Errorf("letting go of the global row cost %d transactions", n)
	}
	if err := check(want); err != nil {
		t.Error(err)
	}
}

// Tables without external_ids have their rows found by what they say.
func TestTablesWithoutMarks(t *testing.T) {
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), nil)
	defer r.stop()
	r.store.Synced()
	o := node("n1")
	group := nbstate.Key{Table: nbdb.LoadBalancerGroupTable, ID: "lbg"}
	d := nbstate.Desired{
		Rows: []nbstate.Row{switchRow("n1"),
			{ID: "lbg", Model: &nbdb.LoadBalancerGroup{Name: "lbg"}},
			{ID: "lb", Model: &nbdb.LoadBalancer{Name: "lb", Vips: map[string]string{"1.1.1.1:80": "2.2.2.2:80"}}},
			{ID: "rtos|10.0.0.1", Model: &nbdb.StaticMACBinding{LogicalPort: "rtos", IP: "10.0.0.1", MAC: "0a:58:00:00:00:01"}}},
		Members: []nbstate.Member{{Parent: switchKey("n1"), Column: "load_balancer_group", Value: "lbg"}, {Parent: group, Column: "load_balancer", Value: "lb"}},
	}
	r.awaitDone(t, o, r.set(t, o, d))
	list := func() string {
		return strings.TrimSpace(srv.Ctl("--bare", "--columns=name", "list", "Load_Balancer_Group") +
			srv.Ctl("--bare", "--columns=mac", "list", "Static_MAC_Binding"))
	}
	if got := list(); got != "lbg\n0a:58:00:00:00:01" {
		t.Errorf("rows: %q", got)
	}
	before := srv.Transactions()
	again := startReplica(t, srv.Endpoint(), nil)
	g := again.set(t, o, d)
	again.store.Synced()
	again.awaitDone(t, o, g)
	again.stop()
	if n := srv.Transactions() - before; n != 0 {
		t.Errorf("a restart wrote %d transactions", n)
	}
	wrong := nbstate.Desired{Rows: []nbstate.Row{{ID: "a", Model: &nbdb.LoadBalancerGroup{Name: "b"}}}}
	r.awaitError(t, node("wrong"), r.set(t, node("wrong"), wrong), `must be "b"`)
	r.awaitDone(t, o, r.set(t, o, nbstate.Desired{Rows: d.Rows[:1]}))
	if got := list(); got != "" {
		t.Errorf("rows that nobody wants: %q", got)
	}
}

// northd answers the rows with columns of its own, which must not be fought over.
func TestNorthdIsLeftAlone(t *testing.T) {
	srv, sb := startServer(t), ovsdbtest.Start(t, ovsdbtest.SB())
	ovsdbtest.StartNorthd(t, srv, sb)
	r := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = 20 * time.Millisecond })
	defer r.stop()
	desired := cluster()
	tag, zero := 0, "parent"
	p := &nbdb.LogicalSwitchPort{Name: "child", ParentName: &zero, TagRequest: &tag, Addresses: []string{"dynamic"}}
	desired[pod("child")] = nbstate.Desired{Rows: []nbstate.Row{{ID: "child", Model: p}, portRow("parent")},
		Members: []nbstate.Member{portOf("n1", "child"), portOf("n1", "parent")}}
	apply(t, r, desired)
	srv.Ctl("--wait=sb", "sync")
	eventually(t, "northd assigns a tag and an address", func() error {
		got := srv.Ctl("get", "Logical_Switch_Port", "child", "tag", "dynamic_addresses")
		if strings.Contains(got, "[]") {
			return errors.New(got)
		}
		return nil
	})
	before := srv.Transactions()
	time.Sleep(300 * time.Millisecond) // a few audits
	if n := srv.Transactions() - before; n != 0 {
		t.Errorf("%d transactions while nothing happened", n)
	}
}

// Rows that come back, as from a backup that is restored, are not wanted any more: they hold addresses that are given
// to others by now. They go at once, by events alone.
func TestRestoredRowsGo(t *testing.T) {
	srv := startServer(t)
	r := startReplica(t, srv.Endpoint(), func(o *nbsync.Options) { o.AuditInterval = time.Hour })
	defer r.stop()
	desired := cluster()
	apply(t, r, desired)
	set := nbstate.Key{Table: nbdb.AddressSetTable, ID: "as"}
	gone := podOn("n1", "ns_gone", "x")
	gone.Members = append(gone.Members, nbstate.Member{Parent: set, Column: "addresses", Value: "10.0.0.9"})
	r.awaitDone(t, pod("gone"), r.set(t, pod("gone"), gone))
	backup := filepath.Join(t.TempDir(), "backup")
	ovsdbClient(t, os.DevNull, backup, "backup", srv.Endpoint(), nbdb.Schema().Name)
	r.awaitDone(t, pod("gone"), r.delete(pod("gone")))
	want := wantedContents(desired)
	awaitContents(t, srv.Endpoint(), "before", want)
	ovsdbClient(t, backup, os.DevNull, "--force", "restore", srv.Endpoint(), nbdb.Schema().Name)
	awaitContents(t, srv.Endpoint(), "after a backup was restored", want)
}

// ovsdbClient runs ovsdb-client with files as standard input, which it wants to be able to seek in, and output.
func ovsdbClient(t *testing.T, from, to string, args ...string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	cmd := exec.Command("ovsdb-client", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ovsdb-client %v: %v: %s", args, err, stderr.String())
	}
}

// Rows of tables without external_ids that were made in an earlier life go when what they say tells whose they were; others' stay.
func TestFormerRowsWithoutMarks(t *testing.T) {
	r, endpoint, _ := start(t, func(o *nbsync.Options) {
		o.OwnerOf = func(m model.Model) (nbstate.Owner, bool) {
			b, ok := m.(*nbdb.StaticMACBinding)
			return node("n1"), ok && b.LogicalPort == "ours"
		}
	})
	other := observe(t, endpoint)
	defer other.Close()
	insert := func(port, ip string) libovsdb.Operation {
		return libovsdb.Operation{Op: "insert", Table: nbdb.StaticMACBindingTable, Row: libovsdb.Row{"logical_port": port, "ip": ip, "mac": "0a:00:00:00:00:01"}}
	}
	transact(t, other, insert("ours", "192.0.2.1"), insert("ours", "192.0.2.2"), insert("theirs", "192.0.2.3"))
	r.awaitDone(t, node("n1"), r.set(t, node("n1"), nbstate.Desired{Rows: []nbstate.Row{{ID: "ours|192.0.2.1", Model: &nbdb.StaticMACBinding{
		LogicalPort: "ours", IP: "192.0.2.1", MAC: "0a:00:00:00:00:01",
	}}}}))
	r.store.Synced()
	eventually(t, "the former row goes", func() error {
		var got []string
		for _, m := range other.Cache().Table(nbdb.StaticMACBindingTable).Rows() {
			got = append(got, m.(*nbdb.StaticMACBinding).IP)
		}
		slices.Sort(got)
		if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.3"}, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// A row and the one in the root set that it holds go together.
func TestHolderAndHeldAreDeletedTogether(t *testing.T) {
	r, endpoint, _ := start(t, nil)
	r.store.Synced()
	router, set := nbstate.Key{Table: nbdb.LogicalRouterTable, ID: "r"}, "set"
	r.awaitDone(t, node("r"), r.set(t, node("r"), nbstate.Desired{Rows: []nbstate.Row{{ID: "r", Model: &nbdb.LogicalRouter{Name: "r"}}}}))
	nat := nbstate.Desired{
		Rows: []nbstate.Row{
			{ID: set, Model: &nbdb.AddressSet{Name: set}},
			{ID: "nat", Model: &nbdb.NAT{Type: nbdb.NATTypeSNAT, LogicalIP: "0.0.0.0/0", ExternalIP: "192.0.2.1", AllowedExtIPs: &set}},
		},
		Members: []nbstate.Member{{Parent: router, Column: "nat", Value: "nat"}},
	}
	for range 2 {
		r.awaitDone(t, node("nat"), r.set(t, node("nat"), nat))
		r.awaitDone(t, node("nat"), r.delete(node("nat")))
		if got := ourContents(t, endpoint); len(got) != 1 {
			t.Errorf("left are %v", got)
		}
	}
}
