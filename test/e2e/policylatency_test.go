//go:build e2e

package e2e

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ovnkube/ovnkube/test/e2e/traffic"
)

// attempts are datagrams on sockets of their own, so that each is the first of its connection; by the time they were sent.
type attempts struct {
	mu       sync.Mutex
	answered map[time.Time]bool
	wg       sync.WaitGroup
	cancel   context.CancelFunc
}

const (
	attemptEvery = 2 * time.Millisecond
	// attemptTime is how long an answer may take.
	attemptTime = 250 * time.Millisecond
)

func startAttempts(ctx context.Context, from traffic.Place, to netip.AddrPort) *attempts {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempts{answered: map[time.Time]bool{}, cancel: cancel}
	a.wg.Go(func() {
		tick := time.NewTicker(attemptEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				a.wg.Go(func() { a.try(from, to) })
			}
		}
	})
	return a
}

func (a *attempts) try(from traffic.Place, to netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
	defer cancel()
	sent := time.Now()
	err := traffic.EchoOnce(ctx, from, udp, to, 8)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[sent] = err == nil
}

// since ends the attempts and returns from when on all of them were answered, or none.
func (a *attempts) since(want bool) (time.Time, bool) {
	a.cancel()
	a.wg.Wait()
	times := make([]time.Time, 0, len(a.answered))
	for t := range a.answered {
		times = append(times, t)
	}
	slices.SortFunc(times, time.Time.Compare)
	first := len(times)
	for first > 0 && a.answered[times[first-1]] == want {
		first--
	}
	if first == len(times) {
		return time.Time{}, false
	}
	return times[first], true
}

// latency measures how long new connections pass, or do not, after the API server has taken a policy, or its deletion.
func (c policyLab) latency() {
	from, to := c.ends[3], c.ends[0]
	at := port(to.Address(c.families()[0]), 80)
	deny := c.policy("deny", `{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}`)
	measure := func(passes bool, change func()) time.Duration {
		a := startAttempts(c.ctx, from.Place, at)
		time.Sleep(20 * time.Millisecond)
		change()
		done := time.Now()
		time.Sleep(300 * time.Millisecond)
		when, ok := a.since(passes)
		if !ok {
			c.Errorf("300 ms after a change of policies connections pass or not as before, want pass=%v", passes)
		}
		return max(0, when.Sub(done))
	}
	var blocked, open []time.Duration
	for range 20 {
		c.mustEcho(from.Place, udp, at)
		blocked = append(blocked, measure(false, func() { c.put(deny) }))
		open = append(open, measure(true, func() { c.drop(c.ns + "/deny") }))
	}
	for what, list := range map[string][]time.Duration{"policy created → first connection blocked": blocked, "policy deleted → first connection": open} {
		slices.Sort(list)
		c.measured("%s: p50 %v, most %v of %d", what, list[len(list)/2].Round(100*time.Microsecond), list[len(list)-1].Round(100*time.Microsecond), len(list))
	}
}
