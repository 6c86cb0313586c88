// Package nft keeps the agent's nftables tables: the masquerading of pods' traffic that leaves through the
// host's stack, and, behind the userspace datapath, the drop of what Open vSwitch handles already.
//
// A table is one value, Table; Ensure makes the kernel hold it, in one atomic transaction, and does nothing when
// it does so already. Several may share one table of the kernel, each with chains of its own. Watch tells when somebody touched one of the tables.
package nft
