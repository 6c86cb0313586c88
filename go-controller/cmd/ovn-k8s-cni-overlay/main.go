// Command ovn-k8s-cni-overlay is the CNI plugin that the container runtime starts for every pod. It
// passes the command on to the node agent, which does the work.
package main

import (
	"context"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/protocol"
	"github.com/ovnkube/ovnkube/go-controller/pkg/cni/shim"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// socketEnv moves the agent's socket, for tests.
const socketEnv = "OVNKUBE_CNI_SOCKET"

func main() {
	supported := version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")
	skel.PluginMainFuncs(skel.CNIFuncs{
		Add:    forward(protocol.Add),
		Del:    forward(protocol.Del),
		Check:  forward(protocol.Check),
		GC:     forward(protocol.GC),
		Status: forward(protocol.Status),
	}, supported, names.CNIPlugin+": pods on OVN; part of ovnkube")
}

// forward returns the function that sends command to the agent and prints the result.
func forward(command string) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		client := shim.Client{Socket: socket(), Limits: shim.LimitsOf(command)}
		response, err := client.Do(context.Background(), protocol.Request{
			Command:     command,
			ContainerID: args.ContainerID,
			Netns:       args.Netns,
			IfName:      args.IfName,
			Args:        args.Args,
			Config:      args.StdinData,
		})
		if err != nil {
			return err
		}
		if response.Error != nil {
			return response.Error
		}
		if len(response.Result) > 0 {
			_, err = os.Stdout.Write(append(response.Result, '\n'))
		}
		return err
	}
}

func socket() string {
	if path := os.Getenv(socketEnv); path != "" {
		return path
	}
	return names.CNISocket
}
