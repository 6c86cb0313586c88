//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/places"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// damage is something an operator, or another program, may do to a node.
type damage struct {
	name string
	// do is a shell command on the node.
	do string
	// wrong tells what is still missing.
	wrong func() error
}

func testDrift(e *env) {
	e.errorsExpected = true // while the node is damaged, the runtime is told that it is
	node := e.Nodes()[2]
	ends := e.startAll(newPod(e.ns, "here", onNode(node)), newPod(e.ns, "there", onNode(e.Nodes()[0])))
	self := e.machine(node)
	for _, d := range e.damages(node) {
		if err := d.wrong(); err != nil {
			e.Errorf("before %s: %v", d.name, err)
			continue
		}
		began := time.Now()
		e.on(node, "sh", "-c", d.do)
		took := e.eventually(d.wrong)
		e.measured("%s: mended after %v (command took %v)", d.name, took.Round(time.Millisecond), (time.Since(began) - took).Round(time.Millisecond))
		// All ways that lead over what was mended.
		for _, way := range [][2]traffic.Place{{ends[0], ends[1]}, {self, ends[0]}, {ends[1], ends[0]}} {
			e.mustReach(way[0], way[1], tcp, httpPort)
		}
	}
	e.checkOpenVSwitch(node)
	e.checkManagementPort(node)
	e.checkRoutes(node)
	fresh := e.start("fresh", onNode(node))
	e.mustReach(fresh, ends[1], tcp, httpPort)
}

// damages are in the order in which they are done: the worst last.
func (e *env) damages(node string) []damage {
	e.Helper()
	is4 := e.families()[0]
	flag := map[bool]string{true: "-4", false: "-6"}[is4]
	var subnet netip.Prefix
	for _, s := range e.subnets(node) {
		if s.Addr().Is4() == is4 {
			subnet = s
		}
	}
	self := e.machine(node)
	own := self.Address(is4)
	ownPrefix := fmt.Sprintf("%s/%d", own, map[bool]int{true: 24, false: 64}[is4])
	cluster := route{e.clusterCIDR(is4).String(), host(subnet, 1).String(), names.ManagementPort}
	standard := route{"default", e.machine("cp").Address(is4).String(), names.ExternalBridge}
	has := func(device string, want netip.Addr) func() error {
		return func() error {
			got, err := places.Addresses(self.NetNS, device)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(got, func(p netip.Prefix) bool { return p.Addr() == want }) {
				return fmt.Errorf("%s has %v, not %s", device, got, want)
			}
			return nil
		}
	}
	hasRoutes := func() error { return e.wantRoutes(node, is4, cluster, standard) }
	both := func(a, b func() error) func() error {
		return func() error { return errors.Join(a(), b()) }
	}
	services := e.serviceRoute(is4)
	hasFlows := func() error { return e.hasGatewayFlows(node) }
	mp0 := has(names.ManagementPort, host(subnet, 2))
	brex := has(names.ExternalBridge, own)
	list := []damage{
		{"address of the management port removed", fmt.Sprintf("ip addr del %s/%d dev %s", host(subnet, 2), subnet.Bits(), names.ManagementPort), both(mp0, hasRoutes)},
		{"cluster route removed", fmt.Sprintf("ip %s route del %s", flag, cluster.dst), hasRoutes},
		{"route to services removed", fmt.Sprintf("ip %s route del %s", flag, services.dst), func() error { return e.wantRoutes(node, is4, services) }},
		{"flows of the external bridge removed", fmt.Sprintf("ovs-ofctl del-flows %s cookie=%#x/-1", names.ExternalBridge, names.FlowCookie), hasFlows},
		{"all flows of the external bridge removed", "ovs-ofctl del-flows " + names.ExternalBridge, hasFlows},
		{"management port set down", "ip link set " + names.ManagementPort + " down", both(mp0, hasRoutes)},
		{"management port removed from Open vSwitch", "ovs-vsctl del-port br-int " + names.ManagementPort, both(mp0, hasRoutes)},
		{"default route removed", fmt.Sprintf("ip %s route del default", flag), hasRoutes},
		{"address of the external bridge removed", fmt.Sprintf("ip addr del %s dev %s", ownPrefix, names.ExternalBridge), both(brex, hasRoutes)},
		{"nftables table removed", "nft delete table inet " + names.NFTTable, func() error { return e.hasTable(node, "inet", names.NFTTable) }},
		{"network configuration of the container runtime removed", "rm /etc/cni/net.d/" + names.CNIConfFile, func() error {
			_, err := os.Stat(e.path(node, "/etc/cni/net.d/"+names.CNIConfFile))
			return err
		}},
	}
	if e.hasTable(node, "netdev", names.NFTUplinkTable) == nil {
		list = append(list, damage{"nftables table of the uplink removed", "nft delete table netdev " + names.NFTUplinkTable,
			func() error { return e.hasTable(node, "netdev", names.NFTUplinkTable) }})
	}
	return append(list,
		damage{"external bridge removed", "ovs-vsctl del-br " + names.ExternalBridge, both(brex, both(hasRoutes, hasFlows))},
		damage{"integration bridge removed", "ovs-vsctl del-br " + names.IntegrationBridge, both(mp0, hasRoutes)},
	)
}

// hasGatewayFlows looks for the flow by which packets of the gateway router reach the node, which is there when all are.
func (e *env) hasGatewayFlows(node string) error {
	const last = "table=3"
	out, err := e.Exec(e.ctx, node, "ovs-ofctl", "dump-flows", names.ExternalBridge, last)
	if err != nil {
		return err
	}
	if !strings.Contains(out, fmt.Sprintf("cookie=%#x", names.FlowCookie)) {
		return fmt.Errorf("%s has no flows of ours in %s: %s", names.ExternalBridge, last, out)
	}
	return nil
}

func (e *env) hasTable(node, family, table string) error {
	out, err := e.Exec(e.ctx, node, "nft", "list", "tables")
	if err != nil {
		return err
	}
	if !strings.Contains(out, fmt.Sprintf("table %s %s\n", family, table)) {
		return fmt.Errorf("no table %s %s, there are: %s", family, table, out)
	}
	return nil
}
