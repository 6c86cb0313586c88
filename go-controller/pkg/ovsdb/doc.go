// Package ovsdb keeps a connection to an OVSDB server: the northbound and southbound databases of
// OVN, or the local Open_vSwitch database.
//
// It uses the generated models, the cache and the notation of libovsdb, but not its client. That client's
// reconnect neither tells that it happened nor emits delete events for rows that went away meanwhile, cannot be
// stopped while it retries, and panics when it gives up; its inactivity check cannot close a connection
// while a transaction waits for its reply; a write to a server that does not read blocks for ever; it leaks
// itself and its cache when leadership is followed; it reads replies that may still be written to. Here a
// connection is a session with a cache of its own: nothing stale survives it.
//
//   - A server that stops answering is noticed by probes.
//   - The client model is cut to what was asked for, and is compared with the server's schema first: an
//     older server gives an error that names what it lacks, a newer one just works.
//   - Only the model's own columns are monitored: libovsdb's cache refuses a whole update that has a column
//     which the model lacks.
//   - Updates are applied in the order in which the server sends them, also relative to replies.
package ovsdb
