// Package plan says what a lab consists of: addresses, files, processes and
// their arguments. It is pure: it touches neither files nor kernel.
package plan

import (
	"fmt"
	"net/netip"
	"strings"
)

// Family says which IP families a lab's nodes and pods have.
type Family string

// The families of a lab.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
	Dual Family = "dual"
)

// ParseFamily checks a family given by a user.
func ParseFamily(s string) (Family, error) {
	switch f := Family(s); f {
	case IPv4, IPv6, Dual:
		return f, nil
	}
	return "", fmt.Errorf("IP family %q: want ipv4, ipv6 or dual", s)
}

// V4 tells whether IPv4 is used.
func (f Family) V4() bool { return f != IPv6 }

// V6 tells whether IPv6 is used.
func (f Family) V6() bool { return f != IPv4 }

// pick returns the values for the family, IPv4 first.
func pick[T any](f Family, v4, v6 T) []T {
	switch f {
	case IPv4:
		return []T{v4}
	case IPv6:
		return []T{v6}
	}
	return []T{v4, v6}
}

// MTU of the underlay in bytes.
const MTU = 1500

// Numbers of hosts in the underlay networks.
const (
	hostControlPlane = 1
	hostNode0        = 10
	hostOutside      = 200
	maxNodes         = hostOutside - hostNode0 - 1
)

// underlay returns the n-th address of the underlay networks 172.18.0.0/24 and
// fd00:172:18::/64. IPv6 numbers read like the IPv4 ones: ::11 is host 11.
func (f Family) underlay(n int) []netip.Prefix {
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 18, 0, byte(n)}), 24)
	v6 := netip.MustParsePrefix(fmt.Sprintf("fd00:172:18::%d/64", n))
	return pick(f, v4, v6)
}

func addrs(ps []netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, 0, len(ps))
	for _, p := range ps {
		out = append(out, p.Addr())
	}
	return out
}

// ControlPlane returns the addresses of the control plane, the preferred first.
func (f Family) ControlPlane() []netip.Addr { return addrs(f.underlay(hostControlPlane)) }

// Node returns the addresses of the n-th node, counted from 1.
func (f Family) Node(n int) []netip.Addr { return addrs(f.underlay(hostNode0 + n)) }

// OutsideClient returns the addresses from which the outside host connects.
func (f Family) OutsideClient() []netip.Addr { return addrs(f.underlay(hostOutside)) }

// OutsideServer returns the addresses on which the outside host's servers are
// reached.
func (f Family) OutsideServer() []netip.Addr { return addrs(f.underlay(hostOutside + 1)) }

// Services returns the service networks.
func (f Family) Services() []string { return pick(f, "172.30.0.0/16", "fd02::/112") }

// Cluster returns the pod networks as --cluster-subnets wants them.
func (f Family) Cluster() []string { return pick(f, "10.128.0.0/14/23", "fd01::/48/64") }

// DNS returns the cluster IPs of the DNS service.
func (f Family) DNS() []string { return pick(f, "172.30.0.10", "fd02::a") }

// APIServer returns the URL of the API server.
func (f Family) APIServer() string {
	return "https://" + netip.AddrPortFrom(f.ControlPlane()[0], APIPort).String()
}

// Southbound returns the address of the southbound database in OVS's notation.
func (f Family) Southbound() string {
	return "ssl:" + netip.AddrPortFrom(f.ControlPlane()[0], SBPort).String()
}

// Relay returns the address of the southbound database's relay, in a lab with clusters of databases.
func (f Family) Relay() string {
	return "ssl:" + netip.AddrPortFrom(f.ControlPlane()[0], RelayPort).String()
}

// Ports of the control plane.
const (
	APIPort = 6443
	NBPort  = 6641 // of clusters only
	SBPort  = 6642
	// RelayPort is where nodes read the southbound database of a cluster.
	RelayPort = 16642
)

// mac returns the hardware address of the n-th host of the underlay. It is the
// same after a reboot, as a real NIC's is.
func mac(n int) string { return fmt.Sprintf("02:00:ac:12:00:%02x", n) }

func join[T fmt.Stringer](vals []T) string {
	s := make([]string, 0, len(vals))
	for _, v := range vals {
		s = append(s, v.String())
	}
	return strings.Join(s, ",")
}
