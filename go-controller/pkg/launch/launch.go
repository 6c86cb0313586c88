// Package launch prepares a host for a program of Open vSwitch or OVN and then becomes that program: it is the entry point of the
// program's container.
package launch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Config says where things are on the host.
type Config struct {
	// RunDir has sockets, pid files and locks, DatabaseDir the Open_vSwitch database, SchemaDir the schema that came with Open vSwitch.
	RunDir, DatabaseDir, SchemaDir string
	// AgentSocket is one at which the node agent answers when pods can be started.
	AgentSocket string
}

// Default folders, those of the distributions' packages.
const (
	DefaultRunDir      = "/var/run/openvswitch"
	DefaultDatabaseDir = "/etc/openvswitch"
	DefaultSchemaDir   = "/usr/share/openvswitch"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffLast  = time.Second
)

// Programs that can be launched.
const (
	OVSDBServer   = "ovsdb-server"
	VSwitchd      = "ovs-vswitchd"
	OVNController = "ovn-controller"
)

// Programs lists them.
func Programs() []string { return []string{OVSDBServer, VSwitchd, OVNController} }

// Prepare does what program needs before it starts, and returns its command line. It waits until no other container of this host
// runs the same program, and as long as ctx lasts for what the program needs.
func (c *Config) Prepare(ctx context.Context, program string) ([]string, error) {
	// First, so that an image whose program does not run at all is noticed before a former container makes place for it.
	if _, err := output(ctx, program, "--version"); err != nil {
		return nil, err
	}
	if err := c.lock(ctx, program); err != nil {
		return nil, err
	}
	var err error
	switch program {
	case OVSDBServer:
		err = errors.Join(c.refuseOther(ctx), c.database(ctx))
	case VSwitchd:
		err = c.enter(ctx)
	case OVNController:
		err = c.initialize(ctx) // with a database that nobody has initialised it ends
	default:
		err = fmt.Errorf("%q is not one of %s", program, strings.Join(Programs(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return append(c.command(program), "--pidfile", "-vconsole:info", "-vsyslog:off", "-vfile:off"), nil
}

func (c *Config) command(program string) []string {
	if program == OVSDBServer {
		return []string{program, c.file(), "--remote=punix:" + c.socket(), "--remote=db:Open_vSwitch,Open_vSwitch,manager_options"}
	}
	return []string{program, "unix:" + c.socket()}
}

func (c *Config) file() string   { return filepath.Join(c.DatabaseDir, "conf.db") }
func (c *Config) socket() string { return filepath.Join(c.RunDir, "db.sock") }

// hidden is a file beside the sockets of a program.
func (c *Config) hidden(program, what string) string {
	return filepath.Join(c.RunDir, "."+program+".ovnkube-"+what)
}

// lock takes a lock that lasts as long as this process, and the program that it becomes: at an upgrade the next container is there
// before the former one ends, and goes on in its place within milliseconds.
func (c *Config) lock(ctx context.Context, program string) error {
	if err := os.MkdirAll(c.RunDir, 0o755); err != nil {
		return fmt.Errorf("folder of the sockets: %w", err)
	}
	path := c.hidden(program, "lock")
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT, 0o600) // not closed at exec: it goes to the program
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		if err := c.announce(program); err != nil {
			return err
		}
		klog.InfoS("Another container of this host runs the program; waiting for its end", "program", program)
		err = waitForLock(ctx, fd)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

// waitForLock leaves a waiting thread behind when ctx ends first: then the process ends, too.
func waitForLock(ctx context.Context, fd int) error {
	locked := make(chan error, 1)
	go func() { locked <- flock(fd, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// answers tells whether a server listens.
func (c *Config) answers(ctx context.Context) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
	if err != nil {
		return false
	}
	conn.Close() //nolint:errcheck // nothing was sent
	return true
}

func (c *Config) refuseOther(ctx context.Context) error {
	if !c.answers(ctx) {
		return nil
	}
	return fmt.Errorf("somebody else's Open vSwitch serves %s: stop and disable the host's own (systemctl disable --now openvswitch-switch), or let it be used (value ovs.host)", c.socket())
}

// database makes the file, or brings it to the schema of this version.
func (c *Config) database(ctx context.Context) error {
	schema := filepath.Join(c.SchemaDir, "vswitch.ovsschema")
	_, err := os.Stat(c.file())
	if errors.Is(err, os.ErrNotExist) {
		return c.create(ctx, schema)
	}
	if err != nil {
		return err
	}
	needs, err := output(ctx, "ovsdb-tool", "needs-conversion", c.file(), schema)
	if err != nil || needs != "yes" {
		return err
	}
	klog.InfoS("The database is converted to another schema", "file", c.file(), "schema", schema)
	_, err = output(ctx, "ovsdb-tool", "convert", c.file(), schema)
	return err
}

// create leaves no half of a file.
func (c *Config) create(ctx context.Context, schema string) error {
	if err := os.MkdirAll(c.DatabaseDir, 0o755); err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	next := c.file() + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := output(ctx, "ovsdb-tool", "create", next, schema); err != nil {
		return err
	}
	return os.Rename(next, c.file())
}

// initialize waits for the server, and makes the row of the database that all daemons need. Two at once may be in each other's way.
func (c *Config) initialize(ctx context.Context, more ...string) error {
	last := ""
	for wait := backoffFirst; ; wait = min(2*wait, backoffLast) {
		err := errors.New("no server listens")
		if c.answers(ctx) {
			_, err = output(ctx, "ovs-vsctl", append([]string{"--db=unix:" + c.socket(), "--no-wait", "--timeout=10", "init"}, more...)...)
		}
		if err == nil {
			return nil
		}
		if text := err.Error(); text != last && wait > backoffFirst {
			klog.InfoS("Waiting for Open vSwitch's database", "socket", c.socket(), "reason", text)
			last = text
		}
		if !retry.Sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// enter writes what the packages' start scripts write about ovs-vswitchd.
func (c *Config) enter(ctx context.Context) error {
	text, err := output(ctx, VSwitchd, "--version")
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(text, "\n")
	return c.initialize(ctx, "--", "set", "Open_vSwitch", ".", "ovs_version="+first[strings.LastIndex(first, " ")+1:], "external_ids:rundir="+c.RunDir)
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, nil
}

// Become replaces this process by a program. It returns only errors.
func Become(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("start %s: %w", path, unix.Exec(path, argv, os.Environ()))
}
