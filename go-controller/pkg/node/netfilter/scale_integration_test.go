//go:build integration

package netfilter

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/kube"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
)

const many = 10_000

// With 10,000 node ports, one more costs one element, and takes a small part of the time of writing or reading them all.
func TestOneChangeAmongTenThousand(t *testing.T) {
	renderers(t, func(t *testing.T, name string) {
		r, _, _, err := Choose(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		var woken atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Watch(ctx, func() { woken.Add(1) }) }()
		nodetest.Eventually(t, limit, func() error {
			if woken.Load() == 0 {
				return fmt.Errorf("not watching yet")
			}
			return nil
		})
		l := NewLedger()
		set := func(i int, clusterIP netip.Addr) {
			s := &kube.Service{
				Namespace: "ns", Name: fmt.Sprint("web", i), ClusterIPs: []netip.Addr{clusterIP},
				Ports: []kube.ServicePort{{Protocol: "TCP", Port: 80, NodePort: uint16(20000 + i)}},
			}
			l.Set(s.Key(), ServiceRules(s, nil, testFacts()))
		}
		sync := func() time.Duration {
			began := time.Now()
			if _, err := r.Sync(t.Context(), testFacts(), l, l.TakeTouched()); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		for i := range many {
			set(i, netip.MustParseAddr(clusterV4))
		}
		all := sync()
		sync() // reads what its own frame has changed
		time.Sleep(200 * time.Millisecond)
		before := woken.Load()
		var took []time.Duration
		changes := countEvents(t)
		for i := range 20 {
			set(many+i, netip.MustParseAddr("172.30.0.2"))
			took = append(took, sync())
		}
		nodetest.Eventually(t, limit, func() error {
			if n := changes(); n < len(took) {
				return fmt.Errorf("the kernel has seen %d changes of %d", n, len(took))
			}
			return nil
		})
		slices.Sort(took)
		median := took[len(took)/2]
		t.Logf("%s: %d node ports at once %v; one more among them: %v (median of %d), %d changes in the kernel for %d services",
			name, many, all.Round(time.Millisecond), median.Round(10*time.Microsecond), len(took), changes(), len(took))
		if n := changes(); n != len(took) {
			t.Errorf("the kernel has seen %d changes", n)
		}
		if name == names.NetfilterNFTables {
			if n := woken.Load() - before; n != 0 {
				t.Errorf("its own changes have woken it %d times", n)
			}
			if median > all/5 {
				t.Errorf("one change takes %v, all together %v", median, all)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// countEvents counts from now on what the kernel announces of elements and rules.
func countEvents(t *testing.T) func() int {
	var n atomic.Int32
	begun := make(chan struct{})
	begin := func() error { close(begun); return nil }
	go receiveNFTables(t.Context(), begin, func(m nl.Message) {
		switch m.Header.Type & 0xff {
		case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM, unix.NFT_MSG_NEWRULE, unix.NFT_MSG_DELRULE:
			n.Add(1)
		}
	})
	<-begun
	return func() int { return int(n.Load()) }
}
