// Package gateway says how a node's way out of the cluster, and into it, should be: the flows of the external bridge,
// and the host's addresses, routes and neighbours for services. It is pure; package openflow and package hostnet do
// what it says.
//
// Host and gateway router share the bridge's MAC and the node's addresses. The flows tell their packets apart: by
// connection tracking where either may have begun a connection, by the masquerade addresses where host
// and services meet.
package gateway
