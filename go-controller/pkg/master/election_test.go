package master

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
)

// takeover is how long a standby waits at most for one who was killed: it sees the last renewal up to one look late, and the lease's end, too.
func takeover() time.Duration {
	d := defaultTiming()
	look := time.Duration((1 + leaderelection.JitterFactor) * float64(d.retry))
	return d.lease + 2*look
}

// eventually waits until something is so, in a bubble.
func eventually(t *testing.T, within time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// finish ends replicas and their bubble's goroutines.
func finish(t *testing.T, replicas ...*replica) {
	t.Helper()
	for _, r := range replicas {
		r.stop()
		if err := <-r.ended; err != nil && !errors.Is(err, errLeaseLost) {
			t.Errorf("a wanted end is no error: %v", err)
		}
	}
}

func TestKilledLeaderIsReplaced(t *testing.T) {
	if takeover() > 4500*time.Millisecond {
		t.Errorf("a killed leader is replaced after %s; writes are to go on within 5 s", takeover())
	}
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := &leaseServer{}
			first, second := leaderAndStandby(t, s, nil)
			time.Sleep(time.Second + time.Duration(i)*37*time.Millisecond)
			first.kill()
			eventually(t, takeover()+50*time.Millisecond, "the second leads", second.leads)
			finish(t, second, first)
		})
	}
}

// An API server that fails now and then must not keep a standby from replacing a leader that is gone.
func TestKilledLeaderIsReplacedThoughRequestsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		first, second := leaderAndStandby(t, s, nil)
		reads := 0
		second.set(func(l *link) {
			l.asked = func(verb string) bool {
				if verb == "get" {
					reads++
				}
				return verb != "get" || reads%2 == 0
			}
		})
		time.Sleep(time.Second)
		first.kill()
		eventually(t, 2*takeover(), "the second leads", second.leads)
		finish(t, second, first)
	})
}

// The leader has all it needs: when the API server was away for all, none of the others does better.
func TestLeaderOutlivesTheAPIServersAbsence(t *testing.T) {
	for i := range 30 {
		synctest.Test(t, func(t *testing.T) {
			s := &leaseServer{}
			first, second := leaderAndStandby(t, s, nil)
			time.Sleep(5 * time.Second)
			s.setAway(true)
			time.Sleep(time.Duration(i) * 410 * time.Millisecond)
			if i > 10 && first.leads() {
				t.Error("the leader is not suspended")
			}
			if err := first.election.check(); err != nil {
				t.Errorf("a replica that others cannot help is to be restarted: %v", err)
			}
			s.setAway(false)
			time.Sleep(5 * time.Second)
			if !first.leads() || second.leads() {
				t.Errorf("after %d·0.41 s without the API server the second leads", i)
			}
			finish(t, first, second)
			if h := s.holder(); h != "" {
				t.Errorf("the Lease is held by %q afterwards", h)
			}
		})
	}
}

// Others count from when the server has the renewal. The answer may come much later, and then none any more.
func TestLeaderIsSuspendedBeforeAnotherTakesOver(t *testing.T) {
	for _, slow := range []time.Duration{0, 1900 * time.Millisecond} {
		for i := range 30 {
			synctest.Test(t, func(t *testing.T) {
				s := &leaseServer{}
				first, second := leaderAndStandby(t, s, nil)
				time.Sleep(time.Second)
				first.set(func(l *link) { l.slow = slow })
				cut := time.Now().Add(time.Duration(i) * 100 * time.Millisecond)
				var suspended time.Time
				for !second.leads() {
					first.set(func(l *link) { l.cut = time.Now().After(cut) })
					if first.leads() {
						suspended = time.Time{}
					} else if suspended.IsZero() {
						suspended = time.Now()
					}
					time.Sleep(time.Millisecond)
				}
				const slack = 500 * time.Millisecond // for a machine that is busy when the leader is to stop
				if suspended.IsZero() || time.Since(suspended) < slack {
					t.Errorf("two may change annotations, or nearly: the first was suspended at %v, the second leads at %v", suspended, time.Now())
				}
				finish(t, second, first)
			})
		}
	}
}

// Whatever happens to the ways to the API server, no two lead at a time, and in the end one does.
func TestNeverTwo(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			random, s := rand.New(rand.NewPCG(seed, 0)), &leaseServer{}
			replicas := make([]*replica, 3)
			start := func(i int) { replicas[i] = campaign(t, s, fmt.Sprint("replica-", i), defaultTiming(), nil) }
			leading := func() (n int) {
				for i, r := range replicas {
					if r.leads() {
						n++
					}
					select {
					case <-r.ended: // It is started again.
						start(i)
					default:
					}
				}
				return n
			}
			for i := range replicas {
				start(i)
			}
			for range 300 {
				r := replicas[random.IntN(3)]
				r.set(func(l *link) {
					l.cut = random.IntN(3) == 0
					l.slow = time.Duration(random.IntN(900)) * time.Millisecond * time.Duration(random.IntN(2))
				})
				for range random.IntN(300) {
					if n := leading(); n > 1 {
						t.Fatalf("%d lead, seed %d", n, seed)
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
			for _, r := range replicas {
				r.set(func(l *link) { l.cut, l.slow = false, 0 })
			}
			eventually(t, 2*takeover(), "one leads", func() bool { return leading() == 1 })
			finish(t, replicas...)
		})
	}
}

func TestLeaderEndsItsWorkBeforeItReleasesTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, during := &leaseServer{}, ""
		first := campaign(t, s, "first", defaultTiming(), func() {
			time.Sleep(time.Minute) // A release that comes too early has the time to.
			during = s.holder()
		})
		<-first.working
		second := campaign(t, s, "second", defaultTiming(), nil)
		first.stop()
		if err := <-first.ended; err != nil {
			t.Errorf("a wanted end is no error: %v", err)
		}
		if during != "first" {
			t.Errorf("the Lease was held by %q while the first was still ending its work", during)
		}
		eventually(t, time.Second, "the second leads", second.leads)
		finish(t, second)
		if h := s.holder(); h != "" {
			t.Errorf("the Lease is held by %q after the last replica ended", h)
		}
	})
}

func TestStandbyEndsWithoutWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		first, second := leaderAndStandby(t, s, nil)
		time.Sleep(time.Second)
		finish(t, second)
		if h := s.holder(); h != "first" || !first.leads() {
			t.Errorf("the Lease is held by %q, want the leader undisturbed", h)
		}
		finish(t, first)
	})
}

func TestRestartedLeaderNeedNotWaitForItsOwnLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now, seconds, identity := metav1.NewMicroTime(time.Now()), int32(3600), "first"
		s := &leaseServer{}
		s.put(&coordination.Lease{Spec: coordination.LeaseSpec{
			HolderIdentity: &identity, LeaseDurationSeconds: &seconds, RenewTime: &now, AcquireTime: &now,
		}})
		first := campaign(t, s, identity, defaultTiming(), nil)
		eventually(t, time.Second, "a replica that was killed leads again", first.leads)
		finish(t, first)
	})
}

// Whoever else has had the Lease has allocated meanwhile, however short it was.
func TestAnotherLeaderEndsTheTenure(t *testing.T) {
	for name, had := range map[string]func(*leaseServer, *coordination.Lease){
		"it leads":                                        held("second", 1),
		"it has led and has released the Lease":           held("", 1),
		"it has led, and the first was elected again":     held("first", 2),
		"it leads, and nobody has counted":                held("second", 0),
		"it led with a Lease made anew, and has released": func(_ *leaseServer, l *coordination.Lease) { held("", -1)(nil, l); l.UID = "new" },
		"the Lease is made anew, and counts to the same":  func(_ *leaseServer, l *coordination.Lease) { held("first", 0)(nil, l); l.UID = "new" },
	} {
		for _, suspended := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/suspended=%v", name, suspended), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := &leaseServer{}
					var first *replica
					first = campaign(t, s, "first", defaultTiming(), func() {
						if first.leads() {
							t.Error("annotations are still changed while the work ends")
						}
					})
					<-first.working
					time.Sleep(time.Second)
					if suspended {
						s.setAway(true)
						eventually(t, 10*time.Second, "the leader is suspended", func() bool { return !first.leads() })
					}
					s.change(func(l *coordination.Lease) { had(s, l) })
					s.setAway(false)
					first.wantLost(t)
					if h := s.holder(); name == "it leads" && h != "second" {
						t.Errorf("the Lease is held by %q", h)
					}
				})
			})
		}
	}
}

// wantLost waits until the replica has ended since another has had the Lease.
func (r *replica) wantLost(t *testing.T) {
	t.Helper()
	select {
	case err := <-r.ended:
		if !errors.Is(err, errLeaseLost) {
			t.Errorf("err = %v, want %v", err, errLeaseLost)
		}
	case <-time.After(2 * time.Second):
		t.Error("the work goes on")
		r.stop()
		<-r.ended
	}
}

// held edits a Lease: transitions are added to those of the first's term.
func held(holder string, transitions int32) func(*leaseServer, *coordination.Lease) {
	return func(_ *leaseServer, l *coordination.Lease) {
		now, n := metav1.NewMicroTime(time.Now()), *l.Spec.LeaseTransitions+transitions
		l.Spec.HolderIdentity, l.Spec.LeaseTransitions, l.Spec.RenewTime = &holder, &n, &now
	}
}

// Nobody can say who has had a Lease that was deleted.
func TestDeletedLeaseEndsTheTenure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		first := campaign(t, s, "first", defaultTiming(), nil)
		<-first.working
		s.remove()
		first.wantLost(t)
	})
}

// Work that does not end keeps nobody from leading: its replica does not want the Lease any more.
func TestHangingWorkGivesUpTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, hang := &leaseServer{}, make(chan struct{})
		first, second := leaderAndStandby(t, s, func() { <-hang })
		time.Sleep(time.Second)
		s.remove()
		eventually(t, takeover(), "the second leads", second.leads)
		close(hang)
		finish(t, second, first)
	})
}

// A leader that reads all it wants but cannot renew its Lease has to show it, and is not restarted for it.
func TestSuspensionIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &leaseServer{}
		first := campaign(t, s, "first", defaultTiming(), nil)
		<-first.working
		shown := func() (gauge float64, ready, live bool) {
			return testutil.ToFloat64(first.metrics.leader), first.election.problem(time.Now()) == nil, first.election.check() == nil
		}
		want := func(when string, gauge float64, ready bool) {
			t.Helper()
			if g, r, l := shown(); g != gauge || r != ready || !l {
				t.Errorf("%s: leader %v ready %v live %v, want %v %v true", when, g, r, l, gauge, ready)
			}
		}
		want("leading", 1, true)
		first.set(func(l *link) { l.refuse = true })
		time.Sleep(4 * time.Second)
		want("suspended for a moment", 0, true)
		time.Sleep(time.Hour)
		want("suspended for long", 0, false)
		t.Log(first.election.problem(time.Now()))
		first.set(func(l *link) { l.refuse = false })
		time.Sleep(time.Second)
		want("leading again", 1, true)
		finish(t, first)
		if g, _, _ := shown(); g != 0 {
			t.Error("it still leads after its end")
		}
	})
}

func TestLiveness(t *testing.T) {
	for _, test := range []struct {
		name   string
		breaks func(*leaseServer, *replica)
		want   bool
	}{
		{"leads", func(*leaseServer, *replica) {}, true},
		{"the API server is away", func(s *leaseServer, _ *replica) { s.setAway(true) }, true},
		{"the election hangs", func(_ *leaseServer, r *replica) {
			r.set(func(l *link) { l.asked = func(string) bool { time.Sleep(time.Hour); return true } })
		}, false},
		{"the work does not end", func(s *leaseServer, _ *replica) { s.change(func(l *coordination.Lease) { held("second", 1)(s, l) }) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, over := &leaseServer{}, make(chan struct{})
				r := campaign(t, s, "first", defaultTiming(), func() { <-over })
				<-r.working
				time.Sleep(time.Minute)
				if err := r.election.check(); err != nil {
					t.Errorf("before: %v", err)
				}
				test.breaks(s, r)
				time.Sleep(10 * time.Second)
				if err := r.election.check(); err != nil {
					t.Errorf("at once: %v", err)
				}
				time.Sleep(time.Minute)
				if err := r.election.check(); (err == nil) != test.want {
					t.Errorf("check: %v, want live: %v", err, test.want)
				}
				r.stop()
				close(over)
				<-r.ended
			})
		})
	}
}

// What is under way when the Lease may become another's ends, and what comes then waits.
func TestWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenure := newTenure(time.Now(), time.Second, newMetrics(nil).leader)
		defer tenure.end()
		first, done, err := tenure.whileHeld(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		for range 5 { // However long it takes.
			time.Sleep(900 * time.Millisecond)
			tenure.renew(time.Now())
		}
		if first.Err() != nil {
			t.Error("it ended though the Lease was renewed")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if first.Err() == nil {
			t.Error("it goes on though the Lease may be another's")
		}
		tenure.renew(time.Now().Add(-time.Second)) // An answer that comes too late.
		got := make(chan error, 1)
		go func() {
			again, done, err := tenure.whileHeld(t.Context())
			if err == nil {
				err = again.Err()
				done()
			}
			got <- err
		}()
		time.Sleep(time.Hour)
		select {
		case <-got:
			t.Error("allowed while suspended")
		default:
		}
		tenure.renew(time.Now())
		if err := <-got; err != nil {
			t.Error(err)
		}
		tenure.end()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		tenure.renew(time.Now())
		if _, _, err := tenure.whileHeld(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("allowed after the end: %v", err)
		}
	})
}
