package nbsync

import (
	"context"
	"fmt"
	"time"

	libovsdb "github.com/ovn-org/libovsdb/ovsdb"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb/nbdb"
	"github.com/ovnkube/ovnkube/go-controller/pkg/retry"
)

// fence keeps a deposed leader from writing. The leader's identity is recorded in NB_Global, and each
// transaction begins with a "wait" that fails when the record names somebody else.
//
// The record is claimed by comparing and swapping: a claim fails when the record is no longer what it was when
// this leader decided to claim it.
type fence struct {
	identity string
	state    fenceState
	// seen is the record, uuid the row of NB_Global and ids its external_ids when the claim was decided.
	seen, uuid string
	ids        map[string]string
}

type fenceState int

const (
	fenceNew   fenceState = iota // nothing known yet
	fenceOff                     // no fence
	fenceHeld                    // the record is ours
	fenceClaim                   // there is no record: claimed with the first write
	fenceTake                    // the record names an earlier leader: taken over at once
)

// observe looks at the record. It returns ErrFenced when somebody else has taken it from us.
func (f *fence) observe(db *database) error {
	if f.identity == "" {
		f.state = fenceOff
		return nil
	}
	uuid, ids := "", map[string]string(nil)
	for u, m := range db.cache.Table(nbdb.NBGlobalTable).RowsShallow() {
		if global, ok := m.(*nbdb.NBGlobal); ok {
			uuid, ids = u, global.ExternalIDs
		}
	}
	record := ids[names.LeaderKey]
	switch {
	case record == f.identity:
		f.state = fenceHeld
	case record == "":
		f.state = fenceClaim
	case f.state == fenceNew, f.state == fenceTake && record == f.seen:
		f.state = fenceTake
	default:
		return fmt.Errorf("%w: the record names %q, this is %q", ErrFenced, record, f.identity)
	}
	f.seen, f.uuid, f.ids = record, uuid, ids
	return nil
}

// urgent tells that the record is to be claimed at once: an earlier leader must lose its right to write
// now, and the row of NB_Global must be there before anything else.
func (f *fence) urgent() bool {
	return f.state == fenceTake || f.state == fenceClaim && f.uuid == ""
}

// lost decides after a transaction that the fence has stopped.
func (f *fence) lost(db *database) error {
	before := f.state
	if err := f.observe(db); err != nil {
		return err
	}
	if before == fenceHeld && f.state == fenceHeld {
		return fmt.Errorf("%w: the server says that the record is not %q", ErrFenced, f.identity)
	}
	return nil // there is no record any more, or it is still the one to be replaced: claimed again
}

// ops are the operations that every transaction begins with. The first one fails when the fence does.
func (f *fence) ops() []libovsdb.Operation {
	switch f.state {
	case fenceHeld:
		return []libovsdb.Operation{f.waitFor(f.identity)}
	case fenceTake:
		return append([]libovsdb.Operation{f.waitFor(f.seen)}, f.swap()...)
	case fenceClaim:
		if f.uuid == "" {
			// NB_Global holds one row at most: this fails when somebody else was first.
			return []libovsdb.Operation{{
				Op: libovsdb.OperationInsert, Table: nbdb.NBGlobalTable,
				Row: libovsdb.Row{idColumn: libovsdb.OvsMap{GoMap: map[any]any{names.LeaderKey: f.identity}}},
			}}
		}
		return append([]libovsdb.Operation{f.waitForSameIDs()}, f.swap()...)
	}
	return nil
}

// waitFor succeeds when the record names identity, whatever else external_ids holds: it compares the UUIDs
// of the rows with that record with the one UUID that there should be.
func (f *fence) waitFor(identity string) libovsdb.Operation {
	now := 0
	return libovsdb.Operation{
		Op: libovsdb.OperationWait, Table: nbdb.NBGlobalTable, Timeout: &now,
		Where: []libovsdb.Condition{libovsdb.NewCondition(idColumn, libovsdb.ConditionIncludes,
			libovsdb.OvsMap{GoMap: map[any]any{names.LeaderKey: identity}})},
		Columns: []string{"_uuid"},
		Until:   string(libovsdb.WaitConditionEqual),
		Rows:    []libovsdb.Row{{"_uuid": libovsdb.UUID{GoUUID: f.uuid}}},
	}
}

// waitForSameIDs succeeds when external_ids is what it was: the protocol has no condition for "there is no
// such key".
func (f *fence) waitForSameIDs() libovsdb.Operation {
	now := 0
	ids := libovsdb.OvsMap{GoMap: map[any]any{}}
	for k, v := range f.ids {
		ids.GoMap[k] = v
	}
	return libovsdb.Operation{
		Op: libovsdb.OperationWait, Table: nbdb.NBGlobalTable, Timeout: &now,
		Where:   whereUUID(f.uuid),
		Columns: []string{idColumn},
		Until:   string(libovsdb.WaitConditionEqual),
		Rows:    []libovsdb.Row{{idColumn: ids}},
	}
}

func (f *fence) swap() []libovsdb.Operation {
	return []libovsdb.Operation{{
		Op: libovsdb.OperationMutate, Table: nbdb.NBGlobalTable, Where: whereUUID(f.uuid),
		Mutations: []libovsdb.Mutation{
			*libovsdb.NewMutation(idColumn, libovsdb.MutateOperationDelete, libovsdb.OvsSet{GoSet: []any{names.LeaderKey}}),
			*libovsdb.NewMutation(idColumn, libovsdb.MutateOperationInsert, libovsdb.OvsMap{GoMap: map[any]any{names.LeaderKey: f.identity}}),
		},
	}}
}

func (s *Syncer) observe() (err error) {
	s.read(func(db *database, _ nbstate.View) { err = s.fence.observe(db) })
	return err
}

func (s *Syncer) fenceLost() (err error) {
	s.read(func(db *database, _ nbstate.View) { err = s.fence.lost(db) })
	return err
}

// Claim takes the record from an earlier leader. When it returns nil no earlier leader can write any more, and the
// copy of the database shows all that they have written: who decides from that copy what to hand to the store calls Claim
// first, then reads, then calls Run. It writes nothing when the record is ours already or when there is none.
// Errors: ErrFenced and ctx's.
func (s *Syncer) Claim(ctx context.Context) error {
	defer s.client.Watch(nil, s.events.connected)()
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !s.client.Connected() {
			select {
			case <-s.events.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err := s.observe(); err != nil {
			return err
		}
		if !s.fence.urgent() {
			return nil
		}
		if !retry.Sleep(ctx, time.Until(s.resumeAt)) {
			continue
		}
		if err := s.takeOver(ctx); err != nil {
			return err
		}
	}
}

// takeOver claims the record with a transaction of its own.
func (s *Syncer) takeOver(ctx context.Context) error {
	v := s.send(ctx, &transaction{})
	switch v.result {
	case resultFenced:
		return s.fenceLost()
	case resultRefused, resultTransient:
		d := s.pause.next()
		s.resumeAt = time.Now().Add(d)
		klog.FromContext(ctx).Error(v.err, "Cannot claim the northbound database; trying again", "identity", s.fence.identity, "after", d)
	}
	return nil
}
