package conntrack

import (
	"bufio"
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

// Flush ends the connections of UDP that are stale, and returns them. It reads all connections.
func (t Table) Flush(ctx context.Context, stale func(Entry) bool) ([]Entry, error) {
	out, err := t.run(ctx, "ovs-appctl", timeout, "-t", "ovs-vswitchd", "dpctl/dump-conntrack", t.Datapath+"@ovs-"+t.Datapath)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	var found []Entry
	var errs []error
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		e, ok, err := parse(lines.Text())
		if err != nil {
			errs = append(errs, err)
		}
		if !ok || !stale(e) {
			continue
		}
		// With the whole tuple Open vSwitch need not look through all of them. One that has ended meanwhile is no error.
		if _, err := t.run(ctx, "ovs-ofctl", timeout, "ct-flush", "unix:"+t.Socket, fmt.Sprintf("zone=%d", e.Zone), e.tuple()); err != nil {
			errs = append(errs, fmt.Errorf("end the connection %+v: %w", e, err))
			continue
		}
		found = append(found, e)
	}
	return found, errors.Join(errs...)
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
