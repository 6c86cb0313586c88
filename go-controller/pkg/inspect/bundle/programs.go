package bundle

import (
	"context"
	"io"
	"path"
	"strings"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/database"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// command is the source of what a program says at a place. What it says in its complaints is the reason when it fails.
func (o *Options) command(name string, at access.Place, argv ...string) source {
	return source{name: name, from: strings.Join(argv, " "), write: func(ctx context.Context, to io.Writer) error {
		var complaints strings.Builder
		err := o.Access.Run(ctx, at, access.Streams{Out: to, Err: &complaints}, argv...)
		if said := strings.TrimSpace(complaints.String()); err != nil && said != "" {
			return &failure{err, said}
		}
		return err
	}}
}

// failure is an error with what the program said.
type failure struct {
	error
	said string
}

// Error is both.
func (f *failure) Error() string { return f.error.Error() + ": " + f.said }

// Unwrap is the error.
func (f *failure) Unwrap() error { return f.error }

// databases are the sources beside OVN's databases.
func (o *Options) databases() []source {
	var out []source
	for _, k := range []ovndb.Kind{ovndb.NB(), ovndb.SB()} {
		add := func(name, from, script string, limit int) {
			s := o.command(name, access.Beside(k), database.Shell(k, script)...)
			s.from, s.limit = from, limit
			out = append(out, s)
		}
		dir := "ovn/" + k.Short + "/"
		// A copy that ovsdb-server can serve: all of OVN's programs work on it.
		add(dir+k.Database+".db", "ovsdb-client backup", `exec ovsdb-client --no-leader-only --timeout=60 backup "$own" `+k.Database, databaseSize)
		add(dir+"show.txt", "ovn-"+k.Short+"ctl show", `exec ovn-`+k.Short+`ctl --no-leader-only --timeout=30 --db="$own" show`, 0)
		config := ovndb.Config{Kind: k, RunDir: ovndb.DefaultRunDir}
		control := path.Join(config.RunDir, path.Base(config.Control()))
		// Standalone servers know no cluster/status, and members of clusters have more to say.
		add(dir+"server.txt", "ovs-appctl memory/show, coverage/show, cluster/status", `for c in memory/show coverage/show ovsdb-server/list-remotes "cluster/status `+k.Database+`"; do echo "# $c"; ovs-appctl --timeout=10 -t `+
			control+` $c 2>&1 || :; done`, 0)
	}
	return out
}

// onNode are the sources on a node: Open vSwitch, OpenFlow, the datapath, ovn-controller, and the host's own network.
func (o *Options) onNode(node string) []source {
	at, dir := access.On(node), "nodes/"+node+"/"
	var out []source
	add := func(name string, argv ...string) { out = append(out, o.command(dir+name, at, argv...)) }
	add("ovs-vsctl-show.txt", "ovs-vsctl", "--timeout=30", "show")
	add("Open_vSwitch.txt", "ovsdb-client", "--timeout=30", "dump", "Open_vSwitch")
	for _, bridge := range []string{names.IntegrationBridge, names.ExternalBridge} {
		add("flows-"+bridge+".txt", "ovs-ofctl", "--timeout=60", "dump-flows", bridge)
		add("groups-"+bridge+".txt", "ovs-ofctl", "--timeout=30", "-O", "OpenFlow15", "dump-groups", bridge)
		add("ports-"+bridge+".txt", "ovs-ofctl", "--timeout=30", "dump-ports-desc", bridge)
		add("port-counters-"+bridge+".txt", "ovs-ofctl", "--timeout=30", "dump-ports", bridge)
	}
	add("datapath-flows.txt", "ovs-appctl", "--timeout=60", "dpctl/dump-flows", "-m")
	add("conntrack.txt", "ovs-appctl", "--timeout=60", "dpctl/dump-conntrack")
	for name, words := range map[string]string{
		"datapath": "dpif/show", "upcalls": "upcall/show", "ovs-counters": "coverage/show", "ovs-memory": "memory/show", "tunnels": "ofproto/list-tunnels",
	} {
		add(name+".txt", "ovs-appctl", "--timeout=30", words)
	}
	const controller = `for c in connection-status ct-zone-list lflow-cache/show-stats coverage/show memory/show; do echo "# $c"; ` +
		`ovn-appctl --timeout=10 -t ovn-controller $c 2>&1 || :; done`
	add("ovn-controller.txt", "sh", "-c", controller)
	const host = `for c in "uname -a" "ip -d address" "ip rule" "ip -6 rule" "ip route show table all" "ip -6 route show table all" "ip neigh" lsmod "df -h" free; ` +
		`do echo "# $c"; $c 2>&1 || :; done`
	add("host.txt", "sh", "-c", host)
	add("netfilter.txt", "sh", "-c", `for c in "nft list ruleset" iptables-save ip6tables-save; do echo "# $c"; $c 2>&1 || :; done`)
	// Where the components are processes, or keep files beside what they say.
	add("logs.txt", "sh", "-c", `tail -v -c 1000000 /var/log/openvswitch/*.log /var/log/ovn/*.log 2>&1 || :`)
	return out
}
