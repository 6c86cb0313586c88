package master

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// term is the time for which one replica has the Lease. A Lease that was deleted counts its transitions anew when it is made again.
type term struct {
	lease       types.UID
	transitions int32
}

// lock is the Lease as the elector reads and writes it. It tells of each time, and when that was: the elector itself tells later, not of
// all that happens between two of its renewals, and counts from the answer, where others count from when they see what was written.
type lock struct {
	leases   coordinationv1.LeaseInterface
	identity string
	// patience: when nothing could be read for longer, the Lease counts as new even if nobody has renewed it meanwhile, once. Its holder,
	// who has not reached the API server either, then has the time to.
	patience time.Duration
	// limits of requests.
	limits limits
	// wrote is told when this replica has written that it holds the Lease, with the time just before; read who holds it.
	wrote func(t term, sent time.Time)
	read  func(t term, holder string)
	// tried is when the last request ended.
	tried atomic.Pointer[time.Time]

	// The rest belongs to the goroutine that campaigns.

	lease *coordination.Lease
	// seen is when the Lease was last read, patient the specification that counted as new, gaps how often one has.
	seen    time.Time
	patient string
	gaps    int64
	// slow: the last request that writes was ended by its limit, or would nearly have been.
	slow bool
}

// limits end requests that hang. A quick one leaves time for another before the Lease is lost. One that writes has slow after one that was
// ended: with an API server that takes so long for each, there would be no leader otherwise.
type limits struct{ quick, slow time.Duration }

// Identity implements resourcelock.Interface.
func (l *lock) Identity() string { return l.identity }

// Describe implements resourcelock.Interface.
func (l *lock) Describe() string { return leaseNamespace + "/" + leaseName }

// RecordEvent implements resourcelock.Interface.
func (l *lock) RecordEvent(string) {}

// Get implements resourcelock.Interface. What the elector gets is new to it when the bytes are: those of the specification, whose times have
// microseconds. Those of the record have seconds, so that it would see every fourth renewal and take the Lease up to a second early.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.limits.quick)
	defer cancel()
	lease, err := l.leases.Get(ctx, leaseName, metav1.GetOptions{})
	now := l.ended()
	if err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(lease.Spec)
	if err != nil {
		return nil, nil, err
	}
	if spec := string(raw); !l.seen.IsZero() && now.Sub(l.seen) > l.patience && spec != l.patient {
		l.gaps++
		l.patient = spec
	}
	l.lease, l.seen = lease, now
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	l.read(termOf(lease), record.HolderIdentity)
	return record, strconv.AppendInt(raw, l.gaps, 10), nil
}

// Create implements resourcelock.Interface.
func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	lease := &coordination.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: leaseNamespace, Name: leaseName},
		Spec:       resourcelock.LeaderElectionRecordToLeaseSpec(&record),
	}
	return l.write(ctx, func(ctx context.Context) (*coordination.Lease, error) {
		return l.leases.Create(ctx, lease, metav1.CreateOptions{})
	})
}

// Update implements resourcelock.Interface. It fails when the Lease was changed since it was last read or written here.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.lease == nil {
		return errors.New("the Lease was not read yet")
	}
	lease := l.lease.DeepCopy()
	lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&record)
	return l.write(ctx, func(ctx context.Context) (*coordination.Lease, error) {
		return l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	})
}

func (l *lock) write(ctx context.Context, request func(context.Context) (*coordination.Lease, error)) error {
	limit := l.limits.quick
	if l.slow {
		limit = l.limits.slow
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	sent := time.Now()
	lease, err := request(ctx)
	l.slow = l.ended().Sub(sent) > l.limits.quick/2
	if err != nil {
		return err
	}
	l.lease = lease
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder == l.identity {
		l.wrote(termOf(lease), sent)
	}
	return nil
}

// ended notes that a request has ended, now.
func (l *lock) ended() time.Time {
	now := time.Now()
	l.tried.Store(&now)
	return now
}

func termOf(lease *coordination.Lease) term {
	t := term{lease: lease.UID}
	if n := lease.Spec.LeaseTransitions; n != nil {
		t.transitions = *n
	}
	return t
}
