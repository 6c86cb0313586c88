package master

import (
	"testing"
	"testing/synctest"
	"time"

	coordination "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func newLock(l *link) *lock {
	t := defaultTiming()
	return &lock{leases: l, identity: "first", patience: t.deadline, limits: limits{quick: t.deadline / 2, slow: t.deadline},
		wrote: func(term, time.Time) {}, read: func(term, string) {}}
}

// Who has not seen the Lease for long gives its holder time once, not each time again: reads that are slow or fail now and then would keep
// the Lease of one who is dead.
func TestPatienceIsForOneRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		l := newLock(s.link())
		if err := l.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "other"}); err != nil {
			t.Fatal(err)
		}
		read := func() string {
			_, raw, err := l.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return string(raw)
		}
		first := read()
		time.Sleep(3 * time.Second)
		second := read()
		if second == first {
			t.Error("the holder has no time to renew after an absence")
		}
		time.Sleep(3 * time.Second)
		if third := read(); third != second {
			t.Errorf("the same Lease has time again: %s", third)
		}
		s.change(func(lease *coordination.Lease) { *lease.Spec.LeaseDurationSeconds++ })
		renewed := read()
		time.Sleep(3 * time.Second)
		if read() == renewed {
			t.Error("after a renewal the holder has no time in the next absence")
		}
	})
}

// An API server that takes more than a second for each write has leaders, too; a write that hangs leaves time for another.
func TestSlowWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		link := s.link()
		l := newLock(link)
		link.slow = 1500 * time.Millisecond
		create := func() (time.Duration, error) {
			s.remove()
			began := time.Now()
			err := l.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: "first"})
			return time.Since(began), err
		}
		if took, err := create(); err == nil || took != time.Second {
			t.Errorf("a write that hangs ends after %s (%v)", took, err)
		}
		for range 2 {
			if took, err := create(); err != nil {
				t.Errorf("a write that takes long fails after %s: %v", took, err)
			}
		}
		link.slow = 10 * time.Millisecond
		if _, err := create(); err != nil {
			t.Error(err)
		}
		link.slow = 1500 * time.Millisecond
		if took, err := create(); err == nil || took != time.Second {
			t.Errorf("after quick writes, one that hangs ends after %s (%v)", took, err)
		}
	})
}
