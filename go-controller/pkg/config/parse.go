package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// defaultHostPrefix applies where --cluster-subnets names a pool without a host prefix.
const (
	defaultHostPrefixV4 = 24
	defaultHostPrefixV6 = 64
	// minHostBits leaves a node its network, router and management addresses and at least a few pods.
	minHostBits = 3
)

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func joinStrings[T fmt.Stringer](items []T) string {
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = item.String()
	}
	return strings.Join(parts, ",")
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a CIDR such as 172.30.0.0/16", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has host bits set; did you mean %s", s, p.Masked())
	}
	return p, nil
}

func parseClusterSubnet(s string) (ClusterSubnet, error) {
	cidr, host := s, ""
	if strings.Count(s, "/") == 2 {
		i := strings.LastIndexByte(s, '/')
		cidr, host = s[:i], s[i+1:]
	}
	p, err := parsePrefix(cidr)
	if err != nil {
		return ClusterSubnet{}, fmt.Errorf("%w (want CIDR/HOSTPREFIX, such as 10.128.0.0/14/23)", err)
	}
	bits := defaultHostPrefixV6
	if p.Addr().Is4() {
		bits = defaultHostPrefixV4
	}
	if host != "" {
		if bits, err = strconv.Atoi(host); err != nil {
			return ClusterSubnet{}, fmt.Errorf("%q: host prefix %q is not a number", s, host)
		}
	}
	lowest, highest := p.Bits(), p.Addr().BitLen()-minHostBits
	if bits < lowest || bits > highest {
		return ClusterSubnet{}, fmt.Errorf("%q: host prefix %d is not between %d and %d", s, bits, lowest, highest)
	}
	return ClusterSubnet{Prefix: p, HostPrefix: bits}, nil
}

func formatClusterSubnet(s ClusterSubnet) string {
	return fmt.Sprintf("%s/%d", s.Prefix, s.HostPrefix)
}

func checkEndpoint(s string) error {
	scheme, rest, ok := strings.Cut(s, ":")
	switch {
	case !ok || rest == "":
	case scheme == "unix":
		if strings.HasPrefix(rest, "/") {
			return nil
		}
	case scheme == "tcp", scheme == "ssl":
		if host, port, err := net.SplitHostPort(rest); err == nil && host != "" && port != "" {
			return nil
		}
	}
	return fmt.Errorf("%q is not unix:/PATH, tcp:ADDRESS:PORT or ssl:ADDRESS:PORT", s)
}
