//go:build e2e

package e2e

import (
	"context"
	"fmt"
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
	// observation is for how long a change is watched.
	observation = 300 * time.Millisecond
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

// passes tells what is wrong when a datagram of its own connection is answered, or not.
func (c policyLab) passes(from traffic.Place, at netip.AddrPort, want bool) error {
	switch err := c.echo(from, udp, at, attemptTime); {
	case want && err != nil:
		return fmt.Errorf("%s → %s does not pass: %w", from, at, err)
	case !want && err == nil:
		return fmt.Errorf("%s → %s passes", from, at)
	}
	return nil
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
		time.Sleep(observation)
		when, ok := a.since(passes)
		if !ok {
			// Nothing is tried any more that would keep a flow in use. How late it comes is for the figures.
			when = done.Add(c.settled(func() error { return c.passes(from.Place, at, passes) }) + observation)
			c.measured("%v after a change of policies a connection still was not as it should be, pass=%v", observation, passes)
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
