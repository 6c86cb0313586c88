package bridge

import (
	"fmt"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
)

func v4(device, key string) string { return fmt.Sprintf("net/ipv4/conf/%s/%s", device, key) }
func v6(device, key string) string { return fmt.Sprintf("net/ipv6/conf/%s/%s", device, key) }

// silentSysctls are for a NIC behind the userspace datapath: the host must not answer ARP requests there for
// addresses that are elsewhere, nor take part in IPv6 at all. Other devices keep their settings.
func silentSysctls(nic string) map[string]string {
	return map[string]string{
		v4(nic, "arp_ignore"):   "1",
		v6(nic, "disable_ipv6"): "1",
	}
}

// nicSysctls reads the NIC's settings that matter for the record and for silencing.
func nicSysctls(nic string) map[string]string {
	out := map[string]string{}
	for _, key := range []string{
		v4(nic, "arp_ignore"), v6(nic, "disable_ipv6"), v6(nic, "accept_ra"), v6(nic, "forwarding"),
	} {
		if value := hostnet.Sysctl(key); value != "" {
			out[key] = value
		}
	}
	return out
}

// bridgeSysctls are for the bridge's device, which takes the NIC's place.
func bridgeSysctls(o Observed, r Record) map[string]string {
	const strict, loose = "1", "2"
	br := names.ExternalBridge
	out := map[string]string{
		// The addresses are the host's own already.
		v6(br, "accept_dad"):   "0",
		v6(br, "disable_ipv6"): "0",
		v6(br, "accept_ra"):    acceptRA(r),
		// Who removes the first address of a network means that one alone.
		v4(br, "promote_secondaries"): "1",
	}
	// While the routes move, packets come in over one device and are answered over the other.
	if o.BridgeSettings.Sysctls[v4(br, "rp_filter")] == strict || o.BridgeSettings.Sysctls[v4("all", "rp_filter")] == strict {
		out[v4(br, "rp_filter")] = loose
	}
	return out
}

// acceptRA keeps a host that listened to router advertisements listening, although it will forward; 2 says so
// (see ip-sysctl in the kernel's documentation).
func acceptRA(r Record) string {
	listened := r.Sysctls[v6(r.NIC, "accept_ra")]
	if listened == "2" || (listened == "1" && r.Sysctls[v6(r.NIC, "forwarding")] == "0") {
		return "2"
	}
	return "0"
}
