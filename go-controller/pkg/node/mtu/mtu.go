// Package mtu is the arithmetic of packet sizes between pods and the wire.
package mtu

import (
	"fmt"
	"net/netip"
)

// Bytes that Geneve adds to a pod's IP packet: the outer IP header, UDP (8, RFC 768), Geneve (8, RFC 8926),
// OVN's own option (8, see ovn-architecture(7)) and the inner Ethernet header (14).
const (
	tunnel     = 8 + 8 + 8 + 14
	overheadV4 = 20 + tunnel
	overheadV6 = 40 + tunnel
)

// Overhead is the number of bytes that tunnels of encap's family add.
func Overhead(encap netip.Addr) int {
	if encap.Is4() {
		return overheadV4
	}
	return overheadV6
}

// Check tells, with the numbers, why packets of pods with MTU pod do not fit through the uplink; nil when
// they do.
func Check(pod int, uplink string, uplinkMTU int, encap netip.Addr) error {
	overhead := Overhead(encap)
	if pod+overhead <= uplinkMTU {
		return nil
	}
	return fmt.Errorf("--mtu %d is impossible: with %d bytes for Geneve over %s it needs %d, but the MTU of %s is %d; set --mtu to %d at most, or raise the MTU of %s to %d",
		pod, overhead, encap, pod+overhead, uplink, uplinkMTU, uplinkMTU-overhead, uplink, pod+overhead)
}
