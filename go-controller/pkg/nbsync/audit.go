package nbsync

import (
	"github.com/ovn-org/libovsdb/model"

	"github.com/ovnkube/ovnkube/go-controller/pkg/nbstate"
)

// globalID is the ID of the one row of NB_Global.
const globalID = "global"

// audit makes all owners ready for a comparison and, once the store is synced, looks for rows and members
// of ours that nobody wants. It relies on no event.
func (s *Syncer) audit() {
	s.metrics.audits.Inc()
	s.read(func(db *database, v nbstate.View) {
		for owner := range v.Owners() {
			s.queue.enqueueForAudit(owner)
		}
		if !v.IsSynced() {
			return
		}
		snapshots := map[string]map[string]model.Model{}
		for name := range s.catalog {
			if rc := db.cache.Table(name); rc != nil {
				snapshots[name] = rc.RowsShallow()
			}
		}
		for name, t := range s.catalog {
			s.auditTable(db, v, t, snapshots[name])
			s.auditMembers(db, v, t, snapshots)
		}
	})
}

// auditTable finds rows of ours that nobody wants.
func (s *Syncer) auditTable(db *database, v nbstate.View, t *table, rows map[string]model.Model) {
	if t.singleton {
		return
	}
	for uuid, m := range rows {
		owner, unwanted := db.unwanted(v, t, m)
		if !unwanted {
			continue
		}
		s.queue.enqueueForAudit(owner).addRow(rowRef{t.name, uuid})
	}
}

// auditMembers finds members, in rows of ours, that are ours and that nobody wants there.
func (s *Syncer) auditMembers(db *database, v nbstate.View, t *table, snapshots map[string]map[string]model.Model) {
	if len(t.shared) == 0 {
		return
	}
	for _, m := range snapshots[t.name] {
		id, ours := db.idOf(v, t, m)
		key := nbstate.Key{Table: t.name, ID: id}
		if !ours {
			continue
		}
		owner, ok := db.claimant(v, key)
		if !ok {
			continue
		}
		for name, c := range t.shared {
			for _, value := range fieldStrings(m, c) {
				member := nbstate.Member{Parent: key, Column: name, Value: value}
				if c.refTable != "" {
					target := snapshots[c.refTable][value]
					tt := s.catalog[c.refTable]
					if target == nil || tt == nil {
						continue
					}
					memberID, memberOurs := db.idOf(v, tt, target)
					if !memberOurs {
						continue
					}
					member.Value = memberID
				}
				if !v.Wanted(member) {
					s.queue.enqueueForAudit(owner).addStray(stray{member, value})
				}
			}
		}
	}
}
