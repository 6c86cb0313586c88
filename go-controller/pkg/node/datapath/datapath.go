// Package datapath finds out which of Open vSwitch's datapaths this host can run.
package datapath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovnkube/ovnkube/go-controller/pkg/node/ovs"
)

// Auto asks for the best that the host can run.
const Auto = "auto"

// kernelFamily is the generic netlink family through which ovs-vswitchd drives the kernel datapath.
const kernelFamily = "ovs_datapath"

// Host is what the choice depends on.
type Host struct {
	// HasFamily tells whether the kernel has a generic netlink family.
	HasFamily func(name string) (bool, error)
	// LoadModule loads a kernel module.
	LoadModule func(ctx context.Context, name string) error
}

// ThisHost is the host that the process runs on.
func ThisHost() Host { return Host{HasFamily: hasFamily, LoadModule: loadModule} }

// Resolve turns the setting (auto, system or netdev) into a type of datapath, and says why.
func (h Host) Resolve(ctx context.Context, setting string) (datapathType, reason string, err error) {
	if setting == ovs.Netdev {
		return setting, "as configured", nil
	}
	found, err := h.HasFamily(kernelFamily)
	var loading error
	if err == nil && !found {
		loading = h.LoadModule(ctx, "openvswitch")
		found, err = h.HasFamily(kernelFamily)
	}
	switch {
	case err != nil:
		return "", "", fmt.Errorf("ask the kernel for its Open vSwitch datapath: %w", err)
	case found && setting == ovs.System:
		return ovs.System, "as configured", nil
	case found:
		return ovs.System, "the kernel has the openvswitch datapath", nil
	case setting == ovs.System:
		return "", "", fmt.Errorf("--ovs-datapath-type system: the kernel has no openvswitch datapath (modprobe openvswitch: %w); use auto or netdev", orUnknown(loading))
	}
	return ovs.Netdev, fmt.Sprintf("the kernel has no openvswitch datapath (modprobe openvswitch: %v)", orUnknown(loading)), nil
}

func orUnknown(err error) error {
	if err == nil {
		return errors.New("loaded, but the netlink family is missing")
	}
	return err
}

func hasFamily(name string) (bool, error) {
	_, err := netlink.GenlFamilyGet(name)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

func loadModule(ctx context.Context, name string) error {
	out, err := exec.CommandContext(ctx, "modprobe", name).CombinedOutput()
	if err != nil && len(out) > 0 {
		return fmt.Errorf("%w: %.200s", err, bytes.TrimSpace(out))
	}
	return err
}
