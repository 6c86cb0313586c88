//go:build integration

package traffic_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// here is the loopback of the machine: entering even one's own namespace needs root.
func here() traffic.Place {
	return traffic.Place{Name: "here", NetNS: "/proc/self/ns/net", Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
}

const every = 5 * time.Millisecond

func TestProbesCountWhatIsLost(t *testing.T) {
	ctx := t.Context()
	p := here()
	at := netip.MustParseAddrPort("127.0.0.1:17023")
	start := func() (*traffic.Echo, map[string]*traffic.Probe) {
		e, err := traffic.ServeEcho(p, at)
		if err != nil {
			t.Fatal(err)
		}
		probes := map[string]*traffic.Probe{}
		for name, begin := range map[string]func() (*traffic.Probe, error){
			"datagrams": func() (*traffic.Probe, error) { return traffic.Datagrams(ctx, p, at, every) },
			"stream":    func() (*traffic.Probe, error) { return traffic.Stream(ctx, p, at, every) },
			"connects":  func() (*traffic.Probe, error) { return traffic.Connects(ctx, p, at, every) },
			"exchanges": func() (*traffic.Probe, error) { return traffic.Exchanges(ctx, p, at, every) },
			"pings":     func() (*traffic.Probe, error) { return traffic.Echoes(ctx, p, at.Addr(), every) },
		} {
			if probes[name], err = begin(); err != nil {
				t.Fatal(err)
			}
		}
		return e, probes
	}

	e, probes := start()
	time.Sleep(200 * time.Millisecond)
	for name, probe := range probes {
		if r := probe.Stop(); r.Lost > 0 || r.Sent < 10 || r.Err != nil || r.Outage > time.Second {
			t.Errorf("%s of a server that answers: %s", name, r)
		}
	}
	e.Close()

	e, probes = start()
	time.Sleep(100 * time.Millisecond)
	e.Close()
	time.Sleep(300 * time.Millisecond)
	for name, probe := range probes {
		r := probe.Stop()
		if name == "pings" {
			if r.Lost > 0 {
				t.Errorf("the machine answers pings, not the server: %s", r)
			}
			continue
		}
		if r.Lost < 10 || r.Lost == r.Sent || r.Outage < 200*time.Millisecond {
			t.Errorf("%s of a server that went away: %s", name, r)
		}
	}
}

func TestTransferAndPing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	p := here()
	if _, err := traffic.Transfer(ctx, p, p, netip.MustParseAddrPort("127.0.0.1:17024"), 1<<20); err != nil {
		t.Error(err)
	}
	if err := traffic.Ping(ctx, p, p.Addresses[0], traffic.PingOptions{Count: 2, Size: 4000}); err != nil {
		t.Error(err)
	}
	if err := traffic.Ping(ctx, p, netip.MustParseAddr("127.255.255.255"), traffic.PingOptions{}); err == nil {
		t.Error("nobody has this address, and still it answers")
	}
}
