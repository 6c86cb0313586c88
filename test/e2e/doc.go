// Package e2e proves, with real packets in a lab, what users and operators rely on. The tests need
// root and are built with the tag e2e: `make e2e`.
//
// There is one test for each IP family; it brings up a lab, runs the scenarios in it one after another
// and takes it down. After each scenario nothing may have crashed, restarted or logged an error.
//
//	-run TestIPv4/Churn   one scenario
//	-keep                 leaves the labs up, and uses those that are
//	-prefix e2e           first part of the labs' names
//	-bin DIR              the product's executables; without it those in _output/bin
//
// OVNKUBE_E2E_RACE=ipv4 (or ipv6, dual, all) builds the product with the race detector for that family.
package e2e
