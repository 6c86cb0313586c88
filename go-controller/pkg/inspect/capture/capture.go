// Package capture shows a pod's packets, at the port by which it is plugged into its node's Open vSwitch.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/inspect/access"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
)

// patience is how long tcpdump may take to say what it has counted, once it is told to end.
const patience = 3 * time.Second

// script runs tcpdump until it ends or the standard input does. Who captures from afar can send no signal; and what is left without a
// reader would only be noticed when the next packet comes.
const script = `command -v tcpdump >/dev/null || { echo "there is no tcpdump here" >&2; exit 127; }
exec 3<&0
tcpdump "$@" </dev/null & capture=$!
(read -r end <&3; kill "$capture") >/dev/null 2>&1 & watch=$!
wait "$capture"; code=$?
kill "$watch" 2>/dev/null
exit "$code"`

// user stays root: to become another one, which tcpdump does by itself otherwise, containers may lack the right.
const user = "root"

// Options are what is captured, and where it goes.
type Options struct {
	Access access.Access
	Pod    *corev1.Pod
	// Args are tcpdump's own.
	Args []string
	// Out gets packets, as text or with -w - in tcpdump's format; Err what tcpdump says.
	Out, Err io.Writer
}

// Run captures until tcpdump ends, or ctx, which is no error. A tcpdump that has failed is an *access.ExitError.
func Run(ctx context.Context, o Options) error {
	device, err := Device(ctx, o.Access, o.Pod)
	if err != nil {
		return err
	}
	// The command outlives ctx for a moment: its standard input ends, and it says how much it has captured.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	in, end := io.Pipe()
	defer end.Close()
	stop := context.AfterFunc(ctx, func() {
		end.Close()
		time.AfterFunc(patience, cancel)
	})
	defer stop()
	argv := append([]string{"sh", "-c", script, "sh", "-i", device, "-n", "-l", "-U", "-Z", user}, o.Args...)
	err = o.Access.Run(running, access.On(o.Pod.Spec.NodeName), access.Streams{In: in, Out: o.Out, Err: o.Err}, argv...)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Device is the name of the device that is plugged into the node's br-int for a pod.
func Device(ctx context.Context, a access.Access, p *corev1.Pod) (string, error) {
	key := names.ObjectName(p.Namespace, p.Name)
	switch {
	case p.Spec.HostNetwork:
		return "", fmt.Errorf("pod %s is in the network of node %s and has no port of its own: capture at a device of the node", key, p.Spec.NodeName)
	case p.Spec.NodeName == "":
		return "", fmt.Errorf("pod %s is not on a node yet", key)
	}
	text, err := access.Output(ctx, a, access.On(p.Spec.NodeName), "ovs-vsctl", "--timeout=10", "--bare", "--columns=name", "find", "Interface",
		fmt.Sprintf("external_ids:%s=%q", names.IfaceID, names.PodLogicalPort(p.Namespace, p.Name)))
	if err != nil {
		return "", fmt.Errorf("find the port of pod %s: %w", key, err)
	}
	found := strings.Fields(text)
	if len(found) == 0 {
		return "", fmt.Errorf("pod %s is not plugged in on node %s: kubectl ovn list endpoints", key, p.Spec.NodeName)
	}
	return found[0], nil
}

// CheckArgs refuses arguments of tcpdump that would not do what they do on the user's own machine. Terminal tells whether the output goes to one.
func CheckArgs(args []string, terminal bool) error {
	for i, a := range args {
		value, isWrite := strings.CutPrefix(a, "-w")
		if isWrite && value == "" && i+1 < len(args) {
			value = args[i+1]
		}
		switch {
		case a == "-i" || strings.HasPrefix(a, "--interface"):
			return errors.New("-i is not yours to choose: packets are captured at the pod's port")
		case isWrite && value != "-":
			return fmt.Errorf("-w %s would write a file on the node: write to the standard output, as in: -w - >%[1]s", value)
		case isWrite && terminal:
			return errors.New("-w - writes what is not for a terminal: redirect it, as in: -w - >FILE, or | wireshark -k -i -")
		}
	}
	return nil
}
