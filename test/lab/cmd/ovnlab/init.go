package main

import (
	"github.com/spf13/cobra"

	"github.com/ovnkube/ovnkube/test/lab/hypervisor"
	"github.com/ovnkube/ovnkube/test/lab/machine"
	"github.com/ovnkube/ovnkube/test/lab/routes"
)

// The commands in this file are run by the lab itself.

func newLabInit() *cobra.Command {
	var dir, group string
	c := &cobra.Command{Use: "lab-init", Hidden: true, Args: cobra.NoArgs,
		Short: "PID 1 of a lab: starts machines and wires their networks",
		RunE:  func(c *cobra.Command, _ []string) error { return hypervisor.Run(c.Context(), dir, group) }}
	c.Flags().StringVar(&dir, "dir", "", "the lab's directory")
	c.Flags().StringVar(&group, "cgroup", "", "its cgroup")
	return c
}

func newMachineEnter() *cobra.Command {
	var dir, name string
	c := &cobra.Command{Use: "machine-enter", Hidden: true, Args: cobra.NoArgs,
		Short: "First stage of a machine's init: joins its cgroup",
		RunE: func(*cobra.Command, []string) error {
			return machine.Enter(dir, []string{"ovnlab", "machine-init", "--dir", dir, "--machine", name})
		}}
	machineFlags(c, &dir, &name)
	return c
}

func newMachineInit() *cobra.Command {
	var dir, name string
	c := &cobra.Command{Use: "machine-init", Hidden: true, Args: cobra.NoArgs,
		Short: "PID 1 of a machine: builds its file tree and keeps its components running",
		RunE:  func(c *cobra.Command, _ []string) error { return machine.Init(c.Context(), dir) }}
	machineFlags(c, &dir, &name)
	return c
}

// machineFlags also has the machine's name, for people who look at ps.
func machineFlags(c *cobra.Command, dir, name *string) {
	c.Flags().StringVar(dir, "dir", "", "the machine's directory")
	c.Flags().StringVar(name, "machine", "", "the machine's name")
}

func newRoutes() *cobra.Command {
	var kubeconfig string
	c := &cobra.Command{Use: "cp-routes", Hidden: true, Args: cobra.NoArgs,
		Short: "Keeps the control plane's routes to pods",
		RunE:  func(c *cobra.Command, _ []string) error { return routes.Run(c.Context(), kubeconfig) }}
	c.Flags().StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig")
	return c
}
