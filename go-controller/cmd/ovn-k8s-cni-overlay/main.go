// Command ovn-k8s-cni-overlay is the CNI plugin that the container runtime starts for every pod. It
// passes the command on to the node agent, which does the work, and host ports to portmap.
package main

import (
	"context"
	"encoding/json"
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
		Add:    add,
		Del:    del,
		Check:  check,
		GC:     forward(protocol.GC),
		Status: forward(protocol.Status),
	}, supported, names.CNIPlugin+": pods on OVN; part of ovnkube")
}

func add(args *skel.CmdArgs) error {
	result, err := askAgent(protocol.Add, args)
	if err == nil {
		err = hostPorts(protocol.Add, args, result)
		if err != nil {
			// A failed ADD leaves nothing behind; what the runtime hears of is why it failed.
			_, _ = askAgent(protocol.Del, args)
		}
	}
	if err != nil || len(result) == 0 {
		return err
	}
	_, err = os.Stdout.Write(append(result, '\n'))
	return err
}

// del is add backwards. Each of the two goes on without the other.
func del(args *skel.CmdArgs) error {
	portErr := hostPorts(protocol.Del, args, nil)
	if _, err := askAgent(protocol.Del, args); err != nil {
		return err
	}
	return portErr
}

func check(args *skel.CmdArgs) error {
	if _, err := askAgent(protocol.Check, args); err != nil {
		return err
	}
	return hostPorts(protocol.Check, args, nil)
}

// forward returns the function that only sends command to the agent.
func forward(command string) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		_, err := askAgent(command, args)
		return err
	}
}

func askAgent(command string, args *skel.CmdArgs) (json.RawMessage, error) {
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
		return nil, err
	}
	if response.Error != nil {
		return nil, response.Error
	}
	return response.Result, nil
}

func hostPorts(command string, args *skel.CmdArgs, result json.RawMessage) error {
	if !shim.Wanted(args.StdinData) {
		return nil
	}
	return shim.HostPorts{Environ: os.Environ()}.Do(context.Background(), command, args.StdinData, result)
}

func socket() string {
	if path := os.Getenv(socketEnv); path != "" {
		return path
	}
	return names.CNISocket
}
