package ovndb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/ovn-org/libovsdb/ovsdb/serverdb"

	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// Command sends a command to a server's control socket and returns its answer. The protocol is that of ovs-appctl(8): JSON-RPC 1.0,
// with strings as parameters. It waits until ctx ends.
func Command(ctx context.Context, socket, method string, params ...string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("the server's control socket: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if params == nil {
		params = []string{}
	}
	var reply struct {
		Result *string `json:"result"`
		Error  any     `json:"error"`
	}
	err = json.NewEncoder(conn).Encode(map[string]any{"id": 0, "method": method, "params": params})
	if err == nil {
		err = json.NewDecoder(conn).Decode(&reply)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("command %s: %w", method, errors.Join(ctx.Err(), err))
	case reply.Error != nil:
		return "", fmt.Errorf("command %s %v: %v", method, params, reply.Error)
	case reply.Result == nil:
		return "", nil
	}
	return *reply.Result, nil
}

// AskProgram sends a command to a program of OVN on this host, such as ovn-northd, which has its control socket and the file with its process
// id in dir, where they are by default: ovn-appctl(8), "--target".
func AskProgram(ctx context.Context, dir, program, method string) (string, error) {
	pid, err := os.ReadFile(filepath.Join(dir, program+".pid"))
	if err != nil {
		return "", fmt.Errorf("%s does not run: %w", program, err)
	}
	return Command(ctx, filepath.Join(dir, fmt.Sprintf("%s.%s.ctl", program, bytes.TrimSpace(pid))), method)
}

// ReadStatus asks the member behind a control socket for its status.
func ReadStatus(ctx context.Context, socket string, k Kind) (Status, error) {
	text, err := Command(ctx, socket, "cluster/status", k.Database)
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(text)
}

// Look asks the server on this host for its status. Of a standalone database only Database and Status are set.
func Look(ctx context.Context, c *Config) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	s, err := ovsdb.Ask(ctx, "unix:"+c.Socket(), nil, c.Kind.Database)
	if err != nil {
		return Status{}, err
	}
	if s.Model == serverdb.DatabaseModelStandalone {
		return Status{Database: c.Kind.Database, Status: s.Model}, nil
	}
	return ReadStatus(ctx, c.Control(), c.Kind)
}
