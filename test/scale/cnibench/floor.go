package cnibench

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

//go:embed floor.sh
var floorScript string

// floor is what OVN and OVS alone need for a port, with their own tools.
type floor struct {
	// whole is from before ovn-nbctl until ovn-installed was seen; port is the part from before ovs-vsctl, when
	// the logical port is in the northbound database already.
	whole, port []time.Duration
}

// measureFloor makes n ports on node, one at a time or all at once, and removes them. The pods' ports are made on
// the same logical switch.
func measureFloor(ctx context.Context, lab *cluster.Lab, node string, n int, atOnce bool) (floor, error) {
	mode := "serial"
	if atOnce {
		mode = "at-once"
	}
	// Nodes have no way to the northbound database. The tools get one, for as long as this takes.
	listener, nb := endpoints(lab.Family().ControlPlane()[0])
	if err := northbound(ctx, lab, "add-remote", listener); err != nil {
		return floor{}, err
	}
	defer northbound(context.WithoutCancel(ctx), lab, "remove-remote", listener) //nolint:errcheck // the lab goes away soon
	out, err := lab.Exec(ctx, node, "bash", "-c", floorScript, "floor", nb, node, strconv.Itoa(n), mode)
	if err != nil {
		return floor{}, fmt.Errorf("measure the floor: %w", err)
	}
	return parseFloor(out, n)
}

// endpoints are where the northbound database at a listens, on all addresses of a's family, and how it is reached.
func endpoints(a netip.Addr) (listener, remote string) {
	every := "0.0.0.0"
	if a.Is6() {
		every = "[::]"
	}
	return fmt.Sprintf("ptcp:%d:%s", plan.NBPort, every), "tcp:" + netip.AddrPortFrom(a, plan.NBPort).String()
}

func northbound(ctx context.Context, lab *cluster.Lab, command, remote string) error {
	if _, err := lab.Exec(ctx, plan.ControlPlane, "ovn-appctl", "-t", "/var/run/ovn/ovnnb_db.ctl", "ovsdb-server/"+command, remote); err != nil {
		return fmt.Errorf("northbound database: %s %s: %w", command, remote, err)
	}
	return nil
}

// parseFloor reads a line for each port: three times in seconds with a fraction, from before ovn-nbctl, from before
// ovs-vsctl, and from when ovn-installed was seen.
func parseFloor(out string, n int) (floor, error) {
	var f floor
	for line := range strings.Lines(out) {
		var t [3]float64
		if _, err := fmt.Sscan(line, &t[0], &t[1], &t[2]); err != nil {
			return f, fmt.Errorf("unexpected line %q from the floor's script: %w", line, err)
		}
		f.whole = append(f.whole, seconds(t[2]-t[0]))
		f.port = append(f.port, seconds(t[2]-t[1]))
	}
	if len(f.whole) != n {
		return f, fmt.Errorf("the floor's script has made %d ports of %d:\n%s", len(f.whole), n, out)
	}
	return f, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
