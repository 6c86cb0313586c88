package policy

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/ovnkube/ovnkube/go-controller/pkg/selector"
)

// PortRange is a range of ports of a protocol, bounds included. All ports: Whole.
type PortRange struct {
	Protocol    corev1.Protocol
	First, Last uint16
}

// Whole tells whether it is the protocol as a whole, whatever the port.
func (r PortRange) Whole() bool { return r.First == 0 && r.Last == maxPort }

const maxPort = 65535

// protocols in the order in which they are written.
var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// parsePorts reads the ports of a rule; none means all.
func parsePorts(in []networkingv1.NetworkPolicyPort) (Ports, error) {
	if len(in) == 0 {
		return Ports{All: true}, nil
	}
	var out Ports
	for i := range in {
		if err := out.add(&in[i]); err != nil {
			return Ports{}, fmt.Errorf("port %d: %w", i, err)
		}
	}
	out.Ranges = mergeRanges(out.Ranges)
	slices.SortFunc(out.Names, func(a, b selector.PortName) int {
		return cmp.Or(compareProtocols(a.Protocol, b.Protocol), cmp.Compare(a.Name, b.Name))
	})
	out.Names = slices.Compact(out.Names)
	return out, nil
}

func (p *Ports) add(in *networkingv1.NetworkPolicyPort) error {
	protocol := corev1.ProtocolTCP
	if in.Protocol != nil {
		protocol = *in.Protocol
	}
	switch {
	case !slices.Contains(protocols, protocol):
		return fmt.Errorf("protocol %q is none of TCP, UDP, SCTP", protocol)
	case in.Port == nil && in.EndPort != nil:
		return fmt.Errorf("endPort %d without port", *in.EndPort)
	case in.Port == nil:
		p.Ranges = append(p.Ranges, PortRange{protocol, 0, maxPort})
		return nil
	case in.Port.Type == intstr.String && in.EndPort != nil:
		return fmt.Errorf("endPort %d with the name %q: ranges are of numbers", *in.EndPort, in.Port.StrVal)
	case in.Port.Type == intstr.String && in.Port.StrVal == "":
		return fmt.Errorf("the port's name is empty")
	case in.Port.Type == intstr.String:
		p.Names = append(p.Names, selector.PortName{Protocol: protocol, Name: in.Port.StrVal})
		return nil
	}
	first, last := in.Port.IntVal, in.Port.IntVal
	if in.EndPort != nil {
		last = *in.EndPort
	}
	if first < 1 || first > maxPort || last > maxPort || last < first {
		return fmt.Errorf("%d to %d is no range of ports", first, last)
	}
	p.Ranges = append(p.Ranges, PortRange{protocol, uint16(first), uint16(last)})
	return nil
}

// mergeRanges joins what overlaps or touches.
func mergeRanges(in []PortRange) []PortRange {
	slices.SortFunc(in, func(a, b PortRange) int {
		return cmp.Or(compareProtocols(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	var out []PortRange
	for _, r := range in {
		if n := len(out); n > 0 && out[n-1].Protocol == r.Protocol && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func compareProtocols(a, b corev1.Protocol) int {
	return cmp.Compare(slices.Index(protocols, a), slices.Index(protocols, b))
}
