//go:build integration

package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// annotated is a check that an annotation of the node has a text.
func annotated(api *nodetest.API, key, text string) func() error {
	return func() error {
		if got := api.Annotations()[key]; !strings.Contains(got, text) {
			return fmt.Errorf("annotation %s is %s, without %s", key, got, text)
		}
		return nil
	}
}

// tunnelsFrom is a check that the others have been told where the node's tunnels end. ovn-controller's connection to the
// southbound database is from that address, too.
func tunnelsFrom(address string) func() error {
	return contains("ovn-sbctl --db=unix:/run/ovn/sb.sock --bare --columns=ip list Encap", address)
}

// A node whose address is changed has it everywhere within two seconds: in the record, the annotations, the flows, the host's
// routes and the tunnels' settings. The peer reaches it there.
func TestChangedAddress(t *testing.T) {
	const brex = " dev br-ex"
	cases := []struct {
		name    string
		change  []string
		address string
		v4      bool
		more    []func(api *nodetest.API) func() error
	}{
		{"added, then removed", []string{"ip addr add 172.18.0.21/24" + brex, "ip addr del 172.18.0.11/24" + brex}, "172.18.0.21/24", true, nil},
		{"removed, then added", []string{"ip addr del 172.18.0.21/24" + brex, "ip addr add 172.18.0.22/24" + brex}, "172.18.0.22/24", true, nil},
		{"another prefix", []string{"ip addr add 172.18.0.22/25" + brex, "ip addr del 172.18.0.22/24" + brex}, "172.18.0.22/25", true, nil},
		{"IPv6", []string{"ip -6 addr del fd00:172:18::b/64" + brex, "ip -6 addr add fd00:172:18::22/64 nodad" + brex}, "fd00:172:18::22/64", false, nil},
		{"by the NIC", []string{"ip addr add 172.18.0.23/24 dev eth0", "sleep 0.3", "ip addr del 172.18.0.22/25" + brex}, "172.18.0.23/24", true, nil},
		{"another network", []string{"ip -n peer addr add 172.19.0.1/24 dev eth0", "ip addr del 172.18.0.23/24" + brex, "ip addr add 172.19.0.11/24" + brex,
			"ip route replace default via 172.19.0.1" + brex}, "172.19.0.11/24", true, []func(*nodetest.API) func() error{
			func(api *nodetest.API) func() error {
				return annotated(api, names.L3GatewayConfigAnnotation, `"next-hop":"172.19.0.1"`)
			},
			func(*nodetest.API) func() error { return lacks("ip route", "172.18.0") },
		}},
	}
	nodetest.Main(t, func(t *testing.T) {
		api, agent, _ := startGateway(t)
		for _, c := range cases {
			for _, command := range c.change {
				nodetest.Run(t, command)
			}
			address, _, _ := strings.Cut(c.address, "/")
			family, masquerade, own := "-4", "169.254.169.1", ",nw_src="
			if !c.v4 {
				family, masquerade, own = "-6", "fd69::1", ",ipv6_src="
			}
			checks := []func() error{
				contains("ovs-vsctl get Open_vSwitch . external_ids:"+names.UplinkRecord, c.address),
				annotated(api, names.L3GatewayConfigAnnotation, `"`+c.address+`"`),
				annotated(api, names.HostCIDRsAnnotation, `"`+c.address+`"`),
				contains("ovs-ofctl --no-names dump-flows br-ex", own+address),
				contains("ip "+family+" route show "+masquerade, "src "+address),
				contains("ip addr show br-ex", c.address),
				contains("ip netns exec peer ping -c 1 -W 0.1 "+address, "1 received"),
			}
			if c.v4 {
				checks = append(checks, contains("ovs-vsctl get Open_vSwitch . external_ids:ovn-encap-ip", address))
			}
			for _, more := range c.more {
				checks = append(checks, more(api))
			}
			took := nodetest.Eventually(t, 10*time.Second, all(checks...))
			fmt.Printf("followed after %4d ms: %s\n", took.Milliseconds(), c.name)
			if took > repairLimit {
				t.Errorf("%s: followed after %v", c.name, took)
			}
			nodetest.Eventually(t, 20*time.Second, agent.Ready)
		}
		// ovn-controller waits longer each time that it loses its connection.
		nodetest.Eventually(t, 30*time.Second, tunnelsFrom("172.19.0.11"))
		// None of the former addresses is anywhere, and none comes back.
		for _, command := range []string{"ip addr show br-ex", "ovs-vsctl get Open_vSwitch . external_ids", "ovs-ofctl --no-names dump-flows br-ex cookie=0xdeff105/-1"} {
			for _, former := range []string{"172.18.0.11", "172.18.0.2", "fd00:172:18::b/"} {
				if err := lacks(command, former)(); err != nil {
					t.Error(err)
				}
			}
		}
		if a := api.Annotations()[names.L3GatewayConfigAnnotation]; strings.Contains(a, "172.18.0.") {
			t.Errorf("published: %s", a)
		}
		agent.stop(t)
	})
}

// A wire that is unplugged for a while changes nothing on the node.
func TestLinkFlap(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		_, agent, _ := startGateway(t)
		before := nodetest.Run(t, "ip addr show br-ex") + nodetest.Run(t, "ip route") + nodetest.Run(t, "ip -6 route")
		for range 3 {
			nodetest.Run(t, "ip -n peer link set eth0 down")
			time.Sleep(50 * time.Millisecond)
			nodetest.Run(t, "ip -n peer link set eth0 up")
			// The peer's own address is lost with its link.
			nodetest.Run(t, "ip -n peer -6 addr replace "+nodetest.PeerV6+"/64 dev eth0 nodad")
			took := nodetest.Eventually(t, 10*time.Second, all(contains("ip netns exec peer ping -c 1 -W 0.1 172.18.0.11", "1 received"),
				contains("ip netns exec peer ping -c 1 -W 0.1 fd00:172:18::b", "1 received"), contains("ping -c 1 -W 0.1 172.18.0.1", "1 received")))
			fmt.Println("connected again after", took)
			if took > repairLimit {
				t.Errorf("connected again after %v", took)
			}
		}
		if after := nodetest.Run(t, "ip addr show br-ex") + nodetest.Run(t, "ip route") + nodetest.Run(t, "ip -6 route"); after != before {
			t.Errorf("the host had\n%s\nnow\n%s", before, after)
		}
		agent.stop(t)
	})
}
