package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/ovsdb"
)

// Smallest MTUs that IPv4 hosts must accept (RFC 791) and IPv6 links must carry (RFC 8200).
const (
	minMTUv4 = 576
	minMTUv6 = 1280
	maxMTU   = 65000
)

// minCertificateDuration is the least that CertificateSigningRequests may ask for (spec.expirationSeconds).
const minCertificateDuration = 10 * time.Minute

// named is a range of addresses with the flag that set it, for messages.
type named struct {
	flag   string
	prefix netip.Prefix
}

// Validate tells what is wrong with the configuration as a whole, every finding in one error.
func (c *Master) Validate() error {
	errs := c.problems()
	if c.Identity == "" {
		errs = append(errs, errors.New("--identity is empty: name this replica"))
	}
	if c.ACLLoggingRateLimit < 1 {
		errs = append(errs, fmt.Errorf("--acl-logging-rate-limit %d is not positive", c.ACLLoggingRateLimit))
	}
	ranges := c.ranges()
	ranges = append(ranges,
		named{"--gateway-v4-join-subnet", c.JoinSubnets[0]},
		named{"--gateway-v6-join-subnet", c.JoinSubnets[1]})
	errs = append(errs, overlaps(ranges)...)
	errs = append(errs, c.Northbound.problems("nb", c.CertificateDir)...)
	errs = append(errs, c.Southbound.problems("sb", c.CertificateDir)...)
	if c.CertificateDuration < minCertificateDuration {
		errs = append(errs, fmt.Errorf("--cert-duration %s is less than %s, the least that the API server takes", c.CertificateDuration, minCertificateDuration))
	}
	return errors.Join(errs...)
}

// Validate tells what is wrong with the configuration as a whole, every finding in one error.
func (c *Node) Validate() error {
	errs := append(c.problems(), overlaps(c.ranges())...)
	if c.NodeName == "" {
		errs = append(errs, errors.New("--node-name is empty: name the Kubernetes Node"))
	}
	if len(c.SouthboundRemote) == 0 {
		errs = append(errs, errors.New("--sb-address is empty: ovn-controller needs the southbound database"))
	}
	errs = append(errs, tlsProblems(c.SouthboundFiles, "sb", c.SouthboundRemote, c.CertificateDir)...)
	if c.EncapPort < 1 || c.EncapPort > 65535 {
		errs = append(errs, fmt.Errorf("--encap-port %d is not between 1 and 65535", c.EncapPort))
	}
	for _, a := range c.GatewayNextHops {
		if !c.hasFamily(a.Is4()) {
			errs = append(errs, fmt.Errorf("--gateway-nexthop %s: --cluster-subnets has no pool of that family", a))
		}
	}
	return errors.Join(errs...)
}

func (c *Common) problems() []error {
	var errs []error
	if len(c.ClusterSubnets) == 0 {
		errs = append(errs, errors.New("--cluster-subnets is empty: at least one pool is needed"))
	}
	errs = append(errs, c.hostPrefixProblems()...)
	families := map[bool]int{}
	for _, p := range c.ServiceCIDRs {
		families[p.Addr().Is4()]++
		if !c.hasFamily(p.Addr().Is4()) {
			errs = append(errs, fmt.Errorf("--k8s-service-cidrs %s: --cluster-subnets has no pool of that family", p))
		}
	}
	if families[true] > 1 || families[false] > 1 {
		errs = append(errs, fmt.Errorf("--k8s-service-cidrs %s: at most one network a family", joinStrings(c.ServiceCIDRs)))
	}
	for _, p := range c.NoSNATCIDRs {
		if !c.hasFamily(p.Addr().Is4()) {
			errs = append(errs, fmt.Errorf("--no-snat-cidrs %s: --cluster-subnets has no pool of that family", p))
		}
	}
	lowest := minMTUv4
	if c.hasFamily(false) {
		lowest = minMTUv6
	}
	if c.MTU < lowest || c.MTU > maxMTU {
		errs = append(errs, fmt.Errorf("--mtu %d is not between %d and %d", c.MTU, lowest, maxMTU))
	}
	return errs
}

// hostPrefixProblems: routers prefer longer prefixes whatever they match. A route by source for a small node subnet would win
// over the connected route to a larger one, and lead pods' traffic out of the cluster.
func (c *Common) hostPrefixProblems() []error {
	var errs []error
	first := map[bool]ClusterSubnet{}
	for _, s := range c.ClusterSubnets {
		v4 := s.Prefix.Addr().Is4()
		if f, ok := first[v4]; !ok {
			first[v4] = s
		} else if f.HostPrefix != s.HostPrefix {
			errs = append(errs, fmt.Errorf("--cluster-subnets %s and %s: pools of one family need the same host prefix", f, s))
		}
	}
	return errs
}

func (c *Common) ranges() []named {
	var out []named
	for _, s := range c.ClusterSubnets {
		out = append(out, named{"--cluster-subnets", s.Prefix})
	}
	for _, p := range c.ServiceCIDRs {
		out = append(out, named{"--k8s-service-cidrs", p})
	}
	for _, v4 := range []bool{true, false} {
		out = append(out, named{"the masquerade addresses", names.MasqueradeSubnet(v4)})
	}
	return out
}

func (d *Database) problems(prefix, certDir string) []error {
	if len(d.Endpoints) == 0 {
		return []error{fmt.Errorf("--%s-address is empty", prefix)}
	}
	return tlsProblems(d.TLSFiles, prefix, d.Endpoints, certDir)
}

// tlsProblems: either all three files are given, or none and there is a folder for managed ones.
func tlsProblems(f ovsdb.TLSFiles, prefix string, endpoints []string, certDir string) []error {
	if f == (ovsdb.TLSFiles{}) && (certDir != "" || !usesTLS(endpoints)) {
		return nil
	}
	if f.PrivateKey == "" || f.Certificate == "" || f.CACertificate == "" {
		return []error{fmt.Errorf("--%[1]s-address %[2]s needs --cert-dir, or --%[1]s-client-privkey, --%[1]s-client-cert and --%[1]s-client-cacert",
			prefix, strings.Join(endpoints, ","))}
	}
	return nil
}

func overlaps(ranges []named) []error {
	var errs []error
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if a.prefix.Overlaps(b.prefix) {
				errs = append(errs, fmt.Errorf("%s %s overlaps %s %s", a.flag, a.prefix, b.flag, b.prefix))
			}
		}
	}
	return errs
}
