package ovndb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
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

// ReadStatus asks the member behind a control socket for its status.
func ReadStatus(ctx context.Context, socket string, k Kind) (Status, error) {
	text, err := Command(ctx, socket, "cluster/status", k.Database)
	if err != nil {
		return Status{}, err
	}
	return ParseStatus(text)
}
