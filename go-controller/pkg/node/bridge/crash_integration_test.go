//go:build integration

package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/bridge"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/internal/nodetest"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

var errCrash = errors.New("crash")

// crashAfter runs f until n steps are done, as if the process were killed then. It returns the last step, or ok
// false when there were fewer.
func crashAfter(t *testing.T, m *bridge.Manager, n int, f func(*bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error)) (last string, ok bool) {
	t.Helper()
	done := 0
	m.AfterStep = func(s bridge.Step) error {
		done++
		if last = s.String(); done == n {
			return errCrash
		}
		return nil
	}
	err := converge(t.Context(), f(m))
	if err != nil && !errors.Is(err, errCrash) {
		t.Fatalf("after %d steps (%s): %v", done, last, err)
	}
	return last, err != nil
}

func takeOver(m *bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error) {
	return m.TakeOver
}

func giveBack(m *bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error) {
	return m.GiveBack
}

// A host that is pinged all the time is never cut off, wherever the process dies on the way to the bridge or
// back, and the next run always ends in the same state.
func TestCrashAfterEveryStep(t *testing.T) {
	nodetest.Main(t, func(t *testing.T) {
		nodetest.StartOVSDB(t)
		nodetest.StartVswitchd(t)
		db := connect(t)
		manager := func() *bridge.Manager { return &bridge.Manager{OVS: db, Tables: nft.Kernel()} }
		finish := func(f func(*bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error)) {
			t.Helper()
			if err := converge(t.Context(), f(manager())); err != nil {
				t.Fatal(err)
			}
		}
		for n := 1; ; n++ {
			name, ok := crash(t, "take-over", n, manager, takeOver, finish)
			expectTakenOver(t)
			finish(giveBack)
			expectGivenBack(t)
			if !ok {
				break
			}
			if t.Failed() {
				t.Fatalf("take-over: crash after %q", name)
			}
		}
		for n := 1; ; n++ {
			finish(takeOver)
			name, ok := crash(t, "give-back", n, manager, giveBack, finish)
			expectGivenBack(t)
			if !ok {
				break
			}
			if t.Failed() {
				t.Fatalf("give-back: crash after %q", name)
			}
		}
	})
}

func crash(t *testing.T, what string, n int, manager func() *bridge.Manager,
	f func(*bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error),
	finish func(func(*bridge.Manager) func(context.Context, bridge.Config) (bridge.Plan, error)),
) (string, bool) {
	t.Helper()
	v4, v6 := nodetest.PingHost(t, nodetest.HostV4), nodetest.PingHost(t, nodetest.HostV6)
	last, crashed := crashAfter(t, manager(), n, f)
	time.Sleep(200 * time.Millisecond) // life goes on without the agent
	finish(f)
	time.Sleep(100 * time.Millisecond)
	l4, l6 := v4.Stop(t), v6.Stop(t)
	fmt.Printf("%s, crash after step %2d: lost IPv4 %d of %d, IPv6 %d of %d (%s)\n", what, n, l4.Lost(), l4.Sent, l6.Lost(), l6.Sent, last)
	// A host that is cut off loses 20 while the agent is away. A few may be lost on a machine short of CPU.
	if l4.Lost() > 8 || l6.Lost() > 8 {
		t.Errorf("%s, crash after step %d (%s): lost %d of %d IPv4 and %d of %d IPv6 packets", what, n, last, l4.Lost(), l4.Sent, l6.Lost(), l6.Sent)
	}
	return last, crashed
}
