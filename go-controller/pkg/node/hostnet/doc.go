// Package hostnet brings the host's own network objects (links, addresses, routes, neighbours, sysctls)
// to what a reconciler wants: observe, plan, execute.
//
// Planning is pure: Plan compares what Observe saw with what is wanted and returns actions; each action says
// in one line what it does and is executed over netlink. Watch tells when to look again.
package hostnet
