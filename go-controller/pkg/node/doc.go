// Package node is the node agent: it makes a host a node of the network and keeps it one.
//
// Each kind of host object has a small reconciler of its own: the external bridge that takes over the physical
// NIC, the integration bridge and ovn-controller's settings, the management port, the nftables tables, the Node's
// annotations. Each compares what is there with what is wanted and does the difference. They are woken by
// events, never by a clock: netlink and nftables notifications, changes of the local Open_vSwitch database, changes
// of the Node object. The API server's absence undoes nothing, and the external bridge does not need it.
package node
