// Command ovnlab is a real Kubernetes cluster on one machine: a control plane, a
// host outside the cluster and nodes, each in namespaces of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/test/lab/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return
	}
	// A command that ran and failed has said why itself; its status is ours.
	var ee *cluster.ExecError
	var exit *exec.ExitError
	if errors.As(err, &ee) && errors.As(err, &exit) && exit.ExitCode() > 0 {
		os.Exit(exit.ExitCode()) //nolint:gocritic // stop has nothing left to do
	}
	fmt.Fprintln(os.Stderr, "ovnlab:", err)
	os.Exit(1)
}

func newRoot() *cobra.Command {
	var name string
	root := &cobra.Command{
		Use:           "ovnlab",
		Short:         "A real Kubernetes cluster on one machine, to develop and test a pod network in",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&name, "name", cluster.DefaultName, "name of the lab; several live side by side")
	root.AddCommand(
		newUp(&name), newDown(&name), newStatus(&name), newBuild(), newDemo(&name), newConformance(),
		newKubectl(&name), newExec(&name), newOutside(&name), newLogs(&name),
		newNode(&name), newImage(&name),
		newOrder(&name, "kill", "Kill a component with SIGKILL; its init starts it again", (*cluster.Lab).Kill),
		newOrder(&name, "restart", "End a component properly and start it anew", (*cluster.Lab).Restart),
		newOrder(&name, "stop", "End a component and leave it stopped", (*cluster.Lab).StopComponent),
		newOrder(&name, "start", "Start a component that was stopped", (*cluster.Lab).StartComponent),
		newLabInit(), newMachineEnter(), newMachineInit(), newRoutes(),
	)
	return root
}
