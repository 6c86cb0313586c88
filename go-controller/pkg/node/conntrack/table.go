package conntrack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// timeout is how long, in seconds, an answer of ovs-vswitchd may take.
const timeout = "--timeout=10"

// Table reaches what Open vSwitch's datapath knows of connections, be it the kernel's or its own.
type Table struct {
	// Datapath is "system" or "netdev".
	Datapath string
	// Socket is the OpenFlow socket of a bridge of that datapath, such as /run/openvswitch/br-int.mgmt. ovs-vswitchd's other sockets
	// are beside it.
	Socket string
}

// ErrNotRead is Flush's error when connections could not be listed.
var ErrNotRead = errors.New("connections cannot be listed")

// Flush ends the connections of UDP that are stale, and returns them. It reads all connections. What it can do it does in spite of an
// error, which tells of the first connection that could not be read, and the first that could not be ended.
func (t Table) Flush(ctx context.Context, stale func(Entry) bool) ([]Entry, error) {
	out, err := t.run(ctx, "ovs-appctl", timeout, "-t", "ovs-vswitchd", "dpctl/dump-conntrack", t.Datapath+"@ovs-"+t.Datapath)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotRead, err)
	}
	return flush(out, stale, func(e Entry) error {
		// With the whole tuple Open vSwitch need not look through all of them. One that has ended meanwhile is no error.
		_, err := t.run(ctx, "ovs-ofctl", timeout, "ct-flush", "unix:"+t.Socket, fmt.Sprintf("zone=%d", e.Zone), e.tuple())
		return err
	})
}

// flush is Flush with the output of dpctl/dump-conntrack.
func flush(list []byte, stale func(Entry) bool, end func(Entry) error) (ended []Entry, err error) {
	var unread, stays error
	for line := range bytes.Lines(list) {
		e, ok, err := parse(strings.TrimSpace(string(line)))
		if err != nil && unread == nil {
			unread = err
		}
		if !ok || !stale(e) {
			continue
		}
		if err := end(e); err == nil {
			ended = append(ended, e)
		} else if stays == nil {
			stays = fmt.Errorf("end the connection %+v: %w", e, err)
		}
	}
	return ended, errors.Join(unread, stays)
}

func (t Table) run(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(cmd.Environ(), "OVS_RUNDIR="+filepath.Dir(t.Socket))
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil && complaint.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return out, err
}
