package nbsync

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// Defaults of Options.
const (
	defaultWindowMin     = 10 * time.Millisecond
	defaultWindowMax     = 100 * time.Millisecond
	defaultAuditInterval = 10 * time.Minute
	defaultRetryMin      = time.Second
	defaultRetryMax      = time.Minute
	defaultMaxOps        = 5000
	defaultMaxMembers    = 10000
	defaultMinOwners     = 1000
	defaultMaxOwners     = 2000
)

// Options of a Syncer. Zero values stand for defaults.
type Options struct {
	// Controller marks rows of ours (external_ids k8s.ovn.org/owner-controller). Default "ovnkube".
	Controller string
	// Fence is this leader's identity in the leader record; the same after a restart. Empty means that
	// there is no fence, for databases that nobody else writes.
	Fence string
	// OwnerOf tells of a row in a table without external_ids whether it is ours although nobody wants it, and whose it was. Nil
	// means that such rows are ours only while they are wanted.
	OwnerOf func(model.Model) (nbstate.Owner, bool)
	// OnResult is called from Run's goroutine with the outcome for owners. It must not block.
	OnResult func(Result)
	// Metrics are kept; nil means none.
	Metrics *Metrics
	// WindowMin and WindowMax bound the pause after a transaction in which work is collected. The pause is
	// made only under load, and grows while it lasts. Default 10 ms and 100 ms.
	WindowMin, WindowMax time.Duration
	// AuditInterval is the time between full comparisons. Default 10 min.
	AuditInterval time.Duration
	// RetryMin and RetryMax bound the wait before a refused owner is tried again. Default 1 s and 1 min.
	RetryMin, RetryMax time.Duration
	// MaxOps is where a transaction of more than MinOwners is closed; one owner's operations always go together. Default 5,000.
	MaxOps int
	// MaxMembers is the same for values that are put into sets or taken out; all those of one set are one operation, whose cost for
	// both sides grows with the set, too. Default 10,000.
	MaxMembers int
	// MinOwners is how many owners go into one transaction so that what was wanted at one time is written at one time, unless they change ten times MaxOps rows. Default 1,000.
	MinOwners int
	// MaxOwners is how many owners are compared at once. Default 2,000.
	MaxOwners int
}

func (o *Options) setDefaults() {
	if o.Controller == "" {
		o.Controller = names.ControllerName
	}
	if o.OwnerOf == nil {
		o.OwnerOf = func(model.Model) (nbstate.Owner, bool) { return nbstate.Owner{}, false }
	}
	if o.OnResult == nil {
		o.OnResult = func(Result) {}
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{
		{&o.WindowMin, defaultWindowMin},
		{&o.WindowMax, defaultWindowMax},
		{&o.AuditInterval, defaultAuditInterval},
		{&o.RetryMin, defaultRetryMin},
		{&o.RetryMax, defaultRetryMax},
	} {
		if *d.p <= 0 {
			*d.p = d.v
		}
	}
	if o.MaxOps <= 0 {
		o.MaxOps = defaultMaxOps
	}
	if o.MaxMembers <= 0 {
		o.MaxMembers = defaultMaxMembers
	}
	if o.MinOwners <= 0 {
		o.MinOwners = defaultMinOwners
	}
	if o.MaxOwners <= 0 {
		o.MaxOwners = defaultMaxOwners
	}
}

// wholeFactor times MaxOps close a transaction whatever MinOwners says: while the server works on one it answers nobody.
const wholeFactor = 10

// full tells whether a transaction of so many owners is closed.
func (o *Options) full(owners, rows, members int) bool {
	if rows >= wholeFactor*o.MaxOps {
		return true
	}
	return owners >= o.MinOwners && (rows >= o.MaxOps || members >= o.MaxMembers)
}

// Result is the outcome for one owner.
type Result struct {
	Owner nbstate.Owner
	// Generation of the owner that the result is about: see nbstate.Store.Generation. There is no result
	// for a generation that was overtaken by a newer one.
	Generation uint64
	// Deleted says that the owner wanted nothing; with a nil Err its rows are gone from the database.
	Deleted bool
	// Err is nil when the database holds what the owner wants. Otherwise the owner is tried again by
	// itself. errors.Is(Err, ErrWaiting) tells that it only waits for a row that does not exist yet.
	Err error
}

// ErrFenced is returned by Run when another leader owns the database. Nothing was written since.
var ErrFenced = errors.New("another leader owns the northbound database")

// ErrWaiting is matched by the error of an owner that waits for rows that do not exist yet.
var ErrWaiting = errors.New("waits for rows that do not exist yet")

// WaitError names the rows that an owner waits for.
type WaitError struct {
	Keys []nbstate.Key
}

// Error lists the first few rows.
func (e *WaitError) Error() string {
	const most = 3
	var list []string
	for _, k := range e.Keys[:min(most, len(e.Keys))] {
		list = append(list, k.String())
	}
	if n := len(e.Keys) - most; n > 0 {
		list = append(list, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%s: %s", ErrWaiting, strings.Join(list, ", "))
}

// Is matches ErrWaiting.
func (e *WaitError) Is(target error) bool { return target == ErrWaiting }

// CollisionError says that a row that somebody else made stands in the way, in an index of the server.
type CollisionError struct {
	Key         nbstate.Key
	Table, UUID string
	ExternalIDs map[string]string
}

// Error names both rows.
func (e *CollisionError) Error() string {
	return fmt.Sprintf("row %s collides with row %s of %s, which is not ours (external_ids %v): it has the same name or address; remove or rename one of them",
		e.Key, e.UUID, e.Table, e.ExternalIDs)
}
