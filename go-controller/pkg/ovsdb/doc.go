// Package ovsdb keeps a connection to an OVSDB server: the northbound and southbound databases of
// OVN, or the local Open_vSwitch database.
//
// It stands on libovsdb and deals with what that library leaves to its user:
//
//   - A lost connection is replaced by a new libovsdb client with an empty cache, so that nothing
//     stale survives: libovsdb's own reconnect neither tells that it happened nor emits delete events
//     for rows that went away meanwhile, cannot be stopped while it retries, and panics when it gives up.
//   - A server that stops answering is noticed by probes. libovsdb's own inactivity check cannot
//     close a connection while a transaction waits for its reply.
//   - The client model is cut to what was asked for, and is compared with the server's schema first: an
//     older server gives an error that names what it lacks, a newer one just works.
//   - Only the model's own columns are monitored: libovsdb drops a whole update when the server sends a
//     column that the model lacks.
//   - Leadership in a clustered database is followed over a second connection to the _Server database:
//     libovsdb's own way leaks the client and its cache each time it is replaced.
package ovsdb
