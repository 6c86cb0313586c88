package names

import (
	"net/netip"
	"strconv"
)

// ServiceLoadBalancer is a load balancer of a service: protocol is "TCP", "UDP" or "SCTP", scope says where it is in effect and what
// is particular about it.
func ServiceLoadBalancer(namespace, name, protocol, scope string) string {
	return "Service_" + ObjectName(namespace, name) + "_" + protocol + "_" + scope
}

// NodeAddressVariable is the template variable for a node's i-th address of a family, from zero; see Chassis_Template_Var in
// ovn-nb(5).
func NodeAddressVariable(v4 bool, i int) string {
	if v4 {
		return "NODEIP_IPv4_" + strconv.Itoa(i)
	}
	return "NODEIP_IPv6_" + strconv.Itoa(i)
}

// HairpinSNATOption is the value of a load balancer's option hairpin_snat_ip: MasqueradeHairpin of both families.
func HairpinSNATOption() string {
	return MasqueradeHairpin(true).String() + " " + MasqueradeHairpin(false).String()
}

// MasqueradeNobody is an endpoint that does not exist: gateway routers discard what is sent to it.
func MasqueradeNobody(v4 bool) netip.Addr { return masquerade(v4, 6) }

// NobodyRoute is the route by which a node's gateway router discards what is sent to MasqueradeNobody.
func NobodyRoute(node string, v4 bool) string {
	if v4 {
		return GatewayRouter(node) + "_nobody_IPv4"
	}
	return GatewayRouter(node) + "_nobody_IPv6"
}

// ServiceClientsPortGroup has a port of every switch on which there are clients of services.
const ServiceClientsPortGroup = "clusterServiceClients"

// NoService is the rule that refuses what is sent to a family's service networks and to no service's address and port.
func NoService(v4 bool) string {
	if v4 {
		return "no_service_IPv4"
	}
	return "no_service_IPv6"
}

// ServiceSourceRanges is the rule about who may use the addresses of a service's load balancer.
func ServiceSourceRanges(namespace, name string, v4 bool) string {
	if v4 {
		return "Service_" + ObjectName(namespace, name) + "_sources_IPv4"
	}
	return "Service_" + ObjectName(namespace, name) + "_sources_IPv6"
}
