// Package netfilter keeps the host's own packet rules for services: NodePorts, external and load balancer addresses, the
// policies "Local", and the source address of what leaves through the management port.
//
// What should be there is one set of rules, Rules, made by pure functions from a service, its endpoints and facts about the
// node. Two renderers write it, as elements of nftables maps or as rules of iptables: each reads what the kernel has, applies
// the difference, and touches nothing of others. Controller runs one of them.
package netfilter
