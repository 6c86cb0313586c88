// Package ovndb looks after OVN's two databases: it makes, joins, starts, watches, compacts, saves, restores and stops the
// ovsdb-servers that hold them, alone or as the members of a RAFT cluster, and the relays that spread the southbound one.
//
// What is to be done is decided by pure functions (decide, upkeep) from what is seen: the file, the other members' answers,
// the status of the server.
package ovndb
