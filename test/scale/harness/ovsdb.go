package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const ovsdbTimeout = 10 * time.Second

// Database is a running ovsdb-server with one database.
type Database struct {
	*Process
	// Schema is the database's name in OVSDB, such as OVN_Northbound.
	Schema string
	// Remote is the endpoint clients connect to.
	Remote        string
	file, control string
}

// schemaDir holds ovn-nb.ovsschema and ovn-sb.ovsschema.
const schemaDir = "/usr/share/ovn"

// OVN is where the servers of OVN and Open vSwitch come from.
type OVN struct {
	// Root is a folder with another release's packages; empty: the machine's own.
	Root string
}

// Mount shows the root the namespaces' own processes, devices and WorkDir. It is called once, inside.
func (o OVN) Mount() error {
	if o.Root == "" {
		return nil
	}
	for _, dir := range []string{"/proc", "/dev", WorkDir} {
		if err := unix.Mount(dir, filepath.Join(o.Root, dir), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("show %s in %s: %w", dir, o.Root, err)
		}
	}
	return nil
}

// command runs a program of the packages.
func (o OVN) command(program string, args ...string) Command {
	if o.Root == "" {
		return Command{Path: program, Args: args}
	}
	return Command{Path: "chroot", Args: append([]string{o.Root, program}, args...)}
}

// start runs a program of the packages under a name.
func (o OVN) start(name, program string, args ...string) (*Process, error) {
	c := o.command(program, args...)
	c.Name = name
	return Start(c)
}

// StartDatabase creates and serves an empty northbound ("nb") or southbound ("sb") database.
func (o OVN) StartDatabase(ctx context.Context, kind string) (*Database, error) {
	dir := filepath.Join(WorkDir, "ovn")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%s database: %w", kind, err)
	}
	socket := filepath.Join(dir, kind+".sock")
	d := &Database{
		Schema:  map[string]string{"nb": "OVN_Northbound", "sb": "OVN_Southbound"}[kind],
		Remote:  "unix:" + socket,
		file:    filepath.Join(dir, kind+".db"),
		control: filepath.Join(dir, kind+".ctl"),
	}
	schema := filepath.Join(schemaDir, "ovn-"+kind+".ovsschema")
	create := o.command("ovsdb-tool", "create", d.file, schema)
	if _, err := run(ctx, create.Path, create.Args...); err != nil {
		return nil, err
	}
	var err error
	d.Process, err = o.start("ovsdb-server-"+kind, "ovsdb-server",
		d.file, "--remote=p"+d.Remote, "--unixctl="+d.control, "--no-chdir", "-vconsole:warn")
	if err != nil {
		return nil, err
	}
	return d, d.WaitFor(ctx, ovsdbTimeout, func(ctx context.Context) error {
		_, err := run(ctx, "ovsdb-client", "list-dbs", d.Remote)
		return err
	})
}

// CompactedSize rewrites the database's file without what has been overwritten since, and returns its size in bytes. Transactions cannot be counted after it.
func (d *Database) CompactedSize(ctx context.Context) (int64, error) {
	if _, err := run(ctx, "ovn-appctl", "-t", d.control, "ovsdb-server/compact"); err != nil {
		return 0, err
	}
	info, err := os.Stat(d.file)
	if err != nil {
		return 0, fmt.Errorf("size of a database: %w", err)
	}
	return info.Size(), nil
}

func northdControl() string { return filepath.Join(WorkDir, "ovn", "northd.ctl") }

// StartNorthd translates nb into sb.
func (o OVN) StartNorthd(nb, sb *Database) (*Process, error) {
	return o.start("ovn-northd", "ovn-northd",
		"--ovnnb-db="+nb.Remote, "--ovnsb-db="+sb.Remote, "--unixctl="+northdControl(), "-vconsole:warn")
}

// RecomputeNorthd makes northd translate everything anew, and returns when it has.
func RecomputeNorthd(ctx context.Context) error {
	_, err := run(ctx, "ovn-appctl", "-t", northdControl(), "inc-engine/recompute")
	return err
}

// SyncNorthd waits until northd has handled everything that is in the northbound database now.
func SyncNorthd(ctx context.Context, nb *Database) error {
	_, err := run(ctx, "ovn-nbctl", "--db="+nb.Remote, "--wait=sb", "sync")
	return err
}

// Transactions counts what was written to the database since it was created. It fails when the server has compacted the file since.
func (d *Database) Transactions() (Transactions, error) {
	t, err := ReadTransactions(d.file)
	if err == nil && t.Compacted {
		err = fmt.Errorf("the server has compacted %s: its transactions cannot be counted any more", d.file)
	}
	return t, err
}

// Quiet waits until the database's log has not grown for the given time.
func (d *Database) Quiet(ctx context.Context, still time.Duration) error {
	last, since := int64(-1), time.Now()
	for {
		info, err := os.Stat(d.file)
		if err != nil {
			return fmt.Errorf("log of transactions: %w", err)
		}
		if info.Size() != last {
			last, since = info.Size(), time.Now()
		}
		if time.Since(since) >= still {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Rows returns the named columns of all rows of a table, as OVSDB's JSON notation decodes (RFC 7047,
// section 5.1).
func (d *Database) Rows(ctx context.Context, table string, columns ...string) ([]map[string]any, error) {
	request, err := json.Marshal([]any{d.Schema, map[string]any{"op": "select", "table": table, "where": []any{}, "columns": columns}})
	if err != nil {
		return nil, err
	}
	out, err := run(ctx, "ovsdb-client", "transact", d.Remote, string(request))
	if err != nil {
		return nil, err
	}
	var reply []struct {
		Rows  []map[string]any `json:"rows"`
		Error string           `json:"error"`
	}
	if err := json.Unmarshal(out, &reply); err != nil {
		return nil, fmt.Errorf("rows of %s: %w", table, err)
	}
	if len(reply) != 1 || reply[0].Error != "" {
		return nil, fmt.Errorf("rows of %s: unexpected reply %.200s", table, out)
	}
	return reply[0].Rows, nil
}

func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
