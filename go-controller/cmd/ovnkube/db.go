package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/health"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovndb"
)

// maintenanceTimeout bounds a command of an operator: a big database takes a while to be copied.
const maintenanceTimeout = 5 * time.Minute

func newDBCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "db",
		Short: "Run and look after OVN's databases: see docs/databases.md",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newDBRunCommand(), newDBRelayCommand(),
		newDBStatusCommand(),
		maintenance("backup nb|sb FILE", "Write the running database's content to a file", 1, func(ctx context.Context, _ io.Writer, c *ovndb.Config, args []string) error {
			return ovndb.Backup(ctx, c, args[0])
		}),
		maintenance("restore nb|sb FILE", "Replace the running database's content by a backup's", 1, func(ctx context.Context, _ io.Writer, c *ovndb.Config, args []string) error {
			return ovndb.Restore(ctx, c, args[0])
		}),
		maintenance("kick nb|sb MEMBER", "Remove a lost member, by identity or address, from the cluster", 1, func(ctx context.Context, _ io.Writer, c *ovndb.Config, args []string) error {
			return ovndb.Kick(ctx, c, args[0])
		}),
		maintenance("compact nb|sb", "Compact the running member's file now", 0, func(ctx context.Context, _ io.Writer, c *ovndb.Config, _ []string) error {
			return ovndb.Compact(ctx, c)
		}),
		maintenance("recover nb|sb", "Make a stopped member's file standalone, when most members are lost for ever", 0, putAside(ovndb.Recover)),
		maintenance("reset nb|sb", "Put a stopped member's file aside, so that it starts or joins anew", 0, putAside(ovndb.Reset)))
	return cmd
}

// process is what all long-running commands about databases take.
type process struct {
	bind     string
	logLevel int
}

func (p *process) addFlags(fs *pflag.FlagSet) {
	fs.String("config-file", "", "YAML file with any of these settings; flags and environment come first")
	fs.StringVar(&p.bind, "metrics-bind-address", "", "ADDRESS:PORT that serves /metrics, /livez and /readyz")
	fs.IntVar(&p.logLevel, "loglevel", 2, "verbosity of the log")
}

// load completes the flags from environment and file and sets the verbosity.
func (p *process) load(fs *pflag.FlagSet) error {
	if err := config.Load(fs, os.Environ()); err != nil {
		return err
	}
	return health.SetVerbosity(p.logLevel)
}

func (p *process) run(ctx context.Context, registry prometheus.Gatherer, ready func() error, do func(context.Context) error) error {
	return run(ctx, &health.Server{Address: p.bind, Metrics: registry, Ready: ready}, health.Debug{}, do)
}

func newDBRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run nb|sb",
		Short: "Run a database, alone or as a member of a cluster",
		Args:  cobra.ExactArgs(1),
	}
	var p process
	var c ovndb.Config
	var members []string
	fs := cmd.Flags()
	p.addFlags(fs)
	addPlaceFlags(fs, &c)
	addNetworkFlags(fs, &c)
	fs.StringVar(&c.Listen, "listen", "", "PORT or PORT:ADDRESS at which a standalone southbound database listens for nodes, with OVN's role for them (default: where its connections say)")
	fs.StringSliceVar(&members, "members", nil, "addresses of all members, the same list on each; the first one makes the cluster (default: a standalone database)")
	fs.IntVar(&c.RaftPort, "raft-port", 0, "port for the other members (default 6643 for nb, 6644 for sb)")
	fs.DurationVar(&c.ElectionTimer, "election-timer", ovndb.DefaultElectionTimer, "how long members wait for their leader before they elect another")
	fs.StringVar(&c.ClusterID, "cluster-id", "", "the only cluster to belong to (default: that of the file, or of the other members)")
	fs.TextVar(&c.Convert, "convert-standalone", netip.Addr{}, "the member whose standalone file becomes the content of a new cluster; may be the same on all")
	fs.Int64Var(&c.CompactBytes, "compact-bytes", ovndb.DefaultCompactBytes, "size of the file from which it is compacted whenever it has doubled")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(p.load(cmd.Flags()), complete(&c, args[0])); err != nil {
			return err
		}
		for _, m := range members {
			a, err := netip.ParseAddr(m)
			if err != nil {
				return fmt.Errorf("--members: %w", err)
			}
			c.Members = append(c.Members, a)
		}
		registry := newRegistry()
		m, err := ovndb.NewMember(c, ovndb.MemberOptions{Registerer: registry})
		if err != nil {
			return err
		}
		return p.run(cmd.Context(), registry, m.Ready, m.Run)
	}
	return cmd
}

func newDBRelayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "relay nb|sb",
		Short: "Serve a copy of a database to many clients",
		Args:  cobra.ExactArgs(1),
	}
	var p process
	var c ovndb.Config
	var r ovndb.Relay
	fs := cmd.Flags()
	p.addFlags(fs)
	addTLSFlags(fs, &c)
	fs.StringVar(&c.RunDir, "run-dir", ovndb.DefaultRunDir, "folder of the sockets")
	fs.StringSliceVar(&r.Sources, "sources", nil, "endpoints of the database's members, comma separated tcp: or ssl:")
	fs.StringVar(&r.Listen, "listen", "", "PORT or PORT:ADDRESS at which all relays listen for nodes, with OVN's role for them: written to the southbound database (default: where its connections say)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(p.load(cmd.Flags()), complete(&c, args[0])); err != nil {
			return err
		}
		r.Kind, r.RunDir, r.TLS = c.Kind, c.RunDir, c.TLS
		if err := r.Validate(); err != nil {
			return err
		}
		return p.run(cmd.Context(), newRegistry(), r.Ready, r.Run)
	}
	return cmd
}

func addPlaceFlags(fs *pflag.FlagSet, c *ovndb.Config) {
	fs.StringVar(&c.Dir, "db-dir", ovndb.DefaultDir, "folder of the database's file")
	fs.StringVar(&c.RunDir, "run-dir", ovndb.DefaultRunDir, "folder of the sockets")
	fs.StringVar(&c.SchemaDir, "schema-dir", ovndb.DefaultSchemaDir, "folder of the schemas that come with OVN")
}

func addNetworkFlags(fs *pflag.FlagSet, c *ovndb.Config) {
	fs.TextVar(&c.LocalAddress, "local-address", netip.Addr{}, "address to listen on; needed with --members (default: only where the standalone database's connections say)")
	fs.IntVar(&c.Port, "port", 0, "port for clients (default 6641 for nb, 6642 for sb)")
	addTLSFlags(fs, c)
}

func addTLSFlags(fs *pflag.FlagSet, c *ovndb.Config) {
	fs.StringVar(&c.TLS.PrivateKey, "privkey", "", "private key (PEM): with it all connections over the network are TLS")
	fs.StringVar(&c.TLS.Certificate, "cert", "", "certificate (PEM)")
	fs.StringVar(&c.TLS.CACertificate, "cacert", "", "CA certificate (PEM) of clients and other members")
}

// complete sets what depends on which database it is.
func complete(c *ovndb.Config, kind string) (err error) {
	if c.Kind, err = ovndb.ParseKind(kind); err != nil {
		return err
	}
	if c.Port == 0 {
		c.Port = c.Kind.Port
	}
	if c.RaftPort == 0 {
		c.RaftPort = c.Kind.RaftPort
	}
	return nil
}

// maintenance is a command of an operator about the member on this host.
func maintenance(use, short string, args int, do func(context.Context, io.Writer, *ovndb.Config, []string) error) *cobra.Command {
	var c ovndb.Config
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1 + args)}
	addPlaceFlags(cmd.Flags(), &c)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := complete(&c, args[0]); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), maintenanceTimeout)
		defer cancel()
		return do(ctx, cmd.OutOrStdout(), &c, args[1:])
	}
	return cmd
}

func putAside(do func(context.Context, *ovndb.Config) (string, error)) func(context.Context, io.Writer, *ovndb.Config, []string) error {
	return func(ctx context.Context, out io.Writer, c *ovndb.Config, _ []string) error {
		old, err := do(ctx, c)
		switch {
		case old != "":
			fmt.Fprintln(out, "the old file is", old)
		case err == nil:
			fmt.Fprintln(out, "there is no file", c.Path())
		}
		return err
	}
}

func newDBStatusCommand() *cobra.Command {
	var format string
	cmd := maintenance("status nb|sb", "Show a member's view of its cluster", 0, func(ctx context.Context, out io.Writer, c *ovndb.Config, _ []string) error {
		s, err := ovndb.Look(ctx, c)
		if err != nil {
			return err
		}
		if format == "json" {
			encoder := json.NewEncoder(out)
			encoder.SetIndent("", "  ")
			return encoder.Encode(s)
		}
		return printStatus(out, s)
	})
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printStatus(out io.Writer, s ovndb.Status) error {
	if s.ServerID == "" {
		_, err := fmt.Fprintf(out, "%s: %s\n", s.Database, s.Status)
		return err
	}
	leader := s.Leader
	if leader == "" {
		leader = "unknown"
	}
	fmt.Fprintf(out, "%s: %s, %s, leader %s, term %d\ncluster %s, election timer %s, log %d to %d, %d not committed\n\n",
		s.Database, s.Status, s.Role, leader, s.Term, s.ClusterID, s.ElectionTimer, s.LogFirst, s.LogNext, s.NotCommitted)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "MEMBER\tADDRESS\tLAST HEARD OF\tHAS")
	for _, server := range s.Servers {
		heard, has := "never", ""
		switch {
		case server.Self:
			heard = "this one"
		case server.LastMessage >= 0:
			heard = server.LastMessage.String() + " ago"
		}
		if s.Leads() {
			has = strconv.FormatUint(server.MatchIndex, 10)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", server.ID, server.Address, heard, has)
	}
	return table.Flush()
}
