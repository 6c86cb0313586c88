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
	_, err = tool(ctx, "db-is-clustered", path)
	if saysNo(err) {
		return f, nil
	}
	if err != nil {
		return f, err
	}
	f.Clustered = true
	if f.LocalAddress, err = tool(ctx, "db-local-address", path); err != nil {
		return f, err
	}
	if f.ClusterID, err = tool(ctx, "db-cid", path); saysNo(err) { // it has not joined yet
		err = nil
	}
	return f, err
}

// saysNo tells an answer of ovsdb-tool(1) from its failure.
func saysNo(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 2
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

// removeLeftover removes what an attempt that was broken off has left: ovsdb-tool refuses to overwrite.
func removeLeftover(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// create carries out a decision that makes a file. It is made beside its place and moved there, so that it is never half of one.
func create(ctx context.Context, c *Config, d decision) error {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return fmt.Errorf("folder of the database: %w", err)
	}
	reason := ""
	if d.action == actionConvert {
		held, err := beginConversion(ctx, c)
		if err != nil {
			return err
		}
		defer held.Close()
		reason = "standalone"
	}
	next := c.Path() + ".new"
	if err := removeLeftover(next); err != nil {
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
	if err != nil {
		return err
	}
	_, err = replace(next, c.Path(), reason)
	return err
}

// firstElectionTimer is the most that ovsdb-tool takes for a new cluster's timer; see upkeep for more.
const firstElectionTimer = time.Second
