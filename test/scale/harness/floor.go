package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// LastWrite is when the database was written to last.
func (d *Database) LastWrite() (time.Time, error) {
	info, err := os.Stat(d.file)
	if err != nil {
		return time.Time{}, fmt.Errorf("log of transactions: %w", err)
	}
	return info.ModTime(), nil
}

// Floor is what a database server needs by itself for rows.
type Floor struct {
	// Time is that of the client too, which reads the rows from a file and sends them.
	Time time.Duration
	// CPU is the server's.
	CPU time.Duration
	// Bytes is the size of the rows as JSON.
	Bytes int64
}

// Floor measures how long another server, with an empty database, takes for the rows that d has now, in one transaction that
// inserts each row as it is in the end.
func (d *Database) Floor(ctx context.Context) (f Floor, err error) {
	dir, err := os.MkdirTemp(WorkDir, "floor")
	if err != nil {
		return f, fmt.Errorf("floor of %s: %w", d.Schema, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text, err := run(ctx, "ovsdb-client", "backup", d.Remote, d.Schema)
	if err != nil {
		return f, err
	}
	f.Bytes = int64(len(text))
	rows, err := seekable(filepath.Join(dir, "rows"), text)
	if err != nil {
		return f, err
	}
	defer rows.Close()
	server, remote, err := d.emptyOne(ctx, dir)
	if err != nil {
		return f, err
	}
	defer server.Stop(time.Second)
	began := time.Now()
	cmd := exec.CommandContext(ctx, "ovsdb-client", "restore", remote, d.Schema)
	cmd.Stdin = rows
	if out, err := cmd.CombinedOutput(); err != nil {
		return f, fmt.Errorf("ovsdb-client restore: %w: %s", err, bytes.TrimSpace(out))
	}
	f.Time = time.Since(began)
	usage, err := server.Usage()
	f.CPU = usage.CPU
	return f, err
}

// seekable returns a file with a text, as the client wants it for its input.
func seekable(path string, text []byte) (*os.File, error) {
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("rows: %w", err)
	}
	return os.Open(path)
}

// emptyOne serves an empty database with d's schema.
func (d *Database) emptyOne(ctx context.Context, dir string) (*Process, string, error) {
	text, err := run(ctx, "ovsdb-client", "get-schema", d.Remote, d.Schema)
	if err != nil {
		return nil, "", err
	}
	schema := filepath.Join(dir, "schema")
	if err := os.WriteFile(schema, text, 0o600); err != nil {
		return nil, "", fmt.Errorf("schema: %w", err)
	}
	db, remote := filepath.Join(dir, "db"), "unix:"+filepath.Join(dir, "sock")
	if _, err := run(ctx, "ovsdb-tool", "create", db, schema); err != nil {
		return nil, "", err
	}
	server, err := Start(Command{Name: "ovsdb-server-floor", Path: "ovsdb-server", Args: []string{
		db, "--remote=p" + remote, "--unixctl=" + filepath.Join(dir, "ctl"), "--no-chdir", "-vconsole:warn",
	}})
	if err != nil {
		return nil, "", err
	}
	return server, remote, server.WaitFor(ctx, ovsdbTimeout, func(ctx context.Context) error {
		_, err := run(ctx, "ovsdb-client", "list-dbs", remote)
		return err
	})
}
