//go:build integration

package hostnet_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/plumb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

// Pods come and go all the time: each event names the pod's device, so that nobody looks at anything else. Settings of all
// devices are for everybody.
func TestPodsDoNotWakeOthers(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		events := make(chan hostnet.Event, 10_000)
		ended := make(chan error, 1)
		go func() { ended <- hostnet.Watch(t.Context(), func(e hostnet.Event) { events <- e }) }()
		collect := func(until hostnet.Event) map[hostnet.Event]bool {
			seen := map[hostnet.Event]bool{}
			for {
				select {
				case e := <-events:
					if e == until {
						return seen
					}
					seen[e] = true
				case err := <-ended:
					t.Fatal(err)
				case <-time.After(20 * time.Second):
					t.Fatalf("no event %+v, but %v", until, seen)
				}
			}
		}
		collect(hostnet.Event{All: true})
		for range 3 {
			nodetest.Run(t, "ip netns add pod")
			veth := plumb.Veth{
				HostName: "podveth", Sandbox: "s", Pod: "ns/pod", Netns: "/run/netns/pod", PodName: "eth0", MTU: 1400,
				MAC:       net.HardwareAddr{0x0a, 0x58, 0, 0, 0, 1},
				Addresses: []netip.Prefix{netip.MustParsePrefix("10.128.0.5/23"), netip.MustParsePrefix("fd01::5/64")}, Userspace: true,
			}
			if err := plumb.Create(veth); err != nil {
				t.Fatal(err)
			}
			if err := plumb.Configure(veth); err != nil {
				t.Fatal(err)
			}
			if err := plumb.Delete(veth.HostName); err != nil {
				t.Fatal(err)
			}
			nodetest.Run(t, "ip netns del pod")
		}
		nodetest.Run(t, "ip link add last type veth peer name lastpeer")
		for e := range collect(hostnet.Event{Device: "last", Link: true}) {
			if e.Device == "" {
				t.Errorf("pods make everybody look: %+v", e)
			}
		}
		nodetest.Run(t, "ip link del last")
		collect(hostnet.Event{Device: "last", Link: true})
		nodetest.Run(t, "sysctl -w net.ipv4.conf.all.forwarding=1")
		collect(hostnet.Event{})
	})
}
