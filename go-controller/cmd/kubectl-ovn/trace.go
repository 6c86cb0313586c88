package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/output"
	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/trace"
)

// exitLost is the exit code when packets do not arrive.
const exitLost = 2

func newTrace(g *globals) *cobra.Command {
	var protocol, via string
	var ipv6, ofproto bool
	cmd := &cobra.Command{
		Use:   "trace SRC DST[:PORT]",
		Short: "Why one end can or cannot reach another: network policies, OVN's way, and what decides",
		Long: `trace follows the first packet of a connection. SRC is a pod, a node or an address; DST is a pod, service, node or
address, with a port unless there is only one. Ends are named as [NAMESPACE/]NAME of a pod (as DST also of a service),
or as pod/…, service/…, node/NAME; services also as NAME.NAMESPACE.svc.

It shows which network policies apply and what they say, the packet's way through the logical network, and the rule
or load balancer that decides, with the object it comes from. The last line is the verdict. Nothing is sent. With a service, every endpoint
is followed. Exit code 2 says that packets do not arrive, 1 that it cannot be told.`,
		Example: `  kubectl ovn trace shop/client shop/web:80
  kubectl ovn trace shop/client service/db -n shop
  kubectl ovn trace node/node1 shop/web:8080
  kubectl ovn trace shop/client 192.0.2.1:443`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: g.completeEnds,
	}
	cmd.Flags().StringVar(&protocol, "protocol", "tcp", "tcp, udp or sctp")
	cmd.Flags().BoolVarP(&ipv6, "ipv6", "6", false, "take the IPv6 addresses of what is named (default: IPv4, or the only family that both ends have)")
	cmd.Flags().StringVar(&via, "via", "", "node by which packets from outside come in (default: that of the destination)")
	cmd.Flags().BoolVar(&ofproto, "ofproto", true, "also ask the Open vSwitch of the node where the packet begins what its flows do")
	complete(cmd, "protocol", "tcp", "udp", "sctp")
	g.completeFlag(cmd, "via", completer.nodes)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		printer, err := g.printer(cmd)
		if err != nil {
			return err
		}
		o := trace.Options{Namespace: g.defaultNamespace(), Protocol: corev1.Protocol(strings.ToUpper(protocol)), IPv6: ipv6, Via: via, NoFlows: !ofproto}
		switch o.Protocol {
		case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		default:
			return fmt.Errorf("--protocol %q: want tcp, udp or sctp", protocol)
		}
		if o.Access, err = g.reach(); err != nil {
			return err
		}
		v, err := g.view(cmd.Context())
		if err != nil {
			return err
		}
		o.Objects, o.NB = v.Objects, v.NB
		report, err := trace.Trace(cmd.Context(), o, args[0], args[1])
		if err != nil {
			return err
		}
		if printer.ForPeople() {
			err = report.Write(printer)
		} else {
			err = printer.Print(output.Result{Object: report})
		}
		if err != nil {
			return err
		}
		return arrival(report)
	}
	return cmd
}

// arrival is the outcome of a trace.
func arrival(r *trace.Report) error {
	switch {
	case r.Arrives:
		return nil
	case r.Unknown:
		return &toldError{exitUnknown}
	}
	return &toldError{exitLost}
}
