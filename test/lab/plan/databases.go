package plan

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ovnkube/ovnkube/test/lab/supervise"
)

// DatabaseMember is the component with the n-th member, from 1, of NBDB or SBDB, in a lab with clusters of databases.
func DatabaseMember(db string, n int) string { return fmt.Sprintf("%s-%d", db, n) }

// clustered tells whether the databases are clusters, run by the product, rather than single servers.
func (c *Config) clustered() bool { return c.Databases > 1 }

// members are the addresses of the databases' members: the control plane's own and those next to it, all in its namespace.
func (c *Config) members() []netip.Addr {
	var out []netip.Addr
	for n := range max(1, c.Databases) {
		out = append(out, c.Family.underlay(hostControlPlane + n)[0].Addr())
	}
	return out
}

// ControlPlaneListeners are where databases listen for the control plane alone, or would: a single northbound server has no port.
func (c *Config) ControlPlaneListeners() []string {
	ports := []uint16{NBPort}
	if c.clustered() {
		ports = []uint16{NBPort, SBPort}
	}
	var out []string
	for _, a := range c.members() {
		for _, p := range ports {
			out = append(out, netip.AddrPortFrom(a, p).String())
		}
	}
	return out
}

// memberPrefixes are the further addresses of the control plane.
func (c *Config) memberPrefixes() []netip.Prefix {
	var out []netip.Prefix
	for n := 1; n < c.Databases; n++ {
		out = append(out, c.Family.underlay(hostControlPlane+n)...)
	}
	return out
}

// Southbound is the endpoint for nodes: with a cluster, whose members are for the control plane alone, that of the relay.
func (c *Config) Southbound() string {
	if c.clustered() {
		return c.Family.Relay()
	}
	return c.Family.Southbound()
}

// remotes are the endpoints of a cluster's members on the network, as OVS and the product write them.
func (c *Config) remotes(port uint16) string {
	var out []string
	for _, a := range c.members() {
		out = append(out, "ssl:"+netip.AddrPortFrom(a, port).String())
	}
	return strings.Join(out, ",")
}

// local is the endpoint for what runs beside the databases and is not the product's: with clusters, the socket that leads to the
// leader.
func (c *Config) local(kind string) string { return "unix:" + c.localSocket(kind) }

func (c *Config) localSocket(kind string) string {
	if c.clustered() {
		return "/var/run/ovn/ovn" + kind + "_leader.sock"
	}
	return "/var/run/ovn/ovn" + kind + "_db.sock"
}

// masterRemotes are the endpoints for the master.
func (c *Config) masterRemotes(kind string, port uint16) string {
	if c.clustered() {
		return c.remotes(port)
	}
	return c.local(kind)
}

// databaseEnv leads people's commands to the leaders.
func (c *Config) databaseEnv() []string {
	if !c.clustered() {
		return nil
	}
	return []string{"OVN_NB_DB=" + c.local("nb"), "OVN_SB_DB=" + c.local("sb")}
}

// databaseSetup makes the files of single servers; members of clusters make their own.
func (c *Config) databaseSetup() []supervise.Command {
	if c.clustered() {
		return nil
	}
	return []supervise.Command{c.ovnDatabase("nb", ""), c.ovnDatabase("sb", c.chassisAccess())}
}

func (c *Config) databases() []supervise.Component {
	if !c.clustered() {
		return []supervise.Component{c.ovnDB(NBDB, "nb"), c.ovnDB(SBDB, "sb", southboundAccess()...)}
	}
	var out []supervise.Component
	for n, a := range c.members() {
		out = append(out, c.member(NBDB, "nb", n+1, a), c.member(SBDB, "sb", n+1, a))
	}
	return append(out, c.relay())
}

// relay is where nodes read the southbound database of a cluster.
func (c *Config) relay() supervise.Component {
	return supervise.Component{Name: SBRelay, Argv: append([]string{
		productInside + "/ovnkube", "db", "relay", "sb",
		"--sources=" + c.remotes(SBPort), fmt.Sprintf("--listen=%d:%s", RelayPort, c.everyAddress()),
		fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", RelayHealth),
	}, certificateFlags("client-ca.crt")...)}
}

// certificateFlags name the files that the master keeps; authorities has those whose clients are let in.
func certificateFlags(authorities string) []string {
	const pair = certInside + "/ovnkube-master.pem"
	return []string{"--privkey=" + pair, "--cert=" + pair, "--cacert=" + certInside + "/" + authorities}
}

// member is run in the folders of its number; the first one's sockets are where those of a single server would be.
func (c *Config) member(name, kind string, n int, a netip.Addr) supervise.Component {
	return supervise.Component{Name: DatabaseMember(name, n), Argv: append([]string{
		productInside + "/ovnkube", "db", "run", kind,
		"--local-address=" + a.String(), "--members=" + join(c.members()),
		"--db-dir=" + DatabaseDir(n), "--run-dir=" + DatabaseRunDir(n),
	}, certificateFlags("ca.crt")...)}
}

// DatabaseDir is the folder with the files of the n-th members, from 1.
func DatabaseDir(n int) string { return fmt.Sprintf("/var/lib/ovn/%d", n) }

// DatabaseRunDir is the folder with the sockets of the n-th members, from 1.
func DatabaseRunDir(n int) string {
	if n == 1 {
		return "/run/ovn"
	}
	return fmt.Sprintf("/run/ovn/%d", n)
}
