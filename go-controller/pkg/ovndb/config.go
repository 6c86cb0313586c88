package ovndb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// Defaults of Config.
const (
	DefaultDir           = "/var/lib/ovn"
	DefaultRunDir        = "/var/run/ovn"
	DefaultSchemaDir     = "/usr/share/ovn"
	DefaultElectionTimer = 2 * time.Second
	DefaultCompactBytes  = 64 << 20
)

// Limits that ovsdb-server has for the election timer: ovsdb-server(1), "cluster/change-election-timer".
const (
	minElectionTimer = 100 * time.Millisecond
	maxElectionTimer = 10 * time.Minute
)

// Config describes one member. It is meant to be made once and not to be changed.
type Config struct {
	Kind Kind
	// Dir holds the file, RunDir the sockets, SchemaDir the schema that came with OVN.
	Dir, RunDir, SchemaDir string
	// LocalAddress is this member's; with it Members has the addresses of all members, the first of which makes the cluster.
	// Without members the database is standalone, and without LocalAddress it listens only where its own content says.
	LocalAddress netip.Addr
	Members      []netip.Addr
	// Port and RaftPort are the same on all members.
	Port, RaftPort int
	// ElectionTimer is how long a follower waits for its leader.
	ElectionTimer time.Duration
	// ClusterID, when not empty, is the only cluster that this member may belong to.
	ClusterID string
	// Convert, when set, is the member whose standalone file becomes the cluster's first content. It may be set alike on all members.
	Convert netip.Addr
	// CompactBytes is the size from which the file is compacted when it has doubled since the last time.
	CompactBytes int64
	// TLS makes all connections over the network TLS.
	TLS ovsdb.TLSFiles
	// Listen, PORT or PORT:ADDRESS, makes a standalone southbound database listen there for nodes, with OVN's role for them.
	Listen string
}

// Clustered tells whether the member is one of a cluster.
func (c *Config) Clustered() bool { return len(c.Members) > 0 }

// Validate tells what is wrong, every finding in one error.
func (c *Config) Validate() error {
	var errs []error
	if c.Clustered() {
		if !slices.Contains(c.Members, c.LocalAddress) {
			errs = append(errs, fmt.Errorf("--local-address %s is not among --members %v: name this member by one of them", c.LocalAddress, c.Members))
		}
		for i, m := range c.Members {
			if slices.Contains(c.Members[:i], m) {
				errs = append(errs, fmt.Errorf("--members names %s twice", m))
			}
		}
	}
	if c.Clustered() && len(c.Members)%2 == 0 {
		errs = append(errs, fmt.Errorf("--members names %d: an even number survives no more losses than one less, give 3 or 5", len(c.Members)))
	}
	if c.Convert.IsValid() && !slices.Contains(c.Members, c.Convert) {
		errs = append(errs, fmt.Errorf("--convert-standalone %s is not among --members %v: name the member whose file becomes the cluster's content", c.Convert, c.Members))
	}
	if c.ElectionTimer < minElectionTimer || c.ElectionTimer > maxElectionTimer {
		errs = append(errs, fmt.Errorf("--election-timer %s is not between %s and %s", c.ElectionTimer, minElectionTimer, maxElectionTimer))
	}
	errs = append(errs, validateTLS(c.TLS), c.validateListen())
	for _, p := range []int{c.Port, c.RaftPort} {
		if p < 1 || p > 65535 {
			errs = append(errs, fmt.Errorf("port %d is not between 1 and 65535", p))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) validateListen() error {
	switch {
	case c.Listen == "":
		return nil
	case c.LocalAddress.IsValid() && !c.Clustered():
		return errors.New("--local-address and --listen: nodes would be let in at the former, too, where they have no role; give one of them")
	case c.Clustered():
		return errors.New("--listen: members of clusters do not listen for nodes, relays do (ovnkube db relay)")
	}
	return c.listener().validate(c.TLS)
}

func (c *Config) listener() nodesListener {
	return nodesListener{kind: c.Kind, at: c.Listen, socket: c.Socket()}
}

// Path is the database's file, Socket the unix socket for clients on this host, Control that for commands.
func (c *Config) Path() string { return filepath.Join(c.Dir, c.Kind.fileName()) }

// Socket is the unix socket for clients on this host.
func (c *Config) Socket() string { return filepath.Join(c.RunDir, c.Kind.socketName()) }

// Control is the unix socket for commands to the server.
func (c *Config) Control() string { return filepath.Join(c.RunDir, c.Kind.controlName()) }

// LeaderSocket is the unix socket that leads to the cluster's leader, wherever that is.
func (c *Config) LeaderSocket() string { return filepath.Join(c.RunDir, c.Kind.leaderName()) }

func (c *Config) schema() string { return filepath.Join(c.SchemaDir, c.Kind.schemaName()) }

func (c *Config) method() string {
	if c.TLS != (ovsdb.TLSFiles{}) {
		return "ssl"
	}
	return "tcp"
}

// raftAddress is how members reach the one at a: ovsdb-tool(1), "create-cluster".
func (c *Config) raftAddress(a netip.Addr) string { return c.method() + ":" + hostPort(a, c.RaftPort) }

// endpoint is how clients reach the member at a.
func (c *Config) endpoint(a netip.Addr) string { return c.method() + ":" + hostPort(a, c.Port) }

// others are the members but for this one.
func (c *Config) others() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(c.Members), func(a netip.Addr) bool { return a == c.LocalAddress })
}

func hostPort(a netip.Addr, port int) string { return net.JoinHostPort(a.String(), strconv.Itoa(port)) }

// listen is the passive form of the client address: ovsdb(7).
func (c *Config) listen() string {
	host := c.LocalAddress.String()
	if c.LocalAddress.Is6() {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("p%s:%d:%s", c.method(), c.Port, host)
}

// serverArgs are the arguments of ovsdb-server. Whoever connects to a listener of the command line may do anything, so a standalone
// database has none unless somebody has asked for one. Listeners with a role, for nodes, are in the database. A member of a cluster
// takes none from there: all listeners of a process trust the same authorities, also that for other members, which no node may reach.
func (c *Config) serverArgs() []string {
	args := []string{"--no-chdir", "--remote=punix:" + c.Socket()}
	if c.LocalAddress.IsValid() {
		args = append(args, "--remote="+c.listen())
	}
	if !c.Clustered() {
		args = append(args, c.Kind.connections())
	}
	args = append(args, "--unixctl="+c.Control(), "-vconsole:info", "-vsyslog:off", "-vfile:off")
	return append(append(args, tlsArgs(c.TLS)...), c.Path())
}

// validateTLS refuses what would be less than TLS with both sides authenticated. The name none makes Open vSwitch check nobody's
// certificate: ovsdb-server(1), "--ca-cert".
func validateTLS(f ovsdb.TLSFiles) error {
	if f != (ovsdb.TLSFiles{}) && (f.PrivateKey == "" || f.Certificate == "" || f.CACertificate == "") {
		return errors.New("--privkey, --cert and --cacert belong together: give all or none")
	}
	if f.CACertificate == "none" {
		return errors.New("--cacert=none would let everybody in: name the file of the authority that has signed for those who connect")
	}
	return nil
}

func tlsArgs(f ovsdb.TLSFiles) []string {
	if f == (ovsdb.TLSFiles{}) {
		return nil
	}
	return []string{"--private-key=" + f.PrivateKey, "--certificate=" + f.Certificate, "--ca-cert=" + f.CACertificate}
}
