package annotations

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Limits of what is read. Whoever may write an annotation may write nonsense.
const (
	// maxLength of a value, in bytes, is what the API allows all annotations of an object together.
	maxLength = 256 << 10
	// maxList is the length of the longest list: addresses of a node, routes of a pod.
	maxList = 1024
	// maxText is how much of an error about a value is told, in bytes: it may repeat the value.
	maxText = 300
)

// unusable is an error about the annotation key.
func unusable(key string, err error) error {
	if text := err.Error(); len(text) > maxText {
		return fmt.Errorf("annotation %s: %s…", key, strings.ToValidUTF8(text[:maxText], ""))
	}
	return fmt.Errorf("annotation %s: %w", key, err)
}

// parseMAC reads the address of an Ethernet interface.
func parseMAC(s string) (net.HardwareAddr, error) {
	mac, err := net.ParseMAC(s)
	if err != nil {
		return nil, err
	}
	if len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
		return nil, fmt.Errorf("%s is not an Ethernet address of an interface", mac)
	}
	return mac, nil
}

// errMapped refuses the third family: in the kernel and in OVN such addresses are neither IPv4 nor somebody's.
var errMapped = errors.New("is an IPv4 address in the form of an IPv6 one")

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return a, err
	case a.Is4In6():
		return a, fmt.Errorf("%s %w", a, errMapped)
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback():
		return a, fmt.Errorf("%s is not the address of an interface", a)
	case a.Zone() != "":
		return a, fmt.Errorf("%s has a zone", a)
	}
	return a, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, err
	}
	if p.Addr().Is4In6() {
		return p, fmt.Errorf("%s %w", p, errMapped)
	}
	return p, nil
}

// oneEachFamily tells whether there is at most one of a family.
func oneEachFamily[T any](list []T, addr func(T) netip.Addr) bool {
	seen := map[bool]bool{}
	for _, v := range list {
		v4 := addr(v).Is4()
		if seen[v4] {
			return false
		}
		seen[v4] = true
	}
	return true
}
