// Package conntrack ends what Open vSwitch remembers of UDP clients of endpoints that have left their service.
//
// OVN does so itself, once, when the node's flows change (ct_flush). But for some milliseconds after that, Open vSwitch's cache of
// flows may lead a client's packet to the former endpoint once more, and a client that keeps sending stays there for ever. So
// the node looks again, some times, until nothing is found.
package conntrack
