package netfilter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	nl "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"k8s.io/klog/v2"

	"github.com/ovnkube/ovnkube/go-controller/pkg/addr"
	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/hostnet"
	"github.com/ovnkube/ovnkube/go-controller/pkg/node/reconcile"
)

// markDevice is how the management port leads packets with ServiceMark to services: by a table of its own.
func markDevice(f Facts) hostnet.Desired {
	out := hostnet.Desired{Device: names.ManagementPort, OwnsRoute: func(r hostnet.Route) bool { return r.Table == names.ServiceRouteTable }}
	for _, subnet := range f.Subnets {
		for _, cidr := range f.ServiceCIDRs {
			if v4 := subnet.Addr().Is4(); v4 == cidr.Addr().Is4() {
				r := hostnet.Route{
					Destination: cidr.Masked(), Gateway: addr.Router(subnet), Table: names.ServiceRouteTable, Protocol: hostnet.ProtocolStatic,
				}
				if !v4 {
					r.Metric = hostnet.DefaultMetricV6
				}
				out.Routes = append(out.Routes, r)
			}
		}
	}
	return out
}

// ensureMarkRoute keeps the rule that looks the table up, and the routes in it.
func ensureMarkRoute(ctx context.Context, f Facts) error {
	for _, subnet := range f.Subnets {
		if err := ensureMarkRule(subnet.Addr().Is4()); err != nil {
			return err
		}
	}
	device, err := hostnet.Observe(names.ManagementPort)
	if err != nil {
		return err
	}
	if device == nil || !device.Up {
		return reconcile.Waiting("there is no device " + names.ManagementPort)
	}
	for _, subnet := range f.Subnets {
		own := addr.Management(subnet)
		if !slices.ContainsFunc(device.Addresses, func(a hostnet.Address) bool { return a.Prefix.Addr() == own }) {
			return reconcile.Waiting(fmt.Sprintf("%s has no address %s", names.ManagementPort, own))
		}
	}
	actions := hostnet.Plan(device, hostnet.Settings{}, markDevice(f))
	for _, action := range actions {
		klog.InfoS("Services with internalTrafficPolicy Local", "action", action)
	}
	return hostnet.Apply(ctx, actions...)
}

func markRule(v4 bool) *netlink.Rule {
	rule := netlink.NewRule()
	rule.Priority, rule.Mark, rule.Table = names.ServiceRulePriority, names.ServiceMark, names.ServiceRouteTable
	rule.Family = netlink.FAMILY_V6
	if v4 {
		rule.Family = netlink.FAMILY_V4
	}
	return rule
}

func ensureMarkRule(v4 bool) error {
	want := markRule(v4)
	found, err := netlink.RuleListFiltered(want.Family, want, netlink.RT_FILTER_MARK|netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PRIORITY)
	if err != nil {
		return fmt.Errorf("list routing rules: %w", err)
	}
	if len(found) > 0 {
		return nil
	}
	klog.InfoS("Services with internalTrafficPolicy Local", "action", "add rule", "priority", want.Priority, "mark", want.Mark, "table", want.Table)
	if err := netlink.RuleAdd(want); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add routing rule: %w", err)
	}
	return nil
}

// removeMarkRules is for the end. The routes go with the management port.
func removeMarkRules() error {
	for _, v4 := range []bool{true, false} {
		err := netlink.RuleDel(markRule(v4))
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EAFNOSUPPORT) { // the kernel may be without IPv6
			return fmt.Errorf("delete routing rule: %w", err)
		}
	}
	return nil
}

// watchMarkRoute calls notify when it begins and whenever rules, or routes in the table, have changed.
func watchMarkRoute(ctx context.Context, notify func()) error {
	begin := func() error { notify(); return nil }
	// The table's number is at this place in struct rtmsg and in struct fib_rule_hdr.
	const table = 4
	handle := func(m nl.Message) {
		if len(m.Data) > table && m.Data[table] == names.ServiceRouteTable {
			notify()
		}
	}
	err := hostnet.Receive(ctx, unix.NETLINK_ROUTE, begin, handle,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("watch routing rules: %w", err)
	}
	return nil
}
