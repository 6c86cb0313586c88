// Package ipam hands out node subnets, pod addresses and node ids.
//
// The allocators are plain data structures: no I/O, no locks, no clock. They are rebuilt at start by claiming what
// is observed in the cluster and are then the single truth about who holds what. None of them is safe
// for concurrent use.
package ipam

import "errors"

// Reasons why something cannot be claimed or allocated. Errors of this package wrap one of them.
var (
	// ErrOutside: it lies in none of the ranges.
	ErrOutside = errors.New("outside of the configured ranges")
	// ErrSize: a subnet does not have the pool's host prefix.
	ErrSize = errors.New("wrong prefix length")
	// ErrTaken: somebody else holds it.
	ErrTaken = errors.New("already taken")
	// ErrReserved: the address belongs to the network itself.
	ErrReserved = errors.New("reserved")
	// ErrExhausted: nothing is free.
	ErrExhausted = errors.New("exhausted")
)
