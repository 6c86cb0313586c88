package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/capture"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

func newTcpdump(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "tcpdump POD [-- ARGS...]",
		Short: "Capture a pod's packets, at its port of the node's Open vSwitch",
		Long: `tcpdump runs tcpdump on the pod's node, at the device by which the pod is plugged into br-int: what the pod sends is seen
before the network has done anything with it, what it receives after all has been done. ARGS are tcpdump's; -n is always there.
With -w - packets are written in tcpdump's format to the standard output.`,
		Example: `  kubectl ovn tcpdump shop/web -- -c 10 tcp port 80
  kubectl ovn tcpdump web -n shop -- -w - >web.pcap
  kubectl ovn tcpdump web -- -w - | wireshark -k -i -`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: g.completePod,
		RunE: func(cmd *cobra.Command, args []string) error {
			if dash := cmd.ArgsLenAtDash(); dash > 1 || dash < 0 && len(args) > 1 {
				return fmt.Errorf(`want "tcpdump POD -- ARGS...": what is for tcpdump comes behind "--"`)
			}
			out, isFile := cmd.OutOrStdout().(*os.File)
			if err := capture.CheckArgs(args[1:], isFile && term.IsTerminal(int(out.Fd()))); err != nil {
				return err
			}
			client, a, err := g.connect()
			if err != nil {
				return err
			}
			namespace, name := g.split(strings.TrimPrefix(args[0], "pod/"))
			pod, err := client.CoreV1().Pods(namespace).Get(cmd.Context(), name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			return ended(capture.Run(cmd.Context(), capture.Options{Access: a, Pod: pod, Args: args[1:], Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}))
		},
	}
}

// split reads [NAMESPACE/]NAME.
func (g *globals) split(words string) (namespace, name string) {
	if strings.Contains(words, "/") {
		return names.SplitObjectName(words)
	}
	return g.defaultNamespace(), words
}
