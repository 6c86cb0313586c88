// Package master is `ovnkube master`: it gives nodes their subnets and pods their addresses, and wires both in
// the northbound database.
//
// One goroutine, the engine, owns all allocation state and does no I/O: it takes keys of nodes and
// pods that changed, looks at how they are now, and hands desired rows to the store and annotations to the
// annotator. Reconciler and annotator do the I/O side by side and report back. docs/design/master.md explains it.
package master
