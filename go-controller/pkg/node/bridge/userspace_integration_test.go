//go:build integration

package bridge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// Behind the userspace datapath the kernel sees a copy of each packet. With the drop in place each request is
// answered once; without it, as the second half shows, twice.
func TestUserspaceDatapathAnswersOnce(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		m := &bridge.Manager{OVS: connect(t), Tables: nft.Kernel()}
		if err := converge(t.Context(), m.TakeOver); err != nil {
			t.Fatal(err)
		}
		count := func() nodetest.Loss {
			ping := nodetest.PingHost(t, nodetest.HostV4)
			time.Sleep(300 * time.Millisecond)
			return ping.Stop(t)
		}
		if got := count(); got.Duplicates > 0 || got.Lost() > 0 {
			t.Errorf("with the drop: %+v", got)
		}
		nodetest.Run(t, "nft flush ruleset")
		if got := count(); got.Duplicates == 0 {
			t.Errorf("without the drop: %+v; is it still needed?", got)
		}
	})
}

// The host's checksums are complete when they leave the bridge's tap device: a peer that gets packets through
// the datapath accepts TCP.
func TestUserspaceDatapathChecksums(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		m := &bridge.Manager{OVS: connect(t), Tables: nft.Kernel()}
		if err := converge(t.Context(), m.TakeOver); err != nil {
			t.Fatal(err)
		}
		if out := nodetest.Run(t, "ethtool -k br-ex"); !strings.Contains(out, "tx-checksumming: off") {
			t.Errorf("transmit checksum offload is on: %s", out)
		}
		nodetest.Start(t, "ip netns exec peer nc -l -p 9000 -s 172.18.0.1")
		nodetest.Eventually(t, 5*time.Second, func() error {
			_, err := nodetest.Try("nc -z -w 1 172.18.0.1 9000")
			return err
		})
	})
}
