//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ovnkube/ovnkube/go-controller/pkg/names"
	"github.com/ovnkube/ovnkube/test/e2e/traffic"
	"github.com/ovnkube/ovnkube/test/lab/plan"
)

// moving is a node whose address changes, with a pod on it, a pod elsewhere, and a service whose only backend is the pod on it.
type moving struct {
	*env
	node                string
	here, there, client traffic.Place
	service             *corev1.Service
}

// testNodeAddress gives a node another address of each family, and its first one again.
func testNodeAddress(e *env) {
	e.errorsExpected = true // connections from the old address end
	node := e.Nodes()[len(e.Nodes())-1]
	ends := e.startAll(newPod(e.ns, "here", onNode(node), labelled("here")), newPod(e.ns, "there", onNode(e.Nodes()[0])))
	m := moving{env: e, node: node, here: ends[0], there: ends[1], client: e.machine(plan.Outside)}
	m.service = e.service("here", kind(corev1.ServiceTypeNodePort))
	for _, is4 := range e.families() {
		first := e.machine(node).Address(is4)
		// 100 addresses further on, nobody has one.
		b := first.AsSlice()
		b[len(b)-1] += 100
		other, _ := netip.AddrFromSlice(b)
		m.works(first)
		e.Cleanup(func() { m.restore(first, other) })
		m.change(first, other)
		m.works(other)
		m.change(other, first)
		m.works(first)
	}
	e.agentReady(node)
	e.checkOpenVSwitch(node)
	e.checkManagementPort(node)
	e.checkRoutes(node)
}

func underlayPrefix(a netip.Addr) netip.Prefix {
	return netip.PrefixFrom(a, map[bool]int{true: 24, false: 64}[a.Is4()])
}

// change replaces an address and waits until everything that has the old one has the new one.
func (m moving) change(from, to netip.Addr) {
	m.Helper()
	began := time.Now()
	add := fmt.Sprintf("ip addr add %s dev %s", underlayPrefix(to), names.ExternalBridge)
	if to.Is6() {
		add += " nodad"
	}
	m.on(m.node, "sh", "-c", fmt.Sprintf("%s && ip addr del %s dev %s", add, underlayPrefix(from), names.ExternalBridge))
	m.eventually(func() error { return errors.Join(m.published(from, to), m.inFlows(from, to), m.inRows(from, to)) })
	m.measured("%s has %s instead of %s: annotation, flows and rows after %v", m.node, to, from, time.Since(began).Round(time.Millisecond))
}

func (m moving) published(from, to netip.Addr) error {
	return replaced("annotation", m.seen.node(m.node).Annotations[names.L3GatewayConfigAnnotation], `"`+underlayPrefix(to).String()+`"`, `"`+from.String())
}

func (m moving) inFlows(from, to netip.Addr) error {
	flows, err := m.Exec(m.ctx, m.node, "ovs-ofctl", "--no-names", "--no-stats", "dump-flows", names.ExternalBridge, fmt.Sprintf("cookie=%#x/-1", names.FlowCookie))
	if err != nil {
		return err
	}
	field := map[bool]string{true: "nw_src=", false: "ipv6_src="}[to.Is4()]
	return replaced("flows", flows, field+to.String()+",", field+from.String()+",")
}

// inRows looks at the gateway router's port and source address, and at the variables of node ports.
func (m moving) inRows(from, to netip.Addr) error {
	for _, q := range [][]string{
		{"--bare", "--columns=networks", "find", "Logical_Router_Port", "name=" + names.RouterToExternalPort(m.node)},
		{"lr-nat-list", names.GatewayRouter(m.node)},
		{"--bare", "--columns=variables", "find", "Chassis_Template_Var"},
	} {
		out, err := m.Exec(m.ctx, plan.ControlPlane, append([]string{"ovn-nbctl"}, q...)...)
		if err != nil {
			return err
		}
		// So that an address is not found in a longer one.
		out = " " + strings.NewReplacer("/", " ", "\"", " ", "}", " ", ",", " ", "=", " ", "\n", " ").Replace(out) + " "
		if err := replaced(strings.Join(q, " "), out, " "+to.String()+" ", " "+from.String()+" "); err != nil {
			return err
		}
	}
	return nil
}

func replaced(what, text, want, gone string) error {
	if !strings.Contains(text, want) || strings.Contains(text, gone) {
		return fmt.Errorf("%s: want %q instead of %q: %s", what, want, gone, text)
	}
	return nil
}

// works sends packets by all ways that the node's address is on.
func (m moving) works(a netip.Addr) {
	m.Helper()
	began := time.Now()
	within := func(what string, try func(ctx context.Context) error) {
		m.Helper()
		m.eventually(func() error {
			ctx, cancel := context.WithTimeout(m.ctx, time.Second)
			defer cancel()
			if err := try(ctx); err != nil {
				return fmt.Errorf("%s, with %s at %s: %w", what, m.node, a, err)
			}
			return nil
		})
	}
	for _, is4 := range m.families() {
		for _, way := range [][2]traffic.Place{{m.here, m.there}, {m.there, m.here}} {
			within(fmt.Sprint(way[0], " → ", way[1]), func(ctx context.Context) error {
				_, err := reach(ctx, way[0], way[1], is4, tcp, httpPort)
				return err
			})
		}
	}
	for proto, at := range nodePorts(m.service) {
		within("node port over "+proto, func(ctx context.Context) error {
			_, err := askName(ctx, m.client, proto, port(a, at))
			return err
		})
	}
	within("pod → outside", func(context.Context) error {
		seen, err := m.seenOutside(m.here, m.client, tcp, a.Is4())
		if err == nil && seen != a {
			err = fmt.Errorf("it came from %s", seen)
		}
		return err
	})
	within("ping from outside", func(ctx context.Context) error { return traffic.Ping(ctx, m.client, a, traffic.PingOptions{}) })
	m.measured("with %s at %s everything works after another %v", m.node, a, time.Since(began).Round(time.Millisecond))
}

// restore gives the node its first address, whatever has happened.
func (m moving) restore(first, other netip.Addr) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), 10*time.Second)
	defer cancel()
	script := fmt.Sprintf("ip addr replace %s dev %[2]s; ip addr del %[3]s dev %[2]s || true", underlayPrefix(first), names.ExternalBridge, underlayPrefix(other))
	if _, err := m.Exec(ctx, m.node, "sh", "-c", script); err != nil {
		m.Error(err)
	}
}

// testLinkFlap pulls a node's cable three times: the node is as before, and there again at once.
func testLinkFlap(e *env) {
	e.errorsExpected = true // without a cable there is no API server
	node := e.Nodes()[len(e.Nodes())-1]
	ends := e.startAll(newPod(e.ns, "here", onNode(node), labelled("here")), newPod(e.ns, "there", onNode(e.Nodes()[0])))
	m := moving{env: e, node: node, here: ends[0], there: ends[1], client: e.machine(plan.Outside)}
	m.service = e.service("here", kind(corev1.ServiceTypeNodePort))
	own := e.machine(node)
	for _, is4 := range e.families() {
		m.works(own.Address(is4))
	}
	state := func() string {
		return e.on(node, "sh", "-c", "ip -o addr show br-ex; ip route; ip -6 route; ovs-vsctl --no-headings --columns=name list interface | sort")
	}
	before := withoutLifetimes(state())
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), 10*time.Second)
		defer cancel()
		if _, err := e.Exec(ctx, plan.ControlPlane, "ip", "link", "set", node, "up"); err != nil {
			e.Error(err)
		}
	})
	for range 3 {
		// The cable's other end.
		e.on(plan.ControlPlane, "sh", "-c", fmt.Sprintf("ip link set %[1]s down; sleep 0.3; ip link set %[1]s up", node))
		for _, is4 := range e.families() {
			m.works(own.Address(is4))
		}
	}
	e.agentReady(node)
	if after := withoutLifetimes(state()); after != before {
		e.Errorf("%s had\n%s\nnow it has\n%s", node, before, after)
	}
}

// withoutLifetimes leaves out what counts down.
func withoutLifetimes(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " valid_lft ")
		line, _, _ = strings.Cut(line, " expires ")
		out = append(out, strings.TrimSpace(line))
	}
	return strings.Join(out, "\n")
}
