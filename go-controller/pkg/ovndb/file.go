package ovndb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"time"
)

// File is what a database's file says of itself.
type File struct {
	Exists bool
	// Database is the name of its schema.
	Database  string
	Clustered bool
	// ClusterID is empty when it has never joined; LocalAddress is the member's own, as members reach it.
	ClusterID, LocalAddress string
}

// inspect reads a file's identity with ovsdb-tool(1).
func inspect(ctx context.Context, path string) (File, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	f := File{Exists: true}
	var err error
	if f.Database, err = tool(ctx, "db-name", path); err != nil {
		return f, fmt.Errorf("%w; a damaged file is put aside with \"ovnkube db reset\"", err)
	}
	if _, err := tool(ctx, "db-is-clustered", path); err != nil {
		return f, nil
	}
	f.Clustered = true
	if f.LocalAddress, err = tool(ctx, "db-local-address", path); err != nil {
		return f, err
	}
	// It fails for a member that has not joined yet, and for no other reason on a file that could be read so far.
	f.ClusterID, _ = tool(ctx, "db-cid", path)
	return f, nil
}

// tool runs ovsdb-tool and returns its output without the line's end.
func tool(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "ovsdb-tool", args...)
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// create carries out a decision that makes a file. It is made beside its place and moved there, so that it is never half of one.
func create(ctx context.Context, c *Config, d decision) error {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	next := c.Path() + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	local := ""
	if c.Clustered() {
		local = c.raftAddress(c.LocalAddress)
	}
	timer := fmt.Sprintf("--election-timer=%d", min(c.ElectionTimer, firstElectionTimer).Milliseconds())
	var err error
	switch d.action {
	case actionCreate:
		_, err = tool(ctx, "create", next, c.schema())
	case actionBootstrap:
		_, err = tool(ctx, timer, "create-cluster", next, c.schema(), local)
	case actionConvert:
		_, err = tool(ctx, timer, "create-cluster", next, c.Path(), local)
	case actionJoin:
		args := []string{"join-cluster", next, c.Kind.Database, local}
		if d.clusterID != "" {
			args = append([]string{"--cid=" + d.clusterID}, args...)
		}
		for _, a := range c.others() {
			args = append(args, c.raftAddress(a))
		}
		_, err = tool(ctx, args...)
	}
	if err == nil && (d.action == actionBootstrap || d.action == actionConvert) {
		err = raiseIndex(next, time.Now())
	}
	if err == nil && d.action == actionConvert {
		_, err = putAside(c.Path(), "standalone")
	}
	if err != nil {
		return err
	}
	return os.Rename(next, c.Path())
}

// firstElectionTimer is the most that ovsdb-tool takes for a new cluster's timer; see upkeep for more.
const firstElectionTimer = time.Second

// putAside renames a file so that its time and the reason are part of its name, which is returned.
func putAside(path, reason string) (string, error) {
	to := fmt.Sprintf("%s.%s-%s", path, reason, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(path, to); err != nil {
		return "", fmt.Errorf("putting the old database aside: %w", err)
	}
	return to, nil
}
