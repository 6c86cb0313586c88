package ovndb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// Backup writes the content of the running database, as one consistent transaction, to a file in the standalone format. A
// follower may lag behind its leader.
func Backup(ctx context.Context, c *Config, to string) error {
	f, err := os.CreateTemp(filepath.Dir(to), filepath.Base(to)+".*")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // it has been renamed when all went well
	defer f.Close()
	if err := client(ctx, nil, f, "backup", "unix:"+c.Socket(), c.Kind.Database); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Chmod(0o600), f.Close()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if name, err := tool(ctx, "db-name", f.Name()); err != nil || name != c.Kind.Database {
		return fmt.Errorf("the backup cannot be read back as %s: %w", c.Kind.Database, err)
	}
	return os.Rename(f.Name(), to)
}

// Restore replaces the content of the running database, in one transaction, by that of a backup. In a cluster it is done on the leader.
func Restore(ctx context.Context, c *Config, from string) error {
	if name, err := tool(ctx, "db-name", from); err != nil || name != c.Kind.Database {
		return errors.Join(fmt.Errorf("%s is no backup of %s", from, c.Kind.Database), err)
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	// Rows keep their UUIDs with --force; without it a schema of another version is refused.
	return client(ctx, f, io.Discard, "--force", "restore", "unix:"+c.Socket(), c.Kind.Database)
}

func client(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "ovsdb-client", args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ovsdb-client %v: %w: %s", args, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}

// Kick removes a member, by identity or address, from the running cluster. It returns when the cluster no longer counts it.
func Kick(ctx context.Context, c *Config, member string) error {
	if _, err := Command(ctx, c.Control(), "cluster/kick", c.Kind.Database, member); err != nil {
		return err
	}
	for {
		s, err := ReadStatus(ctx, c.Control(), c.Kind)
		if err != nil {
			return err
		}
		if !s.counts(member) {
			return nil
		}
		if !retry.Sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%s is still a member: %w", member, ctx.Err())
		}
	}
}

func (s *Status) counts(member string) bool {
	for _, server := range s.Servers {
		if server.Address == member || len(member) >= len(server.ID) && member[:len(server.ID)] == server.ID {
			return true
		}
	}
	return false
}

// Compact compacts the running member's file.
func Compact(ctx context.Context, c *Config) error {
	_, err := Command(ctx, c.Control(), compactMethod, c.Kind.Database)
	return err
}

// Recover makes a cluster's member, whose server must not run, standalone with what its file holds: the first step when more than
// half of the members are lost for ever. It returns the path of the old file, which is kept.
func Recover(ctx context.Context, c *Config) (string, error) {
	held, err := lock(c)
	if err != nil {
		return "", err
	}
	defer held.Close()
	next := c.Path() + ".new"
	if err := removeLeftover(next); err != nil {
		return "", err
	}
	if _, err := tool(ctx, "cluster-to-standalone", next, c.Path()); err != nil {
		return "", errors.Join(err, removeLeftover(next))
	}
	return replace(next, c.Path(), "cluster")
}

// Reset puts the file of a member, whose server must not run, aside, so that it starts or joins anew. It returns where the file is, or
// nothing when there was none: whoever prepares several hosts need not know which of them has had a database.
func Reset(_ context.Context, c *Config) (string, error) {
	if _, err := os.Stat(c.Path()); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	held, err := lock(c)
	if err != nil {
		return "", err
	}
	defer held.Close()
	return putAside(c.Path(), "reset")
}
