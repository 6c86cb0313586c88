//go:build integration

package node_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni"
	"github.com/ovnkube/ovnkube/go-controller/pkg/config"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

const nodeName = "node1"

func configuration() config.Node {
	return config.Node{
		Common: config.Common{
			ClusterSubnets: []config.ClusterSubnet{
				{Prefix: netip.MustParsePrefix("10.128.0.0/14"), HostPrefix: 23},
				{Prefix: netip.MustParsePrefix("fd01::/48"), HostPrefix: 64},
			},
			MTU: 1400, GatewayMode: names.GatewayModeShared,
		},
		NodeName: nodeName, SouthboundRemote: []string{nodetest.SouthboundRemote}, EncapPort: 6081,
		DatapathType: "auto", OVSDB: nodetest.OVSDBEndpoint,
	}
}

// running is an agent in this process.
type running struct {
	*node.Agent
	cancel context.CancelFunc
	done   chan error
	served chan struct{}
	before goleak.Option
}

func startAgent(t *testing.T, api *nodetest.API) *running {
	t.Helper()
	return startAgentWith(t, api, configuration())
}

func startAgentWith(t *testing.T, api *nodetest.API, cfg config.Node) *running {
	t.Helper()
	r := &running{done: make(chan error, 1), served: make(chan struct{}), before: goleak.IgnoreCurrent()}
	a, err := node.New(cfg, node.Options{RESTConfig: api.Config(), PodGuard: cni.PodGuard(), Serve: func(ctx context.Context, _ node.Host) error {
		close(r.served)
		<-ctx.Done()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.Agent = a
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { r.done <- a.Run(ctx) }()
	t.Cleanup(func() { r.cancel() })
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		var stacks strings.Builder
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		t.Fatalf("the agent does not end:\n%s", stacks.String())
	}
	goleak.VerifyNone(t, r.before, goleak.IgnoreAnyFunction("k8s.io/client-go/tools/cache.(*Reflector).watchList"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).watchCtx"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

// wire is what the master does for a node.
func wire(t *testing.T, api *nodetest.API) {
	t.Helper()
	nodetest.NB(t, "ls-add "+nodeName,
		"lr-add ovn_cluster_router",
		"lrp-add ovn_cluster_router rtos-node1 0a:58:0a:80:02:01 10.128.2.1/23 fd01:0:0:1::1/64",
		"lsp-add node1 stor-node1", "lsp-set-type stor-node1 router", "lsp-set-addresses stor-node1 router",
		"lsp-set-options stor-node1 router-port=rtos-node1",
		"lsp-add node1 k8s-node1", "lsp-set-addresses k8s-node1 0a:58:0a:80:02:02~10.128.2.2~fd01:0:0:1::2")
	api.Annotate(names.NodeSubnetsAnnotation, `{"default":["10.128.2.0/23","fd01:0:0:1::/64"]}`)
}

func waitReady(t *testing.T, r *running) time.Duration {
	t.Helper()
	return nodetest.Eventually(t, time.Minute, r.Ready)
}

// startHost is a host with Open vSwitch, OVN and an agent that is ready.
func startHost(t *testing.T) (*nodetest.API, *running, *nodetest.Process) {
	t.Helper()
	nodetest.StartOVSDB(t)
	vswitchd := nodetest.StartVswitchd(t)
	nodetest.StartCentral(t)
	nodetest.StartController(t)
	api := nodetest.StartAPI(t, nodeName)
	agent := startAgent(t, api)
	wire(t, api)
	t.Logf("ready after %v", waitReady(t, agent))
	return api, agent, vswitchd
}

func TestAgentMakesANode(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startHost(t)
		<-agent.served
		for _, command := range []string{
			"ping -c 1 -W 1 10.128.2.1", "ping -6 -c 1 -W 1 fd01:0:0:1::1",
			"ip netns exec peer ping -c 1 -W 1 172.18.0.11",
		} {
			nodetest.Eventually(t, repairLimit, contains(command, "1 received")) // OVN may lose the first packet to a neighbour it has not met.
		}
		expectLines(t, "ip route", "default via 172.18.0.1 dev br-ex", "10.128.0.0/14 via 10.128.2.1 dev ovn-k8s-mp0",
			"10.128.2.0/23 dev ovn-k8s-mp0 proto kernel scope link src 10.128.2.2")
		expectLines(t, "ip -6 route", "fd01::/48 via fd01:0:0:1::1 dev ovn-k8s-mp0", "fd01:0:0:1::/64 dev ovn-k8s-mp0")
		expectLines(t, "ip link show ovn-k8s-mp0", "mtu 1400", "0a:58:0a:80:02:02")
		expectLines(t, "ip neigh show dev ovn-k8s-mp0", "10.128.2.1 lladdr 0a:58:0a:80:02:01 PERMANENT", "fd01:0:0:1::1 lladdr 0a:58:0a:80:02:01")
		expectLines(t, "ovs-vsctl show", `fail_mode: secure`, `ovn-k8s-mp0`, `br-ex`, `eth0`)
		expectLines(t, "nft list table inet ovn-kubernetes", "ip saddr 10.128.2.0/23 ip daddr 10.128.0.0/14 return",
			`ip saddr 10.128.2.0/23 oifname != "ovn-k8s-mp0" masquerade`, `ip6 saddr fd01:0:0:1::/64 oifname != "ovn-k8s-mp0" masquerade`)
		nodetest.Eventually(t, repairLimit, func() error {
			a := api.Annotations()
			if got, want := a[names.HostCIDRsAnnotation], `["172.18.0.11/24","fd00:172:18::b/64"]`; got != want {
				return fmt.Errorf("host-cidrs %s, want %s", got, want)
			}
			if got, want := a[names.NodeMgmtPortMACAnnotation], `{"default":"0a:58:0a:80:02:02"}`; got != want {
				return fmt.Errorf("MAC %s, want %s", got, want)
			}
			if a[names.NodeChassisIDAnnotation] == "" {
				return errors.New("no chassis id")
			}
			return nil
		})
		agent.stop(t)
	})
}

func expectLines(t *testing.T, command string, want ...string) {
	t.Helper()
	out := nodetest.Run(t, command)
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%s: no %q in\n%s", command, w, out)
		}
	}
}

// routerMACv6 is the router's address in the subnet fd01:0:0:1::/64.
func routerMACv6(t *testing.T) string {
	t.Helper()
	return addr.MAC(addr.Router(netip.MustParsePrefix("fd01:0:0:1::/64"))).String()
}
