// Package nbsync makes the OVN northbound database agree with package nbstate's desired state. It is the
// only writer of this project in that database. See docs/design/pipeline.md.
//
// The unit of work is an owner: all that an owner wants is compared with the cache of the database and
// what differs is put into a transaction together with what many other owners need.
//
//	spec.go, schema.go   what is known of the tables
//	database.go          finding rows in the cache
//	compare.go           one wanted row against one row of the database
//	plan.go              what one owner needs
//	batch.go             the plans of many owners made into one transaction
//	commit.go            sending it; bisecting what the server refuses
//	fence.go             only the leader writes
//	drift.go, audit.go   noticing what others changed
//	syncer.go, queue.go  the loop: who is next, and when
package nbsync
