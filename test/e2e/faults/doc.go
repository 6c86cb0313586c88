// Package faults breaks a lab while traffic flows, one part at a time and then at random, and says what that cost: packets,
// connections, time. Its tests carry the build tag e2e and need root:
//
//	make faults                              all faults, then random ones; and those of databases of three members
//	make faults FAULTS='-previous DIR'       and upgrades from the executables in DIR
//	go test -tags e2e -run 'TestFaults/.*vswitchd' ./e2e/faults
//
// It is no part of make e2e, but for the tests of the harness itself, which need no lab. A fault that must cost nothing is tried again when something was lost: on a busy machine
// a packet may be lost without a fault, but not each time.
package faults
