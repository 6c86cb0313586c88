package cni

import (
	"fmt"

	"sigs.k8s.io/knftables"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/nft"
)

// PodGuard is the table that drops, in the host's stack, what pods send. The userspace datapath only gets copies of
// frames: without it, a frame that a pod addresses to the host's end of its veth would reach the host past OVN
// and all policies. One rule serves all pods: it goes by the link group of their veths. (The kernel's
// datapath takes the frames before any of this.)
func PodGuard() nft.Table {
	return nft.Table{Family: knftables.InetFamily, Name: names.NFTPodTable, Chains: []nft.Chain{{
		Name: "from-pods", Type: knftables.FilterType, Hook: knftables.PreroutingHook, Priority: knftables.RawPriority,
		Rules: []string{fmt.Sprintf("iifgroup %d drop", names.PodLinkGroup)},
	}}}
}
