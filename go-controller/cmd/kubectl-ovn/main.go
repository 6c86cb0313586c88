// Command kubectl-ovn is the plugin "kubectl ovn": it shows what the network does with the objects of a cluster, and why.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	klog.SetOutput(io.Discard)   // What client-go has to say is in the errors, too.
	klog.LogToStderr(false)
	os.Exit(code(newRoot().ExecuteContext(ctx), os.Stderr))
}

// code is the exit code for an error, which it tells.
func code(err error, complaints io.Writer) int {
	var told *toldError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &told):
		return told.code
	}
	fmt.Fprintln(complaints, "error:", err)
	return 1
}

// exitUnknown is the exit code when what was asked for cannot be told.
const exitUnknown = 1

// toldError is an outcome that the output tells already.
type toldError struct{ code int }

func (e *toldError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func newRoot() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kubectl-ovn",
		Short: "What the network does with the objects of a cluster, and why",
		Long: `kubectl ovn shows what the network does with the objects of a cluster, and why.

It reads the cluster's objects, and OVN's databases by way of their pods. Where the components are processes
rather than pods, --access local runs OVN's programs here, and --access COMMAND runs them by a command that
reaches a machine, like --access 'ssh root@{host}'.`,
		Version:       telemetry.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl ovn"},
	}
	g := addGlobals(cmd)
	cmd.AddCommand(newStatus(g), newCheck(g), newTrace(g), newExplain(g), newPlan(g), newList(g), newTcpdump(g), newBundle(g))
	for _, p := range programs() {
		cmd.AddCommand(newPassThrough(g, p))
	}
	return cmd
}
